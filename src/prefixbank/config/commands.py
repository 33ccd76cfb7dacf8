"""The settings of each command; their fields are the `key=value` names of the command line."""

from __future__ import annotations

from dataclasses import field

from pydantic.dataclasses import dataclass

from prefixbank.choices import (
    Compare,
    Joint,
    Method,
    Pairs,
    Precision,
    Representation,
    Selection,
    SelectionWeights,
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
    FineTuneConfig,
    MultitaskConfig,
    MultitaskRecipe,
    Natural,
    PoolingConfig,
    PrefixRecipe,
    ProbeConfig,
    TaskConfig,
)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainPrefixConfig(PrefixRecipe):
    """`prefixbank train-prefix`."""

    name: str = ""
    """Ref that is set: `prefix/<name>`; empty: the task's name."""
    task: TaskConfig = field(default_factory=TaskConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    run: RunConfig = field(default_factory=RunConfig)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TransferSimilarConfig(PrefixRecipe):
    """`prefixbank transfer similar`. The recipe is that of the short run on the task."""

    task: TaskConfig = field(default_factory=TaskConfig)
    sources: tuple[str, ...] = ()
    """Prefixes by ref, name or key; empty: all that have a ref and can be compared."""
    similarity: Similarity = "average_tokens"
    """How two task embeddings are compared: `average_tokens` is the cosine of their mean tokens,
    `per_token` the mean cosine of all pairs of tokens."""
    compare: Compare = "weights"
    """What of an early prefix is compared: its `weights`, or its `movement`, how far it has moved
    from the random values that it started from."""
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    run: RunConfig = field(default_factory=RunConfig)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TransferRetrieveConfig(TransferSimilarConfig):
    """`prefixbank transfer retrieve`.

    The recipe is that of the task's own training, and of the short run before it.
    """

    name: str = ""
    """Ref that is set: `prefix/<name>`; empty: the task's name."""
    method: Method = "best_of_k"
    """What the training starts from: each of the k most similar prefixes, to keep the one that
    validates best; their mean, weighted by similarity; or one prefix of their tasks together."""
    k: Count = 3
    """How many of the most similar prefixes to take."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainMultitaskConfig(MultitaskRecipe):
    """`prefixbank train-multitask`."""

    name: str = ""
    """Ref that is set: `multitask/<name>`; empty: the tasks' names, joined."""
    tasks: tuple[str, ...] = ()
    """Tasks by name: YAML files of `conf/task`, or task folders below `run.data_root`."""
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    run: RunConfig = field(default_factory=RunConfig)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CombineCommandConfig(PrefixRecipe, BankRecipe):
    """`prefixbank combine`.

    What does not say how prefixes become a bank is for `select=similar`; the recipe is that of the
    short run.
    """

    name: str = ""
    """Ref that is set: `bank/<name>`; empty with `select=similar`: `<task>-similar`."""
    prefixes: tuple[str, ...] = ()
    """Refs (`prefix/sst2`), task names (`sst2`) or keys."""
    select: Selection = "given"
    """`given`: these prefixes, in this order. `similar`: of these (empty: of all that have a ref
    and can be compared) the `k` that are most similar to a task, the nearest first."""
    task: TaskConfig = field(default_factory=TaskConfig)
    k: Count = 3
    """How many of the most similar prefixes to take."""
    similarity: Similarity = "average_tokens"
    """How two task embeddings are compared: `average_tokens` is the cosine of their mean tokens,
    `per_token` the mean cosine of all pairs of tokens."""
    compare: Compare = "weights"
    """What of an early prefix is compared: its `weights`, or its `movement`, how far it has moved
    from the random values that it started from."""
    weigh: SelectionWeights = "similarity"
    """`similarity`: prefixes share the mass of one in proportion to their similarities. `equally`:
    as `combine.weighting` says."""
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    run: RunConfig = field(default_factory=RunConfig)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CorpusConfig:
    """Texts to embed (a source). `path=-` reads lines from standard input."""

    path: str = ""
    """File with the texts: txt, CSV, TSV, JSONL or Parquet; `-`: lines of standard input."""
    column: str = "text"
    """Column of the text, or of the first text of a pair."""
    column_pair: str = ""
    """Column of the second text of a pair; empty: single texts."""
    id_column: str = ""
    """Empty: the row number."""
    shard_rows: Count = 16_384
    """Rows embedded, and kept, at a time: what a killed run loses at most."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EmbedConfig(EmbedRecipe):
    """`prefixbank embed`."""

    bank: str = ""
    """Bank ref (`demo` or `bank/demo`) or key; `multitask/NAME` is a multi-task encoder, `none` the
    plain one."""
    name: str = ""
    """Ref that is set: `embeddings/<name>`; empty: the corpus file's name, `@`, the bank's name."""
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    pooling: PoolingConfig = field(default_factory=PoolingConfig)
    """Used with `bank=none`; a bank and a multi-task encoder bring their own."""
    reuse: bool = False
    """Take vectors over from embeddings made before, with `reuse` too, of any corpus: only texts
    that are in none of them are read."""
    run: RunConfig = field(default_factory=RunConfig)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SearchConfig:
    """`prefixbank search`."""

    embeddings: str = ""
    """Embeddings by ref (`reviews@demo`) or key."""
    queries: CorpusConfig = field(default_factory=lambda: CorpusConfig(path="-"))
    """Texts to find neighbours of; `path=-`: lines of standard input."""
    k: Count = 5
    """Neighbours of each query."""
    rescore: Count = 10
    """Of binary vectors, k times so many neighbours by differing bits are compared again with the
    query's own numbers."""
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    """The embedded corpus, if its texts are to be shown."""
    run: RunConfig = field(default_factory=RunConfig)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ProbeCommandConfig(EmbedRecipe):
    """`prefixbank probe`."""

    bank: str = ""
    """Bank ref (`demo` or `bank/demo`) or key; `multitask/NAME` is a multi-task encoder, `none` the
    plain one."""
    name: str = ""
    """Ref that is set: `probe/<name>`; empty: the task's name, `@`, the bank's name."""
    task: TaskConfig = field(default_factory=TaskConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    pooling: PoolingConfig = field(default_factory=PoolingConfig)
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    run: RunConfig = field(default_factory=RunConfig)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class UpdateConfig:
    """Which changes of the source tasks to measure the cost of; empty: not that one."""

    add: str = ""
    """A task that is not among the sources yet."""
    refresh: str = ""
    """A source whose prefix is trained again."""
    remove: str = ""
    """A source that is left out."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TransferConfig:
    """What `transfer map` trains on the targets, and which retrievals it compares."""

    overrides: tuple[str, ...] = ()
    """Overrides for training on targets: `experiment.transfer.overrides=["optim.epochs=6"]`.
    `experiment.overrides` has those for single tasks, sources and targets."""
    similarity: Similarity = "average_tokens"
    """By which similarity sources are ranked."""
    compare: Compare = "weights"
    """Of what."""
    ks: tuple[Count, ...] = (1, 3)
    """Each k of the retrieval table."""
    methods: tuple[Joint, ...] = ("weighted",)
    """What is retrieved beside the best of k, which needs no training beside those of the map."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ExperimentConfig:
    """What a whole study trains, probes and compares."""

    name: str = ""
    """Name of the study; its report and banks are called so."""
    sources: tuple[str, ...] = ()
    """Source tasks by name: a prefix is trained on each."""
    targets: tuple[str, ...] = ()
    """Target tasks by name: probes are fitted on each."""
    seeds: tuple[Natural, ...] = (0,)
    """Training seeds: everything that is trained is trained once with each."""
    representations: tuple[Representation, ...] = ("plain", "bank")
    """What is compared, each with the vectors of all targets."""
    single_seed: tuple[Representation, ...] = ()
    """Representations that are made with the first seed only."""
    source_rows: Natural = 0
    """At most this many train rows of each source; 0 keeps all."""
    target_rows: Natural = 0
    """The same of each target."""
    validation_rows: Natural = 0
    """The same of validation rows of sources and targets."""
    probe_last_layers: Natural = 0
    """Embed with the last so many layers side by side, for `probe.layers` to choose from, whatever
    `pooling` trains with; 0: as `pooling`."""
    update: UpdateConfig = field(default_factory=UpdateConfig)
    transfer: TransferConfig = field(default_factory=TransferConfig)
    """For `transfer map` only."""
    overrides: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Overrides for single source tasks: `experiment.overrides.polarity=["optim.lr=0.01"]`."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RunExperimentConfig(PrefixRecipe):
    """`prefixbank run`."""

    experiment: ExperimentConfig = field(default_factory=ExperimentConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    combine: CombineConfig = field(default_factory=CombineConfig)
    pairs: Pairs = "joint"
    """How pairs are embedded; see `EmbedRecipe`."""
    vectors: VectorType = "float32"
    """What the targets' vectors are stored as; see `EmbedRecipe`."""
    precision: Precision = "fp32"
    """In what the targets' texts are read; see `EmbedRecipe`."""
    finetune: FineTuneConfig = field(default_factory=FineTuneConfig)
    """Training of the multi-task encoder, in place of `optim`."""
    multitask: MultitaskConfig = field(default_factory=MultitaskConfig)
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    run: RunConfig = field(default_factory=RunConfig)
