"""The values of every setting that is a choice, each written once.

Settings and the code that they steer read them here. Nothing is imported but typing.
"""

from typing import Literal

# Tasks and their scores.
Kind = Literal["classification", "multilabel", "regression"]
ClassMetric = Literal["accuracy", "macro_f1", "micro_f1", "f1", "matthews", "macro_recall"]
RankingMetric = Literal["average_precision", "roc_auc"]
NumberMetric = Literal["pearson", "spearman", "r2"]
Metric = Literal[ClassMetric, RankingMetric, NumberMetric]
CorrelationKind = Literal["pearson", "spearman"]
TaskLoader = Literal["starter", "hub", "files", "folder"]

# Files with rows.
IncompleteRows = Literal["error", "drop"]
EmptyTexts = Literal[IncompleteRows, "zero"]
RowsFormat = Literal["txt", "csv", "tsv", "jsonl", "json", "parquet"]
FileFormatSetting = Literal["by_ending", RowsFormat]
PredictionsFormat = Literal["parquet", "csv", "jsonl"]
Quoting = Literal["by_format", "double", "none"]

# Encoders and what is read out of them.
EncoderLoader = Literal["package", "folder", "hub", "tiny", "bank"]
Precision = Literal["fp32", "bf16", "fp16"]
PoolingPosition = Literal["cls", "mean", "max", "last", "attention"]
PoolingPositionSetting = Literal["auto", PoolingPosition]
PoolingLayers = Literal["last", "mean_last", "concat_last", "single", "mix"]
LongTexts = Literal["truncate", "error", "windows"]
HeadLongTexts = Literal["as_fitted", LongTexts]
WindowPooling = Literal["mean", "max"]
Reading = Literal["joint", "separate"]
Pairs = Literal[Reading, "both"]
VectorType = Literal["float32", "float16", "int8", "binary"]
BinaryThreshold = Literal["median", "zero"]
CodeTransform = Literal["itq", "autoencoder"]
Transform = Literal["pca", "rotation", CodeTransform]
TransformSetting = Literal["none", Transform]

# Prefixes and their training.
PrefixKind = Literal["deep", "soft", "readout"]
Summary = Literal["mean", "concat"]
Norm = Literal["none", "layer"]
SourcePairs = Literal["joint", "separate"]
TextStatesMode = Literal["recomputed", "cached_fp32", "cached_fp16"]
TextStatesPlace = Literal["memory", "disk"]
InitFit = Literal["exact", "truncate", "tile"]
Projection = Literal["none", "mlp"]
Gate = Literal["none", "learned"]
OptimizerName = Literal["adamw", "adafactor"]
Schedule = Literal["linear", "cosine", "constant"]
Sampling = Literal["proportional", "uniform", "temperature"]

# Banks.
Rule = Literal["concat_prefixes", "concat_vectors", "mean_vectors", "mean_prefixes"]
BankRule = Literal["auto", Rule, "blocks"]
"""The rules of deep prefixes and soft prompts; that of read-outs; and the default of either
kind."""

ExportFormat = Literal["bundle", "onnx", "peft", "sentence_transformers"]
"""What a bank is exported as."""

OnnxPrecision = Literal["fp32", "int8"]
"""Number format of the encoder's weights in an ONNX file."""

# Probes.
ProbeType = Literal["linear", "mlp"]
ProbeProtocol = Literal["split", "nested_cv"]
ProbePairs = Literal[Pairs, "best"]
ProbeLayers = Literal["joined", "last", "best"]
ProbePositions = Literal["joined", "best"]
AllBlocks = Literal["all"]
ClassWeight = Literal["none", "balanced"]
CalibrationMethod = Literal["none", "temperature", "isotonic"]
ThresholdRule = Literal["default", "f1", "precision"]
ScoredSplit = Literal["test", "validation"]

# Prompt transfer.
Similarity = Literal["average_tokens", "per_token"]
"""Similarity of two task embeddings: the cosine of their mean tokens, or the mean cosine of all
pairs of tokens."""

Compare = Literal["weights", "movement"]
"""What of an early prefix is a task embedding: its values, or how far they have moved from the
random ones that it started from."""

Joint = Literal["weighted", "mixture"]
"""What is made of the k sources that are most similar to a target: the mean of their prefixes,
weighted by similarity; or a prefix trained on those of them together that have the kind of the most
similar one."""

Method = Literal["best_of_k", Joint]
"""What a target's training starts from: each of these sources, to keep the run that validates best;
or one of `Joint`."""

# Experiments.
SharedRepresentation = Literal[
    "plain",
    "bank",
    "concat_prefixes",
    "concat_vectors",
    "mean_vectors",
    "mean_prefixes",
    "plain_and_bank",
    "blocks",
    "deep",
    "plain_and_deep",
    "multitask",
    "finetuned",
    "student",
    "shared_student",
    "random",
    "shuffled",
]
"""What turns texts into vectors in an experiment: the plain encoder; the bank that `combine`
describes, or the bank of one of the four rules; the vectors of plain encoder and bank side by side;
the blocks of read-outs without the plain vector; the bank of deep prefixes in an experiment with
read-outs, alone and beside the plain encoder; the multi-task encoder of all sources; an encoder
fine-tuned on the target itself; a student of the latter, and one of the multi-task encoder; banks
of untrained prefixes and of prefixes trained on shuffled labels."""

Representation = Literal[SharedRepresentation, "single", "leave_one_out"]
"""These, and two that are made once for each source: a bank of it alone, and the bank that lacks
it."""

# Running.
DriverName = Literal["local", "slurm", "ray"]
SlurmCluster = Literal["slurm", "local"]
Device = Literal["auto", "cpu", "cuda", "mps"]
Tracker = Literal["none", "tensorboard", "wandb"]

TOKEN_INITS = ("vocabulary", "labels")
"""Values of `prefix.init` with which vectors start as input embeddings of tokens."""

TEXTS_INIT = "texts"
"""Value of `prefix.init` with which slots start as keys and values of the task's own texts."""

UNTRAINED_INITS = ("random", *TOKEN_INITS, TEXTS_INIT)
"""Values of `prefix.init` that do not name a prefix."""
