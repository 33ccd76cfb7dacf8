"""The graph of an experiment: prefixes, banks, embeddings, probes, report, each a unit that the store may have already."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from prefixbank.config.commands import RunExperimentConfig
from prefixbank.config.schema import BankRecipe, EmbedRecipe, OptimConfig, PrefixRecipe, TaskConfig
from prefixbank.data.encoder_files import EncoderFiles
from prefixbank.data.tasks import Task
from prefixbank.errors import UsageError
from prefixbank.steps import combine, embed, probe, report, train_prefix
from prefixbank.steps.context import Context
from prefixbank.steps.events import Event
from prefixbank.steps.units import Waiting
from prefixbank.store.artifact import Entry

PLAIN, BANK, RANDOM = "plain encoder", "bank", "random prefixes"
RANDOM_SEEDS = 1_000_003
"""Distance between the seeds of two untrained prefixes, so that each starts elsewhere."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """An experiment and what only the caller can look up.

    Args:
        config: the composed configuration.
        find_task: task name to its configuration.
        recipe_for: source task name to its recipe, changes for this one included.
    """

    config: RunExperimentConfig
    find_task: Callable[[str], TaskConfig]
    recipe_for: Callable[[str], PrefixRecipe]


def run_experiment(context: Context, experiment: Experiment) -> Entry | Waiting:
    """Plan the graph, say how much of it is there, then make the rest; return the report.

    Raises:
        UsageError: nothing to train or to probe, a task named twice, or a source among the targets.
    """
    check_experiment(experiment)
    context.encoder_files(experiment.config.encoder)  # before the plan, which may make nothing
    planned: list[Event] = []
    outcome = _graph(context.planning(planned.append), experiment)
    units = [event for event in planned if event.kind in ("hit", "miss", "waits")]
    hits = sum(event.kind == "hit" for event in units)
    context.emit(
        Event(
            kind="note",
            step="run",
            name=experiment.config.experiment.name,
            text=f"{len(units)} units: {hits} hits, {len(units) - hits} to run",
        )
    )
    if context.dry_run:
        for event in units:
            context.emit(event)
        return outcome
    return _graph(context, experiment)


def check_experiment(experiment: Experiment) -> None:
    """Refuse an experiment that means nothing."""
    asked = experiment.config.experiment
    if not asked.sources or not asked.targets or not asked.seeds:
        raise UsageError(
            "an experiment without sources, targets or seeds",
            expected="one or more of each",
            fix="'experiment.sources=[polarity,topic]' 'experiment.targets=[emotion]'",
        )
    for what, names in (("sources", asked.sources), ("targets", asked.targets), ("seeds", asked.seeds)):
        twice = sorted({str(name) for name in names if names.count(name) > 1})
        if twice:
            raise UsageError(
                f"experiment.{what} names {', '.join(twice)} twice", expected="each once", fix=f"drop one from experiment.{what}"
            )
    both = sorted(set(asked.sources) & set(asked.targets))
    if both:
        raise UsageError(
            f"{', '.join(both)} among both sources and targets",
            expected="targets that no prefix has seen",
            fix="drop it from experiment.sources or from experiment.targets",
        )


def _graph(context: Context, experiment: Experiment) -> Entry | Waiting:
    """Go through all units in order; a planning context makes none of them."""
    config = experiment.config
    asked = config.experiment
    files = context.encoder_files(config.encoder)
    sources = {name: context.task(experiment.find_task(name)) for name in asked.sources}
    targets = {name: context.task(experiment.find_task(name)) for name in asked.targets}
    banks: dict[str, dict[int, Entry | Waiting | None]] = {PLAIN: dict.fromkeys(asked.seeds[:1]), BANK: {}}
    for seed in asked.seeds:
        banks[BANK][seed] = _bank(context, experiment, files, sources, seed)
    if "random" in asked.representations:
        banks[RANDOM] = {seed: _random_bank(context, experiment, files, sources, seed) for seed in asked.seeds}
    probes = {
        target: {
            column: {seed: _probe(context, config, files, task, bank, column) for seed, bank in of_seed.items()}
            for column, of_seed in banks.items()
        }
        for target, task in targets.items()
    }
    return _report(context, experiment, files, targets, probes)


def _bank(context: Context, experiment: Experiment, files: EncoderFiles, sources: Mapping[str, Task], seed: int) -> Entry | Waiting:
    """Train one prefix for each source and combine them."""
    suffix = "" if len(experiment.config.experiment.seeds) == 1 else f"-seed{seed}"
    names = {source: f"{source}{suffix}" for source in sources}
    prefixes = [
        context.do(train_prefix.unit(context, task, files, replace(experiment.recipe_for(source), seed=seed), names[source]))
        for source, task in sources.items()
    ]
    refs = [f"prefix/{name}" for name in names.values()]
    return _combine(context, experiment.config, prefixes, f"{experiment.config.experiment.name}{suffix}", refs)


def _random_bank(context: Context, experiment: Experiment, files: EncoderFiles, sources: Mapping[str, Task], seed: int) -> Entry | Waiting:
    """Combine untrained prefixes of the same shapes, each from another start."""
    prefixes = []
    for place, (source, task) in enumerate(sources.items()):
        recipe = experiment.recipe_for(source)
        untrained = replace(recipe, optim=OptimConfig(epochs=0), seed=seed + RANDOM_SEEDS * (place + 1))
        unit = train_prefix.unit(context, task, files, untrained, f"{source}-random-seed{seed}")
        prefixes.append(context.do(replace(unit, ref=None)))
    return _combine(context, experiment.config, prefixes, f"{experiment.config.experiment.name}-random-seed{seed}", ())


def _combine(
    context: Context, config: RunExperimentConfig, prefixes: list[Entry | Waiting], name: str, refs: list[str] | tuple[()]
) -> Entry | Waiting:
    """Combine prefixes, or wait for the first that is still to be made. Only banks whose prefixes have refs get one."""
    for prefix in prefixes:
        if isinstance(prefix, Waiting):
            return context.waits(combine.STEP, name, prefix)
    made = [prefix for prefix in prefixes if isinstance(prefix, Entry)]
    unit = combine.unit(context.store, made, BankRecipe(combine=config.combine, pooling=config.pooling), name, refs)
    return context.do(unit if refs else replace(unit, ref=None))


def _probe(
    context: Context, config: RunExperimentConfig, files: EncoderFiles, task: Task, bank: Entry | Waiting | None, column: str
) -> Entry | Waiting:
    """Embed a target task's texts with a bank and probe the vectors."""
    name = f"{task.name} {column}"
    if isinstance(bank, Waiting):
        embeddings: Entry | Waiting = context.waits(embed.STEP, name, bank)
    else:
        recipe = EmbedRecipe(max_length_tokens=config.max_length_tokens)
        embeddings = context.do(embed.unit(context, bank, files, embed.parts_of_task(task), recipe, config.pooling, name))
    if isinstance(embeddings, Waiting):
        return context.waits(probe.STEP, name, embeddings)
    return context.do(probe.unit(embeddings, task, config.probe, name))


def _report(
    context: Context,
    experiment: Experiment,
    files: EncoderFiles,
    targets: Mapping[str, Task],
    probes: Mapping[str, Mapping[str, Mapping[int, Entry | Waiting]]],
) -> Entry | Waiting:
    """Join all probes in one table."""
    asked = experiment.config.experiment
    entries: dict[str, dict[str, list[Entry]]] = {}
    for target, columns in probes.items():
        for column, of_seed in columns.items():
            for made in of_seed.values():
                if isinstance(made, Waiting):
                    return context.waits(report.STEP, asked.name, made)
                entries.setdefault(target, {}).setdefault(column, []).append(made)
    facts = report.Facts(experiment=asked.name, encoder=files.label, sources=asked.sources, seeds=asked.seeds)
    return context.do(report.unit(facts, entries, resamples=experiment.config.probe.resamples))
