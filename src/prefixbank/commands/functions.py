"""What each command does with its settings.

Every function imports the steps that it uses when it is called, so that `prefixbank --help`, which
reads the table of commands, loads none of them.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, assert_never

from prefixbank.commands.invocation import Invocation
from prefixbank.config.commands import (
    CombineCommandConfig,
    CostConfig,
    EmbedConfig,
    ExportConfig,
    ImportConfig,
    PredictCommandConfig,
    ProbeCommandConfig,
    PullConfig,
    PushConfig,
    RunExperimentConfig,
    SearchConfig,
    TrainMultitaskConfig,
    TrainPrefixConfig,
    TrainStudentConfig,
    TransferCombineConfig,
    TransferMapConfig,
    TransferRetrieveConfig,
    TransferSimilarConfig,
)
from prefixbank.config.mixture import find_tasks, tasks_of
from prefixbank.config.running import RunConfig
from prefixbank.config.schema import (
    BankRecipe,
    EmbedRecipe,
    MultitaskRecipe,
    PoolingConfig,
    PrefixRecipe,
    StudentRecipe,
    TaskConfig,
    recipe_of,
)
from prefixbank.errors import UsageError
from prefixbank.names import as_name

if TYPE_CHECKING:
    from prefixbank.artifacts.bundle import Bundle
    from prefixbank.data.encoders.files import EncoderFiles
    from prefixbank.data.tasks.task import Task
    from prefixbank.runtime.context import Context
    from prefixbank.runtime.session import Session
    from prefixbank.runtime.unit import Planned, Unit
    from prefixbank.steps.export.source import Export
    from prefixbank.steps.search import Hit
    from prefixbank.steps.train_prefix.mixture import Mixture
    from prefixbank.store.artifact import Entry
    from prefixbank.studies.graph import Experiment

Row = dict[str, Any]

C = TypeVar(
    "C",
    TrainPrefixConfig,
    TrainMultitaskConfig,
    TransferSimilarConfig,
    TransferRetrieveConfig,
    TransferCombineConfig,
    RunExperimentConfig,
    TransferMapConfig,
)
"""Settings of a command that trains on an encoder."""


def train_prefix(
    config: TrainPrefixConfig, invocation: Invocation, task: Task | None = None
) -> Planned:
    """Train a prefix on one source task or on several.

    Args:
        config: settings of the command.
        invocation: where to run, and who listens.
        task: a task in memory, in place of `config.task`.
    """
    from prefixbank.steps.train_prefix import step

    with invocation.context(config.run) as context:
        examples: Task | Mixture
        if config.task.mixture and task is None:
            examples = _mixture(context, config, invocation)
        else:
            examples = _task(context, config.task, task)
        files, config = _with_encoder(context, config)
        recipe = recipe_of(config, PrefixRecipe)
        return context.ensure(step.unit(context, examples, files, recipe, config.name))


def train_multitask(config: TrainMultitaskConfig, invocation: Invocation) -> Planned:
    """Fine-tune all weights of the encoder on several tasks together."""
    from prefixbank.steps.train_multitask import step

    step.check_tasks(config.tasks)
    with invocation.context(config.run) as context:
        found = find_tasks(config.tasks, _task_finder(config.run, invocation))
        tasks = [context.task(task) for task in found]
        files, config = _with_encoder(context, config)
        recipe = recipe_of(config, MultitaskRecipe)
        return context.ensure(step.unit(context, tasks, files, recipe, config.name))


def train_student(config: TrainStudentConfig, invocation: Invocation) -> Planned:
    """Distil a multi-task encoder into a student with its lower layers."""
    from prefixbank.steps.train_student import step

    has_task = config.task != TaskConfig()
    if has_task and config.tasks:
        raise UsageError(
            f"a single task beside tasks=[{','.join(config.tasks)}]",
            expected="task= or tasks=; without both, all tasks of the teacher",
            fix="drop task= and its settings    or tasks=",
        )
    with invocation.context(config.run) as context:
        teacher = step.resolve_teacher(context.store, config.teacher)
        names = config.tasks or teacher.info["tasks"]
        find_task = _task_finder(config.run, invocation)
        found = [config.task] if has_task else find_tasks(names, find_task)
        tasks = [context.task(task) for task in found]
        recipe = recipe_of(config, StudentRecipe)
        return context.ensure(step.unit(context, tasks, teacher, recipe, config.name))


def combine(config: CombineCommandConfig, invocation: Invocation) -> Planned:
    """Combine prefixes into a bank."""
    from prefixbank.artifacts.prefix import ref_of
    from prefixbank.steps import combine as step

    if not config.name:
        raise UsageError(
            "a bank without a name",
            expected="name=NAME",
            fix="prefixbank combine 'prefixes=[polarity,topic]' name=demo",
        )
    with invocation.context(config.run) as context:
        prefixes = [context.store.resolve("prefix", text) for text in config.prefixes]
        refs = [ref_of(context.store, "prefix", text) for text in config.prefixes]
        return context.ensure(step.unit(prefixes, recipe_of(config, BankRecipe), config.name, refs))


def embed(config: EmbedConfig, invocation: Invocation) -> Planned:
    """Embed a corpus."""
    from prefixbank.artifacts.embeddings import STEP
    from prefixbank.data.corpus.corpus import open_corpus
    from prefixbank.runtime.unit import Planned
    from prefixbank.runtime.worker import worker_shards
    from prefixbank.steps.embed import blocks
    from prefixbank.steps.embed import corpus as step
    from prefixbank.steps.embed.reuse import VectorReuse
    from prefixbank.steps.embed.source import resolve_bank_and_encoder
    from prefixbank.steps.embed.spec import of_corpus, specs_of

    with invocation.context(config.run) as context:
        bank, files, pooling = resolve_bank_and_encoder(
            context, config.bank, config.encoder, config.pooling
        )
        name = config.name or f"{_name_of_file(config.corpus.path)}@{name_of_bank(config.bank)}"
        new_reuse = partial(VectorReuse, context.store, force=context.force)
        recipe = _scaled(recipe_of(config, EmbedRecipe), bank, config.pooling, files)
        specs = specs_of(bank, files, recipe, pooling, new_reuse if config.reuse else None)
        specs = of_corpus(specs, config.corpus)
        if invocation.job is not None and invocation.job.shards:
            shards = worker_shards(config.corpus, invocation.job.folder)
            step.make_shards(context, specs, shards, invocation.job.shards)
            return Planned(step=STEP, name=name)
        with open_corpus(config.corpus, _standard_input()) as corpus:
            ref = ("embeddings", name)
            units = step.units(context, specs, corpus, name, ref)
            return blocks.ensure(context, units, specs, bank, name, ref)


def predict(config: PredictCommandConfig, invocation: Invocation) -> Planned:
    """Embed a corpus once, and apply probes and source heads to the vectors."""
    from prefixbank.artifacts.bundle import is_path, read_bundle
    from prefixbank.artifacts.predictions import STEP
    from prefixbank.data.corpus.corpus import open_corpus
    from prefixbank.runtime.unit import Planned
    from prefixbank.runtime.worker import worker_shards
    from prefixbank.steps.embed import corpus as embed_step
    from prefixbank.steps.embed.source import resolve_bank_and_encoder
    from prefixbank.steps.embed.spec import of_corpus
    from prefixbank.steps.predict import step
    from prefixbank.steps.predict.heads import resolve_heads

    if config.corpus.empty == "zero":
        raise UsageError(
            "corpus.empty=zero, and nothing can be predicted from no text",
            expected="rows with a text each",
            fix="corpus.empty=drop    leaves out those without, and counts them",
        )
    with invocation.context(config.run) as context:
        bank, files, pooling = resolve_bank_and_encoder(
            context, config.bank, config.encoder, PoolingConfig()
        )
        bundle = read_bundle(config.bank) if is_path(config.bank) else None
        found = resolve_heads(
            context.store,
            bank,
            files,
            pooling,
            config.heads or (bundle.heads if bundle else ()),
            bank_name=name_of_bank(config.bank),
            probes=bundle.probes if bundle else {},
        ).reading_long(config.long, config)
        specs = of_corpus(found.specs, config.corpus)
        name = config.name or f"{_name_of_file(config.corpus.path)}@{name_of_bank(config.bank)}"
        if invocation.job is not None and invocation.job.shards:
            shards = worker_shards(config.corpus, invocation.job.folder)
            embed_step.make_shards(context, specs, shards, invocation.job.shards)
            return Planned(step=STEP, name=name)
        found.check_texts(paired=bool(config.corpus.column_pair))
        with open_corpus(config.corpus, _standard_input()) as corpus:
            units = embed_step.units(context, specs, corpus, name, ("embeddings", name))
            made = context.ensure_together([replace(unit, ref=None) for unit in units])
            return context.ensure_from(
                STEP,
                name,
                lambda: step.unit(
                    context,
                    [one.entry for one in made],
                    found.heads,
                    config.predict,
                    corpus.shards,
                    name,
                    bank,
                ),
            )


def export(config: ExportConfig, invocation: Invocation) -> Planned:
    """Put a bank and heads on it into one folder."""
    from prefixbank.steps.embed.source import resolve_bank_and_encoder
    from prefixbank.steps.export.source import Export
    from prefixbank.steps.predict.heads import resolve_heads

    with invocation.context(config.run) as context:
        bank, files, pooling = resolve_bank_and_encoder(
            context, config.bank, config.encoder, PoolingConfig()
        )
        if bank is None:
            raise UsageError(
                f"bank={config.bank} is an encoder",
                expected="the name or key of a bank of prefixes",
                fix="prefixbank cache ls combine    lists all banks",
            )
        given = name_of_bank(config.bank)
        found = (
            resolve_heads(context.store, bank, files, pooling, config.heads, bank_name=given)
            if config.heads
            else None
        )
        exported = Export(
            bank=bank,
            files=files,
            pooling=pooling,
            found=found,
            name=config.name or given,
            license=config.license,
        )
        return context.ensure(_export_unit(config, exported, context))


def _export_unit(config: ExportConfig, exported: Export, session: Session) -> Unit:
    match config.format:
        case "bundle":
            from prefixbank.steps.export import bundle

            return bundle.unit(exported)
        case "onnx":
            from prefixbank.steps.export.onnx import step as onnx

            return onnx.unit(exported, session, config.precision)
        case "peft":
            from prefixbank.steps.export.peft import step as peft

            return peft.unit(exported, session)
        case "sentence_transformers":
            from prefixbank.steps.export import sentence_transformers

            return sentence_transformers.unit(exported)
    assert_never(config.format)


def import_bundle(config: ImportConfig, invocation: Invocation) -> list[Row]:
    """Put a bank and its heads from a folder into the store, and return a row for each."""
    from prefixbank.artifacts.bundle import read_bundle

    if not config.path:
        raise UsageError(
            "no bundle given",
            expected="path=FOLDER, which `prefixbank export` wrote",
            fix="prefixbank import path=FOLDER",
        )
    return _import(read_bundle(config.path), config.name, invocation.context(config.run))


def _import(bundle: Bundle, name: str, context: Context, **origin: str) -> list[Row]:
    """Put what is in a bundle into the store, and return a row for each artifact."""
    from prefixbank.steps.export import bundle as step

    with context:
        units = step.units_of(context.store, bundle, name or bundle.name, origin)
        made = [context.ensure(unit).entry for unit in units]
        return [
            {"ref": "/".join(unit.ref or ()), "key": entry.key, "step": entry.step, **origin}
            for unit, entry in zip(units, made, strict=True)
        ]


def push(config: PushConfig, invocation: Invocation) -> list[Row]:
    """Copy a bundle to an address, and return a row that says where it is."""
    from prefixbank.artifacts.bundle import files_of, read_bundle
    from prefixbank.data.remote import upload

    example = "prefixbank push path=FOLDER address=hf://OWNER/NAME"
    if not (config.path and config.address):
        raise UsageError(
            "no bundle or no address given",
            expected="path=FOLDER, which `prefixbank export` wrote, and address=...",
            fix=example,
        )
    bundle = read_bundle(config.path)
    files = files_of(bundle)
    commit = upload(
        bundle.path, files, config.address, message=config.message, private=config.private
    )
    return [{"address": config.address, "commit": commit, "files": len(files)}]


def pull(config: PullConfig, invocation: Invocation) -> list[Row]:
    """Put a bank and its heads from an address into the store, and return a row for each."""
    from prefixbank.artifacts.bundle import BUNDLE, is_part, read_bundle
    from prefixbank.data.remote import download

    if not config.address:
        raise UsageError(
            "no address given",
            expected="address=..., which `prefixbank push` wrote to",
            fix="prefixbank pull address=hf://OWNER/NAME",
        )
    with TemporaryDirectory() as folder:
        commit = download(config.address, config.revision, is_part, BUNDLE, Path(folder))
        return _import(
            read_bundle(folder),
            config.name,
            invocation.context(config.run),
            address=config.address,
            commit=commit,
        )


def search(config: SearchConfig, invocation: Invocation) -> list[Row]:
    """Return a row for each nearest neighbour of the query texts, the nearest first.

    A row has no `text` if it is not known.
    """
    hits = [hit for of_query in find_hits(config, invocation) for hit in of_query]
    rows = [asdict(hit) for hit in hits]
    if all(row["text"] is None for row in rows):
        for row in rows:
            del row["text"]
    return rows


def find_hits(config: SearchConfig, invocation: Invocation) -> list[list[Hit]]:
    """Return the nearest neighbours of each query text, the nearest first."""
    from prefixbank.data.corpus.corpus import open_corpus
    from prefixbank.steps.search import Embeddings, check_queries, neighbours

    check_queries(config.queries, invocation.texts)
    with invocation.context(config.run) as context:
        embeddings = Embeddings.named(context, config.embeddings)
        texts = list(invocation.texts)
        if not texts:
            with open_corpus(config.queries, _standard_input()) as queries:
                _emit_notes(context, "search", "queries", queries.notes)
                texts = [text for shard in queries.shards() for text in shard.texts]
        return neighbours(embeddings, texts, config)


def cost(config: CostConfig, invocation: Invocation) -> list[Row]:
    """Return what each representation costs for one text, and for numbers of tasks on it."""
    from prefixbank.steps.cost import measure

    with invocation.context(config.run) as context:
        return measure(context, config)


def probe(config: ProbeCommandConfig, invocation: Invocation, task: Task | None = None) -> Planned:
    """Embed the texts of a target task, and fit and score a probe on the vectors.

    Args:
        config: settings of the command.
        invocation: where to run, and who listens.
        task: a task in memory, in place of `config.task`.
    """
    from prefixbank.steps.embed import step as embed_step
    from prefixbank.steps.embed.reuse import VectorReuse
    from prefixbank.steps.embed.source import resolve_bank_and_encoder
    from prefixbank.steps.embed.spec import chosen_blocks, specs_of
    from prefixbank.steps.probe import step
    from prefixbank.steps.probe.splits import pairs_for, splits_of
    from prefixbank.steps.probe.texts import probe_parts

    step.check_settings(config.probe)
    step.check_transform(config.probe, config)
    with invocation.context(config.run) as context:
        bank, files, pooling = resolve_bank_and_encoder(
            context, config.bank, config.encoder, config.pooling
        )
        step.check_choices(config.probe, pooling)
        target = _task(context, config.task, task)
        step.check_tasks(config.probe, target)
        _emit_notes(context, step.STEP, target.name, step.notes_on(config.probe, target))
        name = config.name or f"{target.name}@{name_of_bank(config.bank)}"
        recipe = recipe_of(config, EmbedRecipe, pairs=pairs_for(config.pairs, target))
        recipe = _scaled(recipe, bank, config.pooling, files)
        parts = probe_parts(target, splits_of(config.probe), recipe)
        new_reuse = partial(VectorReuse, context.store, force=context.force)
        specs = chosen_blocks(
            specs_of(bank, files, recipe, pooling, new_reuse if config.reuse else None),
            config.probe.blocks,
        )
        sought = [embed_step.Sought(spec=spec) for spec in specs]
        made = context.ensure_together(embed_step.units(context, sought, parts, name))
        planned = context.ensure_from(
            step.STEP,
            name,
            lambda: step.unit(
                step.Probed(
                    embeddings=tuple(one.entry for one in made),
                    bank=bank,
                    blocks=tuple(spec.block_name for spec in specs if bank != spec.bank),
                ),
                target,
                config.probe,
                name,
                ("probe", name),
                choose_reading=config.pairs == "best",
            ),
        )
        return replace(planned, report=partial(_report_on_probe, planned, target))


def _report_on_probe(planned: Planned, task: Task, out: Path) -> None:
    """Write what a probe gets right and wrong into a folder."""
    from prefixbank.reports.probe import write_probe_report

    write_probe_report(out, planned.entry, task)


def run_experiment(config: RunExperimentConfig, invocation: Invocation) -> Planned:
    """Run a whole experiment and return its report."""
    from prefixbank.steps.probe import step as probe_step
    from prefixbank.studies import experiment
    from prefixbank.studies.graph import probe_pooling

    probe_step.check_settings(config.probe)
    with invocation.context(config.run) as context:
        _, config = _with_encoder(context, config)
        probe_step.check_choices(config.probe, probe_pooling(config))
        return experiment.run_experiment(context, experiment_of(config, invocation))


def transfer_similar(config: TransferSimilarConfig, invocation: Invocation) -> list[Row]:
    """Return a row for each source prefix, those most similar to the task first."""
    from prefixbank.transfer.sources import Target, find_sources, ranked
    from prefixbank.transfer.task_embeddings import Comparison

    with invocation.context(config.run) as context:
        files, config = _with_encoder(context, config)
        task = context.task(config.task)
        target = Target(task=task, files=files, recipe=recipe_of(config, PrefixRecipe))
        sources = find_sources(context, target, config.sources, config.compare)
        embedding = target.embedding(context)
        comparison = Comparison(similarity=config.similarity, compare=config.compare)
        return ranked(embedding.entry, sources, comparison)


def transfer_retrieve(config: TransferRetrieveConfig, invocation: Invocation) -> Planned:
    """Train a task's prefix from the sources that are most similar to it."""
    from prefixbank.transfer.retrieve import retrieve

    with invocation.context(config.run) as context:
        return retrieve(context, _with_encoder(context, config)[1])


