"""The settings of each command. Their fields are the `KEY=VALUE` names of the command line."""

from __future__ import annotations

from dataclasses import field
from typing import ClassVar

from pydantic.dataclasses import dataclass

from prefixbank.choices import (
    Compare,
    EmptyTexts,
    ExportFormat,
    HeadLongTexts,
    Joint,
    Method,
    OnnxPrecision,
    Precision,
    ProbePairs,
    Representation,
    Similarity,
    VectorType,
)
from prefixbank.config.running import RunConfig
from prefixbank.config.schema import (
    STRICT,
    BankRecipe,
    CombineConfig,
    Count,
    EmbedRecipe,
    EncoderConfig,
    FileSettings,
    FineTuneConfig,
    MultitaskConfig,
    MultitaskRecipe,
    Natural,
    PoolingConfig,
    PredictConfig,
    PrefixRecipe,
    ProbeConfig,
    ProbeRecipe,
    RefName,
    StoredVectors,
    StudentConfig,
    StudentRecipe,
    TaskConfig,
    WindowSettings,
    later,
)


class CommandConfig:
    """Base of the settings of every command.

    A subclass is a frozen dataclass. The YAML file with its defaults list is `conf/<command>.yaml`,
    with underscores for spaces and hyphens.
    """

    command: ClassVar[str]
    """The command as typed after `prefixbank`: `train-prefix`, `transfer map`."""
    run: RunConfig


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainPrefixConfig(PrefixRecipe, CommandConfig):
    """`prefixbank train-prefix`."""

    command = "train-prefix"
    name: RefName = ""
    """Ref to set: `prefix/<name>`; empty: the name of the task."""
    task: TaskConfig = field(default_factory=TaskConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    run: RunConfig = field(default_factory=RunConfig)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TransferSimilarConfig(PrefixRecipe, CommandConfig):
    """`prefixbank transfer similar`. The recipe is that of the short run on the task."""

    command = "transfer similar"
    task: TaskConfig = field(default_factory=TaskConfig)
    sources: tuple[str, ...] = ()
    """Prefixes by ref, name or key; empty: every prefix with a ref that can be compared."""
    similarity: Similarity = "average_tokens"
    """How to compare two task embeddings: `average_tokens` is the cosine of their mean tokens,
    `per_token` the mean cosine of all pairs of tokens."""
    compare: Compare = "weights"
    """What to compare of an early prefix: its `weights`, or its `movement`, the difference from the
    random values that it started from."""
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    run: RunConfig = field(default_factory=RunConfig)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TransferRetrieveConfig(TransferSimilarConfig):
    """`prefixbank transfer retrieve`.

    The recipe is that of the training on the task, and of the short run before it.
    """

    command = "transfer retrieve"
    name: RefName = ""
    """Ref to set: `prefix/<name>`; empty: the name of the task."""
    method: Method = "best_of_k"
    """What the training starts from: `best_of_k` tries each of the k most similar prefixes and
    keeps the run with the best validation score; `weighted` is their mean, weighted by similarity;
    `mixture` is one prefix trained on their tasks together."""
    k: Count = 3
    """How many of the most similar prefixes to take."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TransferCombineConfig(TransferSimilarConfig):
    """`prefixbank transfer combine`.

    The recipe is that of the short run on the task; the bank pools in the same way.
    """

    command = "transfer combine"
    name: RefName = ""
    """Ref to set: `bank/<name>`; empty: `<task>-similar`."""
    k: Count = 3
    """How many of the most similar prefixes to take."""
    combine: CombineConfig = field(default_factory=CombineConfig)
    weight_by_similarity: bool = True
    """Weight each prefix by its similarity to the task, with weights that sum to 1. `false`: equal
    weights, as `combine.normalize_weights` sets them. Blocks have none."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainMultitaskConfig(MultitaskRecipe, CommandConfig):
    """`prefixbank train-multitask`."""

    command = "train-multitask"
    name: RefName = ""
    """Ref to set: `multitask/<name>`; empty: the names of the tasks, joined."""
    tasks: tuple[str, ...] = ()
    """Tasks by name: YAML files in `conf/task`, or task folders in `run.data_root`."""
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    run: RunConfig = field(default_factory=RunConfig)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainStudentConfig(StudentRecipe, CommandConfig):
    """`prefixbank train-student`."""

    command = "train-student"
    name: RefName = ""
    """Ref to set: `student/<name>`; empty: the names of the tasks, joined."""
    teacher: str = ""
    """Multi-task encoder by ref (`multitask/both`), name (`both`) or key; or `student/NAME`,
    another student. Texts are read and pooled as it does."""
    task: TaskConfig = field(default_factory=TaskConfig)
    """The task, if it is one."""
    tasks: tuple[str, ...] = ()
    """Several tasks by name, as in `train-multitask`. Without these and `task`: all tasks of the
    teacher."""
    run: RunConfig = field(default_factory=RunConfig)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CombineCommandConfig(BankRecipe, CommandConfig):
    """`prefixbank combine`."""

    command = "combine"
    name: RefName = ""
    """Ref to set: `bank/<name>`."""
    prefixes: tuple[str, ...] = ()
    """Prefixes in order, by ref (`prefix/sst2`), name (`sst2`) or key."""
    run: RunConfig = field(default_factory=RunConfig)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CorpusConfig(FileSettings):
    """Texts to embed (an origin). `path=-` reads lines from standard input."""

    path: str = ""
    """File with the texts: txt, CSV, TSV, JSONL, JSON or Parquet; `-`: standard input, a text in
    each line unless `corpus.format` says otherwise."""
    column: str = "text"
    """Column of the text, or of the first text of a pair."""
    column_pair: str = ""
    """Column of the second text of a pair; empty: single texts."""
    id_column: str = ""
    """Column of row ids; empty: the row number."""
    empty: EmptyTexts = "error"
    """Rows whose text, or second text, is missing or has no visible character: refuse the corpus;
    drop them, while the others keep their ids and numbers; or give them zero vectors. How many
    there are is said."""
    shard_rows: Count = 16_384
    """Rows in one shard. Shards are embedded and stored one by one, so a killed run loses at most
    one."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EmbedConfig(EmbedRecipe, CommandConfig):
    """`prefixbank embed`."""

    command = "embed"
    bank: str = ""
    """Bank by ref (`demo` or `bank/demo`) or key; `multitask/NAME` is a multi-task encoder,
    `student/NAME` a student, `none` the plain encoder."""
    name: RefName = ""
    """Ref to set: `embeddings/<name>`; empty: the name of the corpus file, `@`, the name of the
    bank."""
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    pooling: PoolingConfig = field(default_factory=PoolingConfig)
    """Used with `bank=none`; a bank and a multi-task encoder bring their own."""
    reuse: bool = False
    """Copy the vectors of texts that earlier runs with `reuse=true` embedded, in any corpus, and
    embed the others only."""
    run: RunConfig = field(default_factory=RunConfig)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SearchConfig(CommandConfig):
    """`prefixbank search`."""

    command = "search"
    embeddings: str = ""
    """Embeddings by ref (`reviews@demo`) or key."""
    queries: CorpusConfig = field(default_factory=lambda: CorpusConfig(path="-"))
    """Texts to find neighbours of, unless they stand among the settings: `search 'a text'`.
    `path=-`: lines of standard input."""
    k: Count = 5
    """Neighbours of each query."""
    rescore: Count = 10
    """With binary vectors: the `rescore` times k rows with the fewest differing bits are ranked
    again by the query's unrounded vector."""
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    """The corpus that was embedded, whose texts are shown; without a path: the file that it was
    read from."""
    run: RunConfig = field(default_factory=RunConfig)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CostConfig(CommandConfig):
    """`prefixbank cost`."""

    command = "cost"
    of: tuple[str, ...] = ()
    """What to compare: banks by ref or key, `multitask/NAME`, `student/NAME`, or `none`, the plain
    encoder. An encoder that was fine-tuned for one task serves this task; all others serve all."""
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    pooling: PoolingConfig = field(default_factory=PoolingConfig)
    tokens: Count = 64
    """Number of tokens of a text."""
    tasks: tuple[Count, ...] = (1, 2, 4, 8, 16, 32)
    """Numbers N of tasks that are served on one text."""
    classes: Count = 2
    """Number of outputs of the linear head of each task."""
    vectors: VectorType = "float32"
    """How a vector would be stored, for its bytes."""
    texts: Count = 32
    """Number of texts in the batch that is timed."""
    rounds: Natural = 7
    """Rounds of timing, in which all take turns; 0: only count."""
    run: RunConfig = field(default_factory=RunConfig)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ProbeCommandConfig(ProbeRecipe, CommandConfig):
    """`prefixbank probe`."""

    command = "probe"
    bank: str = ""
    """Bank by ref (`demo` or `bank/demo`) or key; `multitask/NAME` is a multi-task encoder,
    `student/NAME` a student, `none` the plain encoder."""
    name: RefName = ""
    """Ref to set: `probe/<name>`; empty: the name of the task, `@`, the name of the bank."""
    task: TaskConfig = field(default_factory=TaskConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    pooling: PoolingConfig = field(default_factory=PoolingConfig)
    """Used with `bank=none`; a bank and a multi-task encoder bring their own."""
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    reuse: bool = False
    """Copy the vectors of texts that earlier probes with `reuse=true` embedded, and embed the
    others only. Tasks whose texts are all the same share their vectors without it."""
    run: RunConfig = field(default_factory=RunConfig)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PredictCommandConfig(WindowSettings, CommandConfig):
    """`prefixbank predict`."""

    command = "predict"
    bank: str = ""
    """Bank by ref (`demo` or `bank/demo`) or key; `multitask/NAME` is a multi-task encoder,
    `student/NAME` a student, `none` the plain encoder."""
    heads: tuple[str, ...] = ()
    """What to predict: probes by ref (`probe/tone`), name (`tone`, or `emotion` for
    `emotion@demo`) or key, and the sources of a bank of read-outs, by the names of their blocks
    (`polarity`, or `source/polarity` where a probe has the same name)."""
    name: RefName = ""
    """Ref to set: `predictions/<name>`; empty: the name of the corpus file, `@`, the name of the
    bank."""
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    long: HeadLongTexts = "as_fitted"
    """Texts that are too long: read as those that the probes were fitted on, for sources their
    beginning; or as `long` of `embed` says."""
    predict: PredictConfig = field(default_factory=PredictConfig)
    run: RunConfig = field(default_factory=RunConfig)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ExportConfig(CommandConfig):
    """`prefixbank export`."""

    command = "export"
    bank: str = ""
    """Bank by ref (`demo` or `bank/demo`) or key."""
    heads: tuple[str, ...] = ()
    """Heads to take along, as in `predict`."""
    format: ExportFormat = "bundle"
    """`bundle`: a folder that prefixbank reads; `onnx`: one file from token ids to vector and
    probabilities, with its tokenizer; `sentence_transformers`: a bundle with its encoder, which
    that library loads; `peft`: a bank of one deep prefix as a prefix-tuning adapter."""
    precision: OnnxPrecision = later("fp32", format="onnx")
    """Number format of the encoder's weights in an ONNX file. `int8`: rounded to integers of 8
    bits, for a smaller and faster file, whose vectors and predictions are others than prefixbank's;
    the result says how close they are."""
    name: RefName = ""
    """Name of the bank in the export; empty: its name here."""
    license: str = ""
    """Licence that the model card names."""
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    run: RunConfig = field(default_factory=RunConfig)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ImportConfig(CommandConfig):
    """`prefixbank import`."""

    command = "import"
    path: str = ""
    """Folder of a bundle that `prefixbank export` wrote."""
    name: RefName = ""
    """Refs to set: `bank/<name>`, and `probe/<head>@<name>` for each probe; empty: the name in the
    bundle."""
    run: RunConfig = field(default_factory=RunConfig)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PushConfig(CommandConfig):
    """`prefixbank push`."""

    command = "push"
    path: str = ""
    """Folder of a bundle that `prefixbank export` wrote."""
    address: str = ""
    """Where to: `hf://OWNER/NAME`, a URL of fsspec such as `s3://BUCKET/FOLDER`, or a path."""
    message: str = "Upload a bank with prefixbank"
    """Message of the commit in a hub repository."""
    private: bool = True
    """Whether a hub repository that is made is private."""
    run: RunConfig = field(default_factory=RunConfig)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PullConfig(CommandConfig):
    """`prefixbank pull`."""

    command = "pull"
    address: str = ""
    """Where from, as for `push`."""
    revision: str = ""
    """Branch, tag or commit of a hub repository; empty: its main branch."""
    name: RefName = ""
    """Refs to set, as for `import`."""
    run: RunConfig = field(default_factory=RunConfig)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class UpdateConfig:
    """Changes of the source tasks whose cost is measured. Each is left out when empty."""

    add: str = ""
    """A task to add to the sources."""
    refresh: str = ""
    """A source to train again."""
    remove: str = ""
    """A source to leave out."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TransferConfig:
    """What `transfer map` trains on the targets, and which retrievals it compares."""

    overrides: tuple[str, ...] = ()
    """Overrides for training on all targets: `experiment.transfer.overrides=["optim.epochs=6"]`.
    `experiment.overrides` holds those for single tasks, sources and targets alike."""
    similarity: Similarity = "average_tokens"
    """How to compare two task embeddings, to rank the sources: `average_tokens` is the cosine of
    their mean tokens, `per_token` the mean cosine of all pairs of tokens."""
    compare: Compare = "weights"
    """What to compare of an early prefix: its `weights`, or its `movement`, the difference from the
    random values that it started from."""
    ks: tuple[Count, ...] = (1, 3)
    """Values of k in the retrieval table."""
    methods: tuple[Joint, ...] = ("weighted",)
    """Retrieval methods to compare with `best_of_k`, which needs no training beyond the map's."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ExperimentConfig:
    """What a whole study trains, probes and compares."""

    name: RefName = ""
    """Name of the study, and of its report and banks. Empty: the name of your YAML file."""
    sources: tuple[str, ...] = ()
    """Source tasks by name. A prefix is trained on each."""
    targets: tuple[str, ...] = ()
    """Target tasks by name. Probes are fitted on each."""
    seeds: tuple[Natural, ...] = (0,)
    """Training seeds. Everything that is trained is trained once with each."""
    representations: tuple[Representation, ...] = ("plain", "bank")
    """What to compare. Each one embeds the texts of all targets."""
    variants: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """More representations to compare, by name: the one that each is a variant of, and the settings
    in which it differs from the experiment:
    `'experiment.variants.bits=[plain,vectors=binary,transform=rotation]'`."""
    single_seed: tuple[str, ...] = ()
    """Representations and variants to make with the first seed only."""
    source_rows: Natural = 0
    """At most this many train rows of each source; 0 keeps all."""
    target_rows: Natural = 0
    """At most this many train rows of each target; 0 keeps all."""
    validation_rows: Natural = 0
    """At most this many validation rows of each source and target; 0 keeps all."""
    probe_last_layers: Natural = 0
    """Embed with this many last layers side by side, for `probe.layers` to choose from, whatever
    layers `pooling` trains with; 0: as `pooling` says."""
    deep: tuple[str, ...] = ()
    """Overrides for the deep prefixes of the representation `deep`, beside `prefix.kind=deep`:
    `experiment.deep=["optim.epochs=2"]`."""
    finetuned: tuple[str, ...] = ()
    """Overrides for the encoders of the representations `multitask` and `finetuned`, beside
    `finetune` and `multitask`: `experiment.finetuned=["pooling.norm=layer"]`."""
    cost_tokens: Natural = 0
    """Count the operations of each representation for one text of this many tokens, and report what
    1 to 32 tasks cost; 0: not."""
    update: UpdateConfig = field(default_factory=UpdateConfig)
    transfer: TransferConfig = field(default_factory=TransferConfig)
    """For `transfer map` only."""
    overrides: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Overrides for single tasks: `experiment.overrides.polarity=["optim.lr=0.01"]`."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RunExperimentConfig(StoredVectors, PrefixRecipe, CommandConfig):
    """`prefixbank run`."""

    command = "run"
    experiment: ExperimentConfig = field(default_factory=ExperimentConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    combine: CombineConfig = field(default_factory=CombineConfig)
    pairs: ProbePairs = "best"
    """How a pair of the targets' texts becomes one vector: encoded jointly; `separate`: each alone
    to u and v, giving u, v, |u - v| and u * v; `both`: all of these; `best`: one of the three, the
    one that cross-validation on train rows prefers, in each probe anew. A tie goes to the earlier
    one."""
    precision: Precision = "fp32"
    """Number format of the forward pass over the targets' texts."""
    finetune: FineTuneConfig = field(default_factory=FineTuneConfig)
    """Training of fine-tuned encoders and of students, in place of `optim`."""
    multitask: MultitaskConfig = field(default_factory=MultitaskConfig)
    student: StudentConfig = field(default_factory=StudentConfig)
    """Of the representations `student` and `shared_student`, which train as `finetune` says."""
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    run: RunConfig = field(default_factory=RunConfig)


def finetuned_recipe(config: RunExperimentConfig) -> MultitaskRecipe:
    """Return how encoders are fine-tuned in an experiment, without `experiment.finetuned`."""
    return MultitaskRecipe(
        multitask=config.multitask,
        optim=config.finetune,
        pooling=config.pooling,
        max_length_tokens=config.max_length_tokens,
        seed=config.seed,
    )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TransferMapConfig(RunExperimentConfig):
    """`prefixbank transfer map`."""

    command = "transfer map"
