"""Plan and run an experiment, up to its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from prefixbank.reports import step as report
from prefixbank.reports.study import ReportColumn, Study, UpdateCost
from prefixbank.runtime.context import Context
from prefixbank.runtime.unit import Planned, Unit
from prefixbank.runtime.waves import plan_and_run
from prefixbank.steps import combine
from prefixbank.steps.probe.step import check_tasks
from prefixbank.store.artifact import Entry
from prefixbank.studies.checks import check_experiment, has_update
from prefixbank.studies.graph import Experiment, Graph
from prefixbank.studies.protocol import study_facts
from prefixbank.studies.representations import (
    TITLES,
    WITHOUT_PREFIXES,
    Compared,
    compared,
    multitask,
    representation_in,
    seeds_of,
    single,
    whole_bank,
    without,
)
from prefixbank.studies.update import rows, update_changes

__all__ = ["Experiment", "run_experiment"]

Cells = dict[str, dict[str, dict[int, Planned]]]
"""Target to column to seed to probe."""

EntryCells = dict[str, dict[str, dict[int, Entry]]]
"""The same with artifacts."""


def run_experiment(context: Context, experiment: Experiment) -> Planned:
    """Plan and run an experiment; return its report.

    Raises:
        UsageError: the experiment has faults, see `check_experiment`, or the probes have settings
            that do not fit a target.
    """
    settings = experiment.config.experiment
    _check(experiment)
    for name, variant in settings.variants.items():
        varied = experiment.variant(name)
        alone = replace(
            varied.config.experiment,
            representations=(representation_in(variant),),
            variants={},
            single_seed=(),
        )
        _check(replace(varied, config=replace(varied.config, experiment=alone)))
    graph = Graph(context=context, experiment=experiment)
    for one in compared(graph):
        check_tasks(one.graph.config.probe, *(graph.target(name) for name in settings.targets))
    context.encoder_files(experiment.config.encoder)  # a plan does not make the tiny encoder
    return plan_and_run(context, settings.name, lambda context: _study(context, experiment))


def _check(experiment: Experiment) -> None:
    """Raise the faults of an experiment's settings, see `check_experiment`."""
    settings = experiment.config.experiment
    trained = [name for name in (*settings.sources, settings.update.add) if name]
    check_experiment(
        settings,
        combine.rule_for(experiment.config.combine.rule, experiment.config.prefix.kind),
        [experiment.recipe_for(name).prefix.init for name in trained],
        experiment.config.pooling,
        [experiment.recipe_for(name).pooling for name in trained],
    )


def _study(context: Context, experiment: Experiment) -> Planned:
    """Plan or run all units in order; return the report."""
    graph = Graph(context=context, experiment=experiment)
    settings = experiment.config.experiment
    columns = compared(graph)
    trained = _trained(graph)
    probes: Cells = {
        target: {
            column.title: {
                seed: column.graph.probe(
                    target,
                    column.vectors(target, seed),
                    column.graph.named(TITLES[column.of], seed),
                )
                for seed in column.seeds
            }
            for column in columns
        }
        for target in settings.targets
    }
    singles = _of_each_source(graph, "single") if "single" in settings.representations else {}
    rest = (
        _of_each_source(graph, "leave_one_out")
        if "leave_one_out" in settings.representations
        else {}
    )
    costs = _costs(columns) if settings.cost_tokens and settings.targets else {}
    changes = update_changes(graph) if has_update(settings) else []

    def build() -> Unit:
        study = Study(
            curves=_entries({"": trained})[""],
            probes=_entries(probes),
            singles=_entries(singles),
            without=_entries(rest),
            update=[UpdateCost(**row) for row in rows(changes)],
            facts=study_facts(graph),
            columns={
                column.title: ReportColumn(
                    title=column.title,
                    passes=column.passes,
                    trained=column.of != "plain",
                    shared=column.is_shared,
                )
                for column in columns
            },
            costs={title: planned.entry for title, planned in costs.items()},
            baselines=tuple(
                TITLES[name] for name in ("plain", "multitask") if name in settings.representations
            )
            or tuple(column.title for column in columns[:1]),
            bank=TITLES[whole_bank(settings, graph.rule) or "bank"],
        )
        return report.unit(study, bootstrap_samples=experiment.config.probe.bootstrap_samples)

    return graph.ensure_from(report.STEP, settings.name, build)


def _costs(columns: Sequence[Compared]) -> dict[str, Planned]:
    """Count the operations of each column for one text, by title.

    The first target and seed stand for all, whose encoders have the same sizes.
    """
    settings = columns[0].graph.config.experiment
    return {
        column.title: column.graph.text_cost(
            column.vectors(settings.targets[0], column.seeds[0]), column.title
        )
        for column in columns
    }


def _trained(graph: Graph) -> dict[str, dict[int, Planned]]:
    """Return the training runs that the report draws learning curves of.

    These are the prefixes and the multi-task encoders that the representations need.
    """
    settings = graph.config.experiment
    trained: dict[str, dict[int, Planned]] = {}
    if has_update(settings) or set(settings.representations) - WITHOUT_PREFIXES:
        trained = {
            source: {seed: graph.prefix(source, seed) for seed in settings.seeds}
            for source in settings.sources
        }
    if "multitask" in settings.representations:
        trained[TITLES["multitask"]] = {
            seed: multitask(graph, seed) for seed in seeds_of(graph, "multitask")
        }
    return trained


def _of_each_source(graph: Graph, representation: Literal["single", "leave_one_out"]) -> Cells:
    """Probe each target on the bank of each source alone, or of all others."""
    of_one, word = (single, "only") if representation == "single" else (without, "without")
    return {
        target: {
            source: {
                seed: graph.probe(
                    target,
                    of_one(graph, source, target, seed),
                    graph.named(f"{word} {source}", seed),
                )
                for seed in seeds_of(graph, representation)
            }
            for source in graph.config.experiment.sources
        }
        for target in graph.config.experiment.targets
    }


def _entries(cells: Mapping[str, Mapping[str, Mapping[int, Planned]]]) -> EntryCells:
    """Return the artifacts of cells; raises `NotMade` if one does not exist."""
    return {
        target: {
            column: {seed: planned.entry for seed, planned in seeds.items()}
            for column, seeds in columns.items()
        }
        for target, columns in cells.items()
    }
