"""prefixbank from Python: what `import prefixbank as pb` gives.

The functions take values in memory, names or keys. They use the same store and make the same keys
as the command line does for the same settings. `run` takes any command as it is typed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from prefixbank.artifacts.source_head import SourceHead
from prefixbank.commands import functions
from prefixbank.commands.functions import Row
from prefixbank.commands.invocation import Invocation
from prefixbank.commands.progress import StepLines
from prefixbank.commands.results import (
    Artifact,
    BankResult,
    EmbeddingsResult,
    PrefixResult,
    ProbeResult,
    artifact_of,
    bank_result,
    embeddings_result,
    prefix_result,
    probe_result,
)
from prefixbank.commands.run import run_command
from prefixbank.commands.table import command_named, split_command
from prefixbank.config.commands import (
    CombineCommandConfig,
    CorpusConfig,
    EmbedConfig,
    ProbeCommandConfig,
    SearchConfig,
    TrainPrefixConfig,
)
from prefixbank.config.compose import compose_encoder, compose_task
from prefixbank.config.mixture import mixture_faults
from prefixbank.config.running import RunConfig
from prefixbank.config.schema import (
    ColumnNames,
    CombineConfig,
    EmbedRecipe,
    EncoderConfig,
    OptimConfig,
    PoolingConfig,
    PrefixConfig,
    PrefixRecipe,
    ProbeConfig,
    ProbeRecipe,
    SplitNames,
    TaskConfig,
)
from prefixbank.data.columns import as_list
from prefixbank.data.tasks.memory import Rows, Task
from prefixbank.data.tasks.task import Task as CheckedTask
from prefixbank.errors import DataError, PrefixbankError, UsageError, raise_faults
from prefixbank.project import conf_dir as user_conf_dir
from prefixbank.runtime.events import Event, silent
from prefixbank.runtime.unit import Planned
from prefixbank.steps.embed.loaded_bank import LoadedBank
from prefixbank.store.store import Store

S = TypeVar("S")

if TYPE_CHECKING:
    from prefixbank.artifacts.fitted_probe import FittedProbe
    from prefixbank.steps.search import Hit

__all__ = [
    "Artifact",
    "BankResult",
    "ColumnNames",
    "CombineConfig",
    "CommandResult",
    "CorpusConfig",
    "DataError",
    "EmbedRecipe",
    "EmbeddingsResult",
    "EncoderConfig",
    "Event",
    "LoadedBank",
    "OptimConfig",
    "PoolingConfig",
    "PrefixConfig",
    "PrefixRecipe",
    "PrefixResult",
    "PrefixbankError",
    "ProbeConfig",
    "ProbeRecipe",
    "ProbeResult",
    "Rows",
    "RunConfig",
    "SourceHead",
    "SplitNames",
    "Store",
    "Task",
    "TaskConfig",
    "UsageError",
    "combine",
    "embed",
    "load_bank",
    "load_probe",
    "open_store",
    "probe",
    "run",
    "search",
    "train_prefix",
]


def train_prefix(
    task: str | TaskConfig | Task,
    *,
    encoder: str | EncoderConfig = "minilm",
    recipe: PrefixRecipe | None = None,
    name: str = "",
    store: str | Path | None = None,
    run: RunConfig | None = None,
    force: bool = False,
    on_event: Callable[[Event], None] | None = None,
    progress: bool = False,
) -> PrefixResult:
    """Train a prefix on a source task, or return it if the store has it.

    Args:
        task: a task in memory, the name of a task that `prefixbank config groups` lists, or where
            its rows are.
        encoder: name of an encoder that `prefixbank config groups` lists, or where it is.
        recipe: how to train; None: the defaults.
        name: name of the prefix; empty: the name of the task. The ref `prefix/<name>` is set.
        store: folder of the store; None: that of the command line.
        run: device, threads and the like; None: the defaults.
        force: train again even if the store has the prefix.
        on_event: called with each event.
        progress: print a line for each step on stderr, and a progress bar on a terminal.

    Returns:
        The prefix and its validation score.

    Raises:
        PrefixbankError: something is wrong with the task, the encoder or the settings.
    """
    described = _task_config(task)
    config = TrainPrefixConfig(
        **_fields_of(_or_default("recipe", recipe, PrefixRecipe)),
        name=name,
        task=described,
        encoder=_encoder_config(encoder),
        run=_in_this_process(run),
    )
    raise_faults(mixture_faults(config))
    with _invocation(store, force, on_event, progress) as invocation:
        in_memory = task if isinstance(task, CheckedTask) else None
        return prefix_result(functions.train_prefix(config, invocation, in_memory))


def combine(
    prefixes: Sequence[str | PrefixResult],
    *,
    name: str,
    combine: CombineConfig | None = None,
    pooling: PoolingConfig | None = None,
    store: str | Path | None = None,
    force: bool = False,
    on_event: Callable[[Event], None] | None = None,
    progress: bool = False,
) -> BankResult:
    """Combine prefixes into a bank.

    Args:
        prefixes: prefixes in order, each by name, ref or key, or as `train_prefix` returned it.
        name: name of the bank. The ref `bank/<name>` is set.
        combine: rule and weights; None: side by side in every layer, with weights 1/K. Read-outs
            have a block each, behind the vector of the plain encoder.
        pooling: how hidden states become one vector; None: the last layer, pooled as a
            sentence-transformers folder says, else the mean over tokens.
        store: folder of the store; None: that of the command line.
        force: make the bank again even if the store has it.
        on_event: called with each event.
        progress: print a line for each step on stderr.

    Returns:
        The bank.

    Raises:
        PrefixbankError: a prefix does not exist, or the prefixes do not go together.
    """
    if isinstance(prefixes, str | PrefixResult):
        raise UsageError(
            "one prefix instead of a list of prefixes",
            expected="a list, even for one prefix",
            fix=f'pb.combine(["polarity"], name="{name}")',
        )
    if not isinstance(prefixes, Sequence):
        raise _wrong_type(
            "prefixes",
            prefixes,
            expected="a list of prefixes, whose order counts",
            fix=f'pb.combine(["polarity", "topic"], name="{name}")',
        )
    opened = open_store(store)
    config = CombineCommandConfig(
        combine=_or_default("combine", combine, CombineConfig),
        pooling=_or_default("pooling", pooling, PoolingConfig),
        name=name,
        prefixes=tuple(_text_for(opened, "prefix", prefix) for prefix in prefixes),
    )
    with _invocation(store, force, on_event, progress) as invocation:
        return bank_result(functions.combine(config, invocation))


def load_bank(
    name: str | BankResult,
    *,
    encoder: str | EncoderConfig = "bank",
    recipe: EmbedRecipe | None = None,
    store: str | Path | None = None,
    run: RunConfig | None = None,
) -> LoadedBank:
    """Load a bank with its encoder, to embed texts in memory.

    Args:
        name: a bank by name, ref or key, or as `combine` returned it; `multitask/NAME` is a
            multi-task encoder, `student/NAME` a student. Or the folder of a bundle that `export`
            wrote.
        encoder: where the bank's encoder is, if not where it was when the bank was made.
        recipe: length, precision and the like; None: the defaults.
        store: folder of the store; None: that of the command line.
        run: device, threads and the like; None: the defaults.

    Returns:
        The bank; `embed(texts)` returns float32 [N, F]. Of a bank of blocks, `blocks(texts)` has
        the features of each source, and `heads` what predicts from them.

    Raises:
        PrefixbankError: the bank does not exist, one of its prefixes was trained again since, or
            its encoder is not the same any more.
    """
    from prefixbank.artifacts.bundle import is_path, read_bundle
    from prefixbank.steps.embed.source import resolve_bank, resolve_bank_and_encoder

    context = Invocation(store=store).context(_in_this_process(run))
    text = _text_for(context.store, "bank", name)
    entry = resolve_bank(context.store, text)
    where, own = _encoder_config(encoder), PoolingConfig()
    _, files, _ = resolve_bank_and_encoder(context, text, where, own)
    return LoadedBank(
        context,
        entry,
        files,
        None if recipe is None else _or_default("recipe", recipe, EmbedRecipe),
        name=functions.name_of_bank(text),
        bundle=read_bundle(text) if is_path(text) else None,
    )


def load_probe(name: str | ProbeResult, *, store: str | Path | None = None) -> FittedProbe:
    """Load a probe, to apply it to vectors in memory.

    `load_bank(bank).predict(texts, heads=[name])` embeds texts for it.

    Args:
        name: a probe by name, ref or key, or as `probe` returned it.
        store: folder of the store; None: that of the command line.

    Returns:
        The probe: `labels`, `predict(vectors)`, `probabilities(vectors)`.

    Raises:
        PrefixbankError: the probe does not exist, or holds several models.
    """
    from prefixbank.artifacts.fitted_probe import read_probe

    context = Invocation(store=store).context(_in_this_process(None))
    text = _text_for(context.store, "probe", name)
    return read_probe(context.store.resolve("probe", text), text)


def embed(
    bank: str | BankResult | LoadedBank,
    corpus: str | Path | CorpusConfig,
    *,
    encoder: str | EncoderConfig = "bank",
    recipe: EmbedRecipe | None = None,
    pooling: PoolingConfig | None = None,
    reuse: bool = False,
    name: str = "",
    store: str | Path | None = None,
    run: RunConfig | None = None,
    force: bool = False,
    on_event: Callable[[Event], None] | None = None,
    progress: bool = False,
) -> EmbeddingsResult:
    """Embed a corpus that may be larger than memory, shard by shard.

    For texts in memory, `load_bank(bank).embed(texts)` returns an array.

    Args:
        bank: a bank by name, ref or key, or as a function returned it; `multitask/NAME` is a
            multi-task encoder, `student/NAME` a student, `none` the plain encoder.
        corpus: a txt, CSV, TSV, JSONL or Parquet file, or a description with columns.
        encoder: with `bank="none"`, the encoder by name, or where it is.
        recipe: length, precision and type of the stored vectors; None: the defaults.
        pooling: with `bank="none"`, how hidden states become one vector.
        reuse: copy the vectors of texts that earlier runs with `reuse` embedded.
        name: name of the embeddings; empty: `<file>@<bank>`. The ref `embeddings/<name>` is set.
        store: folder of the store; None: that of the command line.
        run: device, threads and the like; None: the defaults.
        force: embed again even if the store has the vectors.
        on_event: called with each event.
        progress: print a line for each step on stderr, and a progress bar on a terminal.

    Returns:
        The folder with the Parquet files, and the number of rows.

    Raises:
        PrefixbankError: something is wrong with the bank, the corpus or the settings.
    """
    if not isinstance(corpus, str | Path | CorpusConfig):
        raise _wrong_type(
            "corpus",
            corpus,
            expected="a file with texts, or a CorpusConfig",
            fix="pb.load_bank(bank).embed(texts)    for texts in memory",
        )
    described = corpus if isinstance(corpus, CorpusConfig) else CorpusConfig(path=str(corpus))
    config = EmbedConfig(
        **_fields_of(_or_default("recipe", recipe, EmbedRecipe)),
        bank=_text_for(open_store(store), "bank", bank),
        name=name,
        corpus=described,
        encoder=_encoder_config(encoder),
        pooling=_or_default("pooling", pooling, PoolingConfig),
        reuse=reuse,
        run=_in_this_process(run),
    )
    with _invocation(store, force, on_event, progress) as invocation:
        return embeddings_result(functions.embed(config, invocation))


def probe(
    bank: str | BankResult | LoadedBank,
    task: str | TaskConfig | Task,
    *,
    encoder: str | EncoderConfig = "bank",
    recipe: ProbeRecipe | None = None,
    pooling: PoolingConfig | None = None,
    probe: ProbeConfig | None = None,
    reuse: bool = False,
    name: str = "",
    store: str | Path | None = None,
    run: RunConfig | None = None,
    force: bool = False,
    on_event: Callable[[Event], None] | None = None,
    progress: bool = False,
) -> ProbeResult:
    """Fit a light model for a target task on a bank's vectors, and score it once on test.

    Args:
        bank: a bank by name, ref or key, or as a function returned it; `multitask/NAME` is a
            multi-task encoder, `student/NAME` a student, `none` the plain encoder.
        task: as in `train_prefix`.
        encoder: with `bank="none"`, the encoder by name, or where it is.
        recipe: how pairs are read, length, precision and type of the vectors; None: the defaults.
        pooling: with `bank="none"`, how hidden states become one vector.
        probe: model, protocol and scoring; None: the defaults.
        reuse: copy the vectors of texts that earlier probes with `reuse` embedded.
        name: name of the probe; empty: `<task>@<bank>`. The ref `probe/<name>` is set.
        store: folder of the store; None: that of the command line.
        run: device, threads and the like; None: the defaults.
        force: make it again even if the store has it.
        on_event: called with each event.
        progress: print a line for each step on stderr, and a progress bar on a terminal.

    Returns:
        The probe, with its test score and 95 % interval.

    Raises:
        PrefixbankError: something is wrong with the bank, the task or the settings.
    """
    config = ProbeCommandConfig(
        **_fields_of(_or_default("recipe", recipe, ProbeRecipe)),
        bank=_text_for(open_store(store), "bank", bank),
        name=name,
        task=_task_config(task),
        encoder=_encoder_config(encoder),
        pooling=_or_default("pooling", pooling, PoolingConfig),
        probe=_or_default("probe", probe, ProbeConfig),
        reuse=reuse,
        run=_in_this_process(run),
    )
    raise_faults(mixture_faults(config))
    with _invocation(store, force, on_event, progress) as invocation:
        in_memory = task if isinstance(task, CheckedTask) else None
        return probe_result(functions.probe(config, invocation, in_memory))


def search(
    texts: Sequence[str],
    embeddings: str | EmbeddingsResult,
    *,
    k: int = 5,
    rescore: int = 10,
    corpus: str | Path | CorpusConfig | None = None,
    store: str | Path | None = None,
    run: RunConfig | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> list[list[Hit]]:
    """Find the rows of embeddings that are most similar to texts, by cosine.

    Args:
        texts: Q texts to search for.
        embeddings: embeddings by ref or key, or as `embed` returned them.
        k: neighbours of each text.
        rescore: with binary vectors, how many times k rows are ranked again exactly.
        corpus: what was embedded, to read its texts; None: the file that the embeddings remember.
        store: folder of the store; None: that of the command line.
        run: device, threads and the like; None: the defaults.
        on_event: called with each event; a note says why texts are not known.

    Returns:
        The hits of each text, the nearest first: `id`, `row`, `score`, and `text`, which is None
        if the corpus cannot be read again.

    Raises:
        PrefixbankError: no such embeddings, no texts, or faiss is not installed.
    """
    listed = () if isinstance(texts, str) else tuple(as_list(texts, "texts"))
    if not listed:
        raise UsageError(
            "no list of texts to search for",
            expected="a list, also for one text",
            fix='pb.search(["a text"], embeddings)',
        )
    if not isinstance(corpus, CorpusConfig):
        corpus = CorpusConfig(path="" if corpus is None else str(corpus))
    config = SearchConfig(
        embeddings=_text_for(open_store(store), "embeddings", embeddings),
        k=k,
        rescore=rescore,
        corpus=corpus,
        run=_in_this_process(run),
    )
    invocation = Invocation(store=store, emit=on_event or silent, texts=listed)
    return functions.find_hits(config, invocation)


def open_store(store: str | Path | None = None) -> Store:
    """Open a store: its artifacts, refs and pins.

    Args:
        store: folder of the store; None: that of the command line.
    """
    return Store.open(store)


@dataclass(frozen=True, kw_only=True)
class CommandResult:
    """What a command did.

    Args:
        rows: what the command line prints: one row of facts about an artifact, or the rows of a
            command that lists something. Empty after a dry run that was no hit.
        artifact: what was made or found; None for a command that lists something, and after a dry
            run that was no hit.
        report: writes files about the artifact for people into a folder, where there are any: of a
            probe the scores of each class, a confusion matrix and the most confident errors.
    """

    rows: tuple[Row, ...]
    artifact: Artifact | None = None
    report: Callable[[Path], None] | None = None


def run(
    command: str,
    *settings: str,
    store: str | Path | None = None,
    conf_dir: str | Path | None = None,
    dry_run: bool = False,
    force: bool = False,
    on_event: Callable[[Event], None] | None = None,
    progress: bool = False,
) -> CommandResult:
    """Run a command as it is typed: `pb.run("combine", "prefixes=[polarity]", "name=demo")`.

    Args:
        command: its name: `train-prefix`, `transfer map`, ... The two words may be two arguments.
        settings: `KEY=VALUE` each. Workers (`run.workers=4`, `run=slurm`) work here too.
        store: folder of the store; None: that of the command line.
        conf_dir: a folder with YAML files of your own.
        dry_run: plan only; nothing is made.
        force: make artifacts again that the store has.
        on_event: called with each event.
        progress: print a line for each step on stderr, and a progress bar on a terminal.

    Returns:
        The rows that the command line prints, and the artifact.

    Raises:
        UsageError: there is no such command, or a setting is wrong.
        PrefixbankError: the command failed.
    """
    words = (command, *settings)
    for word in words:
        if not isinstance(word, str):
            raise _wrong_type(
                "command" if word is command else "a setting",
                word,
                expected="text: the command, then each setting as KEY=VALUE",
                fix='pb.run("combine", "prefixes=[polarity]", "name=demo")',
            )
    name, overrides = split_command(words)
    with _invocation(
        store,
        force,
        on_event,
        progress,
        dry_run=dry_run,
        conf_dir=None if conf_dir is None else Path(conf_dir),
    ) as invocation:
        result = run_command(command_named(name), overrides, invocation)
    if not isinstance(result, Planned):
        return CommandResult(rows=tuple(result))
    if not result.is_made:
        return CommandResult(rows=())
    artifact = artifact_of(result)
    return CommandResult(rows=(artifact.facts,), artifact=artifact, report=result.report)


@contextmanager
def _invocation(
    store: str | Path | None,
    force: bool,
    on_event: Callable[[Event], None] | None,
    progress: bool,
    *,
    dry_run: bool = False,
    conf_dir: Path | None = None,
) -> Iterator[Invocation]:
    """Return the invocation of one call, and draw its progress as long as the call takes."""
    listener = on_event or silent
    with StepLines(quiet=not progress) as lines:

        def emit(event: Event) -> None:
            lines(event)
            listener(event)

        yield Invocation(
            store=store,
            conf_dir=conf_dir,
            dry_run=dry_run,
            force=force,
            emit=emit if progress else listener,
        ).with_defaults()


def _wrong_type(argument: str, value: Any, *, expected: str, fix: str) -> UsageError:
    return UsageError(f"{argument} has the type {type(value).__name__}", expected=expected, fix=fix)


def _or_default(argument: str, given: S | None, settings: type[S]) -> S:
    """Return settings as given, or the defaults, and refuse another class."""
    if given is None:
        return settings()
    if not isinstance(given, settings):
        name = settings.__name__
        raise _wrong_type(argument, given, expected=f"a pb.{name}", fix=f"pb.{name}(...)")
    return given


def _fields_of(recipe: Any) -> dict[str, Any]:
    return {field.name: getattr(recipe, field.name) for field in fields(recipe)}


def _task_config(task: str | TaskConfig | Task) -> TaskConfig:
    """Return where a task is, or the name of a task in memory."""
    match task:
        case str():
            return compose_task(task, conf_dir=user_conf_dir())
        case TaskConfig():
            return task
        case CheckedTask():
            return TaskConfig(name=task.name)
    raise _wrong_type(
        "task",
        task,
        expected="a pb.Task, a pb.TaskConfig, or the name of a task",
        fix="pb.Task.from_rows(texts, labels, name=NAME), or pb.Task.from_table(table, name=NAME)",
    )


def _encoder_config(encoder: str | EncoderConfig) -> EncoderConfig:
    if isinstance(encoder, str):
        return compose_encoder(encoder, conf_dir=user_conf_dir())
    if not isinstance(encoder, EncoderConfig):
        raise _wrong_type(
            "encoder",
            encoder,
            expected="a pb.EncoderConfig, or the name of an encoder",
            fix='pb.EncoderConfig(source="folder", path=PATH)',
        )
    return encoder


def _text_for(store: Store, kind: str, given: str | Artifact | LoadedBank) -> str:
    """Return the ref of an artifact while the ref still leads to it, else its key.

    A bank keeps the refs of its prefixes, to notice when one of them was trained again.
    """
    if isinstance(given, str):
        return given
    if isinstance(given, LoadedBank):
        name, key = str(given.entry.info.get("name", "")), given.entry.key
    elif isinstance(given, Artifact):
        name, key = given.name, given.key
    else:
        raise _wrong_type(
            kind,
            given,
            expected=f"a {kind} by name, ref or key, or as a function returned it",
            fix="prefixbank cache ls    lists all of them",
        )
    current = store.ref(kind, name) if name else None
    return f"{kind}/{name}" if current is not None and current.key == key else key


def _in_this_process(run: RunConfig | None) -> RunConfig:
    """Refuse workers, which only `run` can start: they repeat a command from its settings."""
    checked = _or_default("run", run, RunConfig)
    if checked.driver != "local" or checked.workers > 1:
        raise UsageError(
            f"run.driver={checked.driver} run.workers={checked.workers} in a function",
            expected="driver='local' and at most one worker: a function runs in this process",
            fix='pb.run("train-prefix", "task=polarity", "run.workers=4")',
        )
    return checked
