"""The commands as Python functions. The command line parses, calls one of these, and prints.

import prefixbank
prefixbank.train_prefix("task=polarity", "prefix.length=8")
prefixbank.combine("prefixes=[polarity]", "name=demo")
vectors = prefixbank.load_bank("demo").embed(["a text"])  # float32 [N, F]
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from prefixbank.artifacts.embeddings import STEP as EMBED_STEP
from prefixbank.artifacts.encoder import encoder_of, is_encoder
from prefixbank.config.commands import RunExperimentConfig, TrainPrefixConfig
from prefixbank.config.compose import compose, compose_task, override_recipe
from prefixbank.config.mixture import find_tasks, tasks_of
from prefixbank.config.running import RunConfig
from prefixbank.config.schema import (
    EmbedRecipe,
    EncoderConfig,
    MultitaskRecipe,
    PrefixRecipe,
    TaskConfig,
    recipe_of,
)
from prefixbank.data.tasks.task import Task
from prefixbank.env import store_root
from prefixbank.runtime.context import Context
from prefixbank.runtime.events import Emit, Event, silent
from prefixbank.runtime.jobs import Job, event_collector, run_job
from prefixbank.runtime.unit import Planned, Unit
from prefixbank.runtime.worker import worker_context, worker_shards, working_folder
from prefixbank.runtime.workers import WorkerPool
from prefixbank.steps import combine as combine_step
from prefixbank.steps.embed import step as embed_step
from prefixbank.steps.embed.loaded_bank import LoadedBank
from prefixbank.steps.embed.reading import EmbeddingSpec
from prefixbank.steps.embed.source import PLAIN, resolve_bank, resolve_bank_and_encoder
from prefixbank.steps.probe import step as probe_step
from prefixbank.steps.probe.make import splits_of
from prefixbank.steps.train_multitask import step as train_multitask_step
from prefixbank.steps.train_prefix import step as train_prefix_step
from prefixbank.steps.train_prefix.mixture import Mixture
from prefixbank.store.key import JSON
from prefixbank.store.store import Store
from prefixbank.studies.experiment import Experiment, run_experiment
from prefixbank.transfer import select as selection


@dataclass(frozen=True, kw_only=True)
class Options:
    """What goes beside the `KEY=VALUE` settings of a command.

    Args:
        store: folder of the store; None asks PREFIXBANK_STORE, then the platform.
        conf_dir: a folder of further YAML files.
        dry_run: plan only.
        force: make again what the store has.
        emit: gets every event.
        job: the share of the command that this process makes, as a worker; None: it makes all, or
            has workers make it.
    """

    store: str | Path | None = None
    conf_dir: Path | None = None
    dry_run: bool = False
    force: bool = False
    emit: Emit = silent
    job: Job | None = None

    def context(self, run: RunConfig, command: str = "", overrides: Sequence[str] = ()) -> Context:
        """Return what the steps of one command share.

        Args:
            run: how to run.
            command: name of the API function, if workers may make its units.
            overrides: its settings.
        """
        if self.job is not None:
            return worker_context(self.job, run, self.emit)
        workers = (
            WorkerPool(self.whole(command, overrides), run, work)
            if command and not self.dry_run
            else None
        )
        store = Store(store_root(self.store))
        return Context(
            store, run, emit=self.emit, dry_run=self.dry_run, force=self.force, workers=workers
        )

    def whole(self, command: str, overrides: Sequence[str]) -> Job:
        """Return a whole command as a job for workers."""
        conf_dir = str(self.conf_dir.absolute()) if self.conf_dir else ""
        return Job(
            command=command,
            overrides=tuple(overrides),
            store=str(store_root(self.store)),
            folder=str(Path.cwd()),
            conf_dir=conf_dir,
            force=self.force,
        )


DEFAULT = Options()


def train_prefix(*overrides: str, options: Options = DEFAULT) -> Planned:
    """Train a prefix on one source task or several; `prefixbank train-prefix`.

    The artifact is not made only after a dry run that was no hit.
    """
    config = compose("train_prefix", overrides, conf_dir=options.conf_dir)
    with options.context(config.run, "train_prefix", overrides) as context:
        task, files = _source(context, config, options), context.encoder_files(config.encoder)
        return context.ensure(
            train_prefix_step.unit(
                context, task, files, recipe_of(config, PrefixRecipe), config.name
            )
        )


def train_multitask(*overrides: str, options: Options = DEFAULT) -> Planned:
    """Fine-tune the encoder on several tasks together; `prefixbank train-multitask`."""
    config = compose("train_multitask", overrides, conf_dir=options.conf_dir)
    train_multitask_step.check_tasks(config.tasks)
    with options.context(config.run, "train_multitask", overrides) as context:
        tasks = [
            context.task(task)
            for task in find_tasks(config.tasks, _task_finder(config.run, options))
        ]
        files = context.encoder_files(config.encoder)
        return context.ensure(
            train_multitask_step.unit(
                context, tasks, files, recipe_of(config, MultitaskRecipe), config.name
            )
        )


def combine(*overrides: str, options: Options = DEFAULT) -> Planned:
    """Combine prefixes into a bank; `prefixbank combine`."""
    config = compose("combine", overrides, conf_dir=options.conf_dir)
    selection.check(config)
    with options.context(config.run) as context:
        name = config.name or f"{context.task(config.task).name}-similar"

        def build() -> Unit:
            members = selection.members_of(context, config)
            return combine_step.unit(members.prefixes, members.recipe, members.name, members.refs)

        return context.ensure_from(combine_step.STEP, name, build)


def embed(*overrides: str, options: Options = DEFAULT) -> Planned:
    """Embed a corpus; `prefixbank embed`."""
    from prefixbank.data.corpus.corpus import open_corpus
    from prefixbank.steps.embed import corpus as embed_corpus
    from prefixbank.steps.embed.reuse import VectorReuse

    config = compose("embed", overrides, conf_dir=options.conf_dir)
    with options.context(config.run, "embed", overrides) as context:
        bank, files, pooling = resolve_bank_and_encoder(context, config)
        name = config.name or f"{_name_of(config.corpus.path)}@{_short(config.bank)}"
        reuse = VectorReuse(context.store, force=context.force) if config.reuse else None
        reading = EmbeddingSpec(
            bank=bank,
            files=files,
            recipe=recipe_of(config, EmbedRecipe),
            pooling=pooling,
            reuse=reuse,
        )
        if options.job is not None and options.job.shards:
            embed_corpus.make_shards(
                context,
                reading,
                worker_shards(config.corpus, options.job.folder),
                options.job.shards,
            )
            return Planned(step=EMBED_STEP, name=name)
        with open_corpus(
            config.corpus, getattr(sys.stdin, "buffer", None) or io.BytesIO()
        ) as corpus:
            return context.ensure(
                embed_corpus.unit(context, reading, corpus, name, ("embeddings", name))
            )


def probe(*overrides: str, options: Options = DEFAULT) -> Planned:
    """Embed a target task's texts and probe the vectors; `prefixbank probe`."""
    config = compose("probe", overrides, conf_dir=options.conf_dir)
    probe_step.check_settings(config.probe)
    with options.context(config.run, "probe", overrides) as context:
        bank, files, pooling = resolve_bank_and_encoder(context, config)
        probe_step.check_layers(config.probe, pooling.layers)
        task = context.task(config.task)
        name = config.name or f"{task.name}@{_short(config.bank)}"
        parts = embed_step.parts_of_task(task, splits_of(config.probe))
        reading = EmbeddingSpec(
            bank=bank, files=files, recipe=recipe_of(config, EmbedRecipe), pooling=pooling
        )
        embeddings = context.ensure(embed_step.unit(context, reading, parts, name))
        return context.ensure_from(
            probe_step.STEP,
            name,
            lambda: probe_step.unit(embeddings.entry, task, config.probe, name, ("probe", name)),
        )


