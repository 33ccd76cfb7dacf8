"""The units of an update study: what adding, refreshing and removing a source task makes anew, by prefixes and by multi-task training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from prefixbank.data.tasks import Task
from prefixbank.steps import train_prefix
from prefixbank.steps.graph import Graph, Outcome
from prefixbank.steps.representations import full_bank
from prefixbank.steps.units import Waiting
from prefixbank.steps.update import Change, rows
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON


def update_rows(graph: Graph) -> list[JSON | Waiting]:
    """Make what the experiment's changes need, with its first seed; return the rows of the table, or what they wait for.

    Refreshed examples are stood in for by another seed of the training: every prefix, and every multi-task encoder, costs the same then.
    """
    found: list[JSON | Waiting] = []
    for change in [*_add(graph), *_refresh(graph), *_remove(graph)]:
        found += [change] if isinstance(change, Waiting) else rows([change])
    return found


def _add(graph: Graph) -> Iterator[Change | Waiting]:
    seed, name = graph.seeds[0], graph.config.experiment.update.add
    if name:
        new = graph.prefix(name, seed)
        tasks = [*_tasks(graph), graph.source(name)]
        yield from _both(graph, f"add {name}", name, {**graph.prefixes(seed), name: new}, [new], tasks, seed)


def _refresh(graph: Graph) -> Iterator[Change | Waiting]:
    seed, name = graph.seeds[0], graph.config.experiment.update.refresh
    if name:
        recipe = replace(graph.experiment.recipe_for(name), seed=seed + 1)
        unit = train_prefix.unit(graph.context, graph.source(name), graph.files, recipe, f"{name}-refreshed")
        new = graph.do(replace(unit, ref=None))  # the source's own ref stays where it is
        yield from _both(graph, f"refresh {name}", name, {**graph.prefixes(seed), name: new}, [new], _tasks(graph), seed + 1)


def _remove(graph: Graph) -> Iterator[Change | Waiting]:
    seed, name = graph.seeds[0], graph.config.experiment.update.remove
    if name:
        rest = {source: prefix for source, prefix in graph.prefixes(seed).items() if source != name}
        yield from _both(graph, f"remove {name}", name, rest, [], [task for task in _tasks(graph) if task.name != name], seed)


def _tasks(graph: Graph) -> list[Task]:
    return [graph.source(name) for name in graph.config.experiment.sources]


def _both(
    graph: Graph, what: str, task: str, prefixes: Mapping[str, Outcome], trained: Sequence[Outcome], tasks: Sequence[Task], seed: int
) -> Iterator[Change | Waiting]:
    """Yield the change by prefixes and by multi-task training."""
    name = f"{graph.config.experiment.name}-{what.replace(' ', '-')}"
    shares = replace(graph.config.combine, weights=())  # weights given one by one are those of the unchanged sources
    before, after = full_bank(graph, graph.seeds[0]), graph.bank(prefixes, name, shares)
    encoder = graph.multitask(tasks, name, seed)
    made = [entry for entry in trained if isinstance(entry, Entry)]
    if isinstance(before, Entry) and isinstance(after, Entry) and len(made) == len(trained):
        yield Change(what=what, task=task, method="prefixes", trainings=made, banks=(before, after))
    else:
        yield next(outcome for outcome in (*trained, before, after) if isinstance(outcome, Waiting))
    yield encoder if isinstance(encoder, Waiting) else Change(what=what, task=task, method="multi-task", trainings=[encoder])