def transfer_combine(config: TransferCombineConfig, invocation: Invocation) -> Planned:
    """Combine the prefixes that are most similar to a task into a bank."""
    from prefixbank.transfer.select import combine_similar

    with invocation.context(config.run) as context:
        return combine_similar(context, _with_encoder(context, config)[1])


def transfer_map(config: TransferMapConfig, invocation: Invocation) -> Planned:
    """Train each target from each source and from a cold start, and return the report."""
    from prefixbank.studies.transfer_map import run_map

    with invocation.context(config.run) as context:
        _, config = _with_encoder(context, config)
        return run_map(context, experiment_of(config, invocation))


def experiment_of(config: RunExperimentConfig, invocation: Invocation) -> Experiment:
    """Return an experiment, with what depends on where the command runs."""
    from prefixbank.config.compose import override_recipe, vary_experiment
    from prefixbank.studies.graph import Experiment

    find_task = _task_finder(config.run, invocation)
    return Experiment(
        config=config, find_task=find_task, change=override_recipe, vary=vary_experiment
    )


def _scaled(
    recipe: EmbedRecipe, bank: Entry | None, pooling: PoolingConfig, files: EncoderFiles
) -> EmbedRecipe:
    """Return a recipe that scales vectors of the plain encoder if its own folder says so."""
    from prefixbank.data.encoders.auto_pooling import scales_vectors

    if bank is None and scales_vectors(pooling, files):
        return replace(recipe, normalize=True)
    return recipe