def search(*overrides: str, options: Options = DEFAULT) -> list[dict[str, object]]:
    """Find the nearest neighbours of texts in embeddings; `prefixbank search`.

    Returns a row for each neighbour, nearest first.
    """
    from prefixbank.data.corpus.corpus import open_corpus
    from prefixbank.steps.search import Embeddings, check_queries, neighbours

    config = compose("search", overrides, conf_dir=options.conf_dir)
    check_queries(config.queries)
    embeddings = Embeddings.named(options.context(config.run), config.embeddings)
    with open_corpus(config.queries, getattr(sys.stdin, "buffer", None) or io.BytesIO()) as queries:
        texts = [text for shard in queries.shards() for text in shard.texts]
    return neighbours(embeddings, texts, config)


def transfer_similar(*overrides: str, options: Options = DEFAULT) -> list[dict[str, object]]:
    """Rank source prefixes by their similarity to a task; `prefixbank transfer similar`.

    Returns a row for each, the nearest first.
    """
    from prefixbank.transfer.sources import Target, find_sources, ranked
    from prefixbank.transfer.task_embeddings import Comparison

    config = compose("transfer_similar", overrides, conf_dir=options.conf_dir)
    with options.context(config.run) as context:
        task, files = context.task(config.task), context.encoder_files(config.encoder)
        target = Target(task=task, files=files, recipe=recipe_of(config, PrefixRecipe))
        sources = find_sources(context, target, config.sources, config.compare)
        own = target.embedding(context)
        comparison = Comparison(similarity=config.similarity, compare=config.compare)
        return ranked(own.entry, sources, comparison)


