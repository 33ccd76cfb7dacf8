"""An experiment from its plan to its report."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Literal

from prefixbank.reports import step as report
from prefixbank.reports.study import ReportColumn, Study, UpdateCost
from prefixbank.runtime.context import Context
from prefixbank.runtime.unit import Waiting
from prefixbank.runtime.waves import run_walk
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON
from prefixbank.studies.checks import check_experiment, has_update
from prefixbank.studies.graph import Experiment, Graph, Outcome
from prefixbank.studies.protocol import study_facts
from prefixbank.studies.representations import (
    TITLES,
    WITHOUT_PREFIXES,
    multitask,
    passes,
    seeds_of,
    single,
    vectors,
    whole_bank,
    without,
)
from prefixbank.studies.update import update_rows

__all__ = ["Experiment", "run_experiment"]

Cells = dict[str, dict[str, dict[int, Outcome]]]
"""Target task to column to seed to probe."""


def run_experiment(context: Context, experiment: Experiment) -> Entry | Waiting:
    """Plan the graph, say how much of it is there, then make the rest; return the report.

    A worker makes its share.

    Raises:
        UsageError: the experiment means nothing; see `check_experiment`.
    """
    asked = experiment.config.experiment
    trained = [name for name in (*asked.sources, asked.update.add) if name]
    check_experiment(
        asked,
        experiment.config.combine.rule,
        [experiment.recipe_for(name).prefix.init for name in trained],
    )
    context.encoder_files(experiment.config.encoder)  # before the plan, which may make nothing
    return run_walk(context, asked.name, lambda walking: _study(walking, experiment))


def _study(context: Context, experiment: Experiment) -> Outcome:
    """Go through all units in order; a planning context makes none of them."""
    graph = Graph(context=context, experiment=experiment)
    asked = experiment.config.experiment
    columns = [column for name in asked.representations for column in TITLES if column == name]
    trained = _trained(graph)
    probes: Cells = {
        target: {
            TITLES[column]: {
                seed: graph.probe(
                    target, vectors(graph, column, target, seed), graph.named(TITLES[column], seed)
                )
                for seed in seeds_of(graph, column)
            }
            for column in columns
        }
        for target in asked.targets
    }
    singles = _of_each_source(graph, "single") if "single" in asked.representations else {}
    rest = (
        _of_each_source(graph, "leave_one_out") if "leave_one_out" in asked.representations else {}
    )
    updates = update_rows(graph) if has_update(asked) else []
    waiting = _first_waiting([{"": trained}, probes, singles, rest], updates)
    if waiting is not None:
        return graph.waits(report.STEP, asked.name, waiting)
    study = Study(
        facts=study_facts(graph),
        columns={
            TITLES[column]: ReportColumn(
                title=TITLES[column], passes=passes(column, len(asked.sources))
            )
            for column in columns
        },
        probes=_made(probes),
        baselines=tuple(
            TITLES[column]
            for column in [name for name in ("plain", "multitask") if name in columns]
            or columns[:1]
        ),
        singles=_made(singles),
        without=_made(rest),
        bank=TITLES[whole_bank(asked, graph.config.combine.rule) or "bank"],
        curves=_made({"": trained})[""],
        update=[UpdateCost(**row) for row in updates if not isinstance(row, Waiting)],
    )
    return graph.ensure(
        report.unit(study, bootstrap_samples=experiment.config.probe.bootstrap_samples)
    )


def _trained(graph: Graph) -> dict[str, dict[int, Outcome]]:
    """Return what learning curves are drawn of.

    The prefixes and the multi-task encoder, where something that is compared needs them.
    """
    asked = graph.config.experiment
    trained: dict[str, dict[int, Outcome]] = {}
    if has_update(asked) or set(asked.representations) - WITHOUT_PREFIXES:
        trained = {
            source: {seed: graph.prefix(source, seed) for seed in asked.seeds}
            for source in asked.sources
        }
    if "multitask" in asked.representations:
        trained[TITLES["multitask"]] = {
            seed: multitask(graph, seed) for seed in seeds_of(graph, "multitask")
        }
    return trained


def _of_each_source(graph: Graph, representation: Literal["single", "leave_one_out"]) -> Cells:
    """Return target to source to seed to the probe on the bank of that source, or of all others."""
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


def _first_waiting(several: Iterable[Cells], updates: Iterable[JSON | Waiting]) -> Waiting | None:
    """Return the first of all outcomes that a plan could not make."""
    outcomes = (
        outcome
        for cells in several
        for columns in cells.values()
        for seeds in columns.values()
        for outcome in seeds.values()
    )
    return next(
        (outcome for outcome in chain(outcomes, updates) if isinstance(outcome, Waiting)), None
    )


def _made(cells: Cells) -> dict[str, dict[str, dict[int, Entry]]]:
    """Return the same cells where none waits."""
    return {
        target: {
            column: {seed: made for seed, made in seeds.items() if isinstance(made, Entry)}
            for column, seeds in columns.items()
        }
        for target, columns in cells.items()
    }