def _with_encoder(context: Context, config: C) -> tuple[EncoderFiles, C]:
    """Return the encoder of a command, and its settings with the pooling that the encoder says."""
    from prefixbank.data.encoders.auto_pooling import encoder_pooling

    files = context.encoder_files(config.encoder)
    return files, replace(config, pooling=encoder_pooling(config.pooling, files))


def _task_finder(run: RunConfig, invocation: Invocation) -> Callable[[str], TaskConfig]:
    """Return a function that finds a task by its name.

    It is the task folder in `run.data_root`, or without one the YAML file of that name.
    """
    from prefixbank.config.compose import compose_task

    def find_task(name: str) -> TaskConfig:
        if run.data_root:
            return TaskConfig(name=name, source="folder")
        return compose_task(name, conf_dir=invocation.conf_dir)

    return find_task


def _task(context: Context, config: TaskConfig, given: Task | None) -> Task:
    """Return the task in memory if one is given, else load the one that the settings describe."""
    if given is None:
        return context.task(config)
    _emit_notes(context, "task", given.name, given.notes)
    return given


def _emit_notes(context: Context, step: str, name: str, notes: Sequence[str]) -> None:
    from prefixbank.runtime.events import Event

    for note in notes:
        context.emit(Event(kind="note", step=step, name=name, text=note))


def _mixture(context: Context, config: TrainPrefixConfig, invocation: Invocation) -> Mixture:
    """Load the tasks of a mixture."""
    from prefixbank.steps.train_prefix.mixture import Mixture

    tasks = tasks_of(config.task, _task_finder(config.run, invocation))
    return Mixture(tasks=tuple(context.task(task) for task in tasks), size_cap=config.task.size_cap)


def _standard_input() -> BinaryIO:
    """Return the bytes of standard input, or none where there is no standard input."""
    return getattr(sys.stdin, "buffer", None) or io.BytesIO()


def _name_of_file(path: str) -> str:
    """Return a corpus file's name as part of a ref: `my reviews.csv` is `my-reviews`.

    Standard input is `stdin`.
    """
    from prefixbank.data.file_format import stem_of

    return as_name(stem_of(path), empty="stdin")


def name_of_bank(bank: str) -> str:
    """Return a bank's name as part of a ref: `bank/demo` is `demo`, `none` is `plain`."""
    from prefixbank.artifacts.bundle import is_path, read_bundle
    from prefixbank.steps.embed.source import PLAIN

    if is_path(bank):
        return read_bundle(bank).name
    return bank.removeprefix("bank/").replace("/", "-") if bank != PLAIN else "plain"