def transfer_map(*overrides: str, options: Options = DEFAULT) -> Planned:
    """Train each target from each source and from a cold start; `prefixbank transfer map`.

    Returns the report.
    """
    from prefixbank.studies.transfer_map import run_map

    config = compose("transfer_map", overrides, conf_dir=options.conf_dir)
    with options.context(config.run, "transfer_map", overrides) as context:
        return run_map(context, _experiment(config, options))


def transfer_retrieve(*overrides: str, options: Options = DEFAULT) -> Planned:
    """Train a task from the sources that are most similar to it; `prefixbank transfer retrieve`.

    Returns the task's prefix.
    """
    from prefixbank.transfer.retrieve import retrieve

    config = compose("transfer_retrieve", overrides, conf_dir=options.conf_dir)
    with options.context(config.run, "transfer_retrieve", overrides) as context:
        return retrieve(context, config)


def run(*overrides: str, options: Options = DEFAULT) -> Planned:
    """Run a whole experiment; `prefixbank run`. Returns the report."""
    config = compose("run", overrides, conf_dir=options.conf_dir)
    probe_step.check_settings(config.probe)
    probe_step.check_layers(
        config.probe,
        "concat_last" if config.experiment.probe_last_layers else config.pooling.layers,
    )
    with options.context(config.run, "run", overrides) as context:
        return run_experiment(context, _experiment(config, options))


def _experiment(config: RunExperimentConfig, options: Options) -> Experiment:
    return Experiment(
        config=config, find_task=_task_finder(config.run, options), change=override_recipe
    )


def work(job: JSON) -> JSON:
    """Do a share of a command in this process and return what came of it; what workers run.

    See `steps.jobs`.
    """
    share = Job.from_json(job)
    heard: list[Event] = []
    conf_dir = Path(share.conf_dir) if share.conf_dir else None
    options = Options(
        store=share.store,
        conf_dir=conf_dir,
        force=share.force,
        emit=event_collector(heard),
        job=share,
    )
    shared = (train_prefix, train_multitask, embed, probe, run, transfer_map, transfer_retrieve)
    command = {one.__name__: one for one in shared}[share.command]

    def make() -> None:
        with working_folder(share):
            command(*share.overrides, options=options)

    return run_job(make, heard)


def _task_finder(run: RunConfig, options: Options) -> Callable[[str], TaskConfig]:
    """Return what finds a task by its name.

    The task folder below `run.data_root`, or without one the YAML file of that name.
    """

    def find_task(name: str) -> TaskConfig:
        if run.data_root:
            return TaskConfig(name=name, source="folder")
        return compose_task(name, conf_dir=options.conf_dir)

    return find_task


def _source(context: Context, config: TrainPrefixConfig, options: Options) -> Task | Mixture:
    """Load what a prefix is to be trained on."""
    if not config.task.mixture:
        return context.task(config.task)
    tasks = tasks_of(config.task, _task_finder(config.run, options))
    return Mixture(tasks=tuple(context.task(task) for task in tasks), size_cap=config.task.size_cap)


def load_bank(
    name: str,
    *,
    options: Options = DEFAULT,
    run: RunConfig | None = None,
    recipe: EmbedRecipe | None = None,
) -> LoadedBank:
    """Load a bank by name, ref or key, with the encoder that it was made with.

    Or a multi-task encoder as `multitask/NAME` or by key.
    """
    context = options.context(run or RunConfig())
    entry = resolve_bank(context.store, name)
    own = EncoderConfig(source="bank")
    files = encoder_of(entry) if is_encoder(entry) else context.encoder_of_bank(entry, own)
    return LoadedBank(context, entry, files, recipe or EmbedRecipe())


def _name_of(path: str) -> str:
    """Return a corpus file's name as it can stand in a ref.

    `my reviews.csv` is `my-reviews`, standard input is `stdin`.
    """
    return re.sub(r"[^A-Za-z0-9._@-]+", "-", Path(path).stem).lstrip(".@-") or "stdin"


def _short(bank: str) -> str:
    """Return a bank's name as it can stand in another name."""
    return bank.removeprefix("bank/").replace("/", "-") if bank != PLAIN else "plain"
