"""The units of an update study.

What adding, refreshing and removing a source task makes anew, by prefixes and by multi-task
training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from prefixbank.artifacts.json_files import read_json
from prefixbank.data.tasks.task import Task
from prefixbank.runtime.unit import Planned
from prefixbank.steps.train_prefix import step as train_prefix
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON
from prefixbank.studies.graph import Graph
from prefixbank.studies.representations import full_bank


def update_changes(graph: Graph) -> list[Change]:
    """Make, or plan, what the experiment's changes need, with its first seed.

    Refreshed examples are stood in for by another seed of the training: every prefix, and every
    multi-task encoder, costs the same then.
    """
    return [*_add(graph), *_refresh(graph), *_remove(graph)]


def _add(graph: Graph) -> Iterator[Change]:
    seed, name = graph.seeds[0], graph.config.experiment.update.add
    if name:
        new = graph.prefix(name, seed)
        tasks = [*_tasks(graph), graph.source(name)]
        yield from _both(
            graph, f"add {name}", name, {**graph.prefixes(seed), name: new}, [new], tasks, seed
        )


def _refresh(graph: Graph) -> Iterator[Change]:
    seed, name = graph.seeds[0], graph.config.experiment.update.refresh
    if name:
        recipe = replace(graph.experiment.recipe_for(name), seed=seed + 1)
        unit = train_prefix.unit(
            graph.context, graph.source(name), graph.files, recipe, f"{name}-refreshed"
        )
        new = graph.ensure(replace(unit, ref=None))  # the source's own ref stays where it is
        yield from _both(
            graph,
            f"refresh {name}",
            name,
            {**graph.prefixes(seed), name: new},
            [new],
            _tasks(graph),
            seed + 1,
        )


def _remove(graph: Graph) -> Iterator[Change]:
    seed, name = graph.seeds[0], graph.config.experiment.update.remove
    if name:
        rest = {source: prefix for source, prefix in graph.prefixes(seed).items() if source != name}
        yield from _both(
            graph,
            f"remove {name}",
            name,
            rest,
            [],
            [task for task in _tasks(graph) if task.name != name],
            seed,
        )


def _tasks(graph: Graph) -> list[Task]:
    return [graph.source(name) for name in graph.config.experiment.sources]


def _both(
    graph: Graph,
    what: str,
    task: str,
    prefixes: Mapping[str, Planned],
    trained: Sequence[Planned],
    tasks: Sequence[Task],
    seed: int,
) -> Iterator[Change]:
    """Yield the change by prefixes and by multi-task training."""
    name = f"{graph.config.experiment.name}-{what.replace(' ', '-')}"
    # Weights given one by one are those of the unchanged sources.
    shares = replace(graph.config.combine, weights=())
    before, after = full_bank(graph, graph.seeds[0]), graph.bank(prefixes, name, shares)
    encoder = graph.multitask(tasks, name, seed)
    yield Change(what=what, task=task, method="prefixes", trainings=trained, banks=(before, after))
    yield Change(what=what, task=task, method="multi-task", trainings=[encoder])


Method = Literal["prefixes", "multi-task"]
Number = TypeVar("Number", int, float)


@dataclass(frozen=True, kw_only=True)
class Change:
    """One change of the source tasks, made with one method.

    Args:
        what: `add snli`, `refresh snli` or `remove snli`.
        task: the source that is added, refreshed or removed.
        method: `prefixes` or `multi-task`.
        trainings: the prefixes, or the multi-task encoder, that had to be trained.
        banks: the banks of all sources before and after; None for multi-task training.
    """

    what: str
    task: str
    method: Method
    trainings: Sequence[Planned]
    banks: tuple[Planned, Planned] | None = None


def rows(changes: Sequence[Change]) -> list[JSON]:
    """Return one row for each change.

    Returns:
        `change`, `method`; `units` that ran (trainings, and the combination); `examples` that
        training processed, a row once in each epoch; `flops` of training; `seconds` that the
        trainings took when they ran; `others_unchanged`, None for multi-task training. A number
        that a training does not have is None.

    Raises:
        NotMade: a training or a bank does not exist yet.
    """
    return [_row(change) for change in changes]


def _row(change: Change) -> JSON:
    trainings = [planned.entry for planned in change.trainings]
    banks = [planned.entry for planned in change.banks or ()]
    results = [read_json(entry, "result.json") for entry in trainings]
    return {
        "change": change.what,
        "method": change.method,
        "units": len(trainings) + (change.banks is not None),
        "examples": _sum([result.get("examples") for result in results]),
        "flops": _sum([result.get("training_flops") for result in results]),
        "seconds": _sum([entry.info.get("seconds") for entry in trainings]),
        "others_unchanged": others_unchanged(banks[0], banks[1], change.task) if banks else None,
    }


def _sum(numbers: Sequence[Number | None]) -> Number | int | None:
    """Add up, 0 for nothing; None if one is not known."""
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None


def others_unchanged(before: Entry, after: Entry, task: str) -> bool:
    """Say whether two banks hold the same prefixes of all source tasks but one.

    The prefixes are the same if both banks were made from artifacts of the same digests, and hold
    tensors of the same names, types, shapes and bytes.

    Args:
        before: a bank.
        after: the bank that came of the change.
        task: the source task that was added, refreshed or removed.
    """
    first, second = (_prefixes(bank, task) for bank in (before, after))
    return first == second


def _prefixes(bank: Entry, left_out: str) -> dict[str, object]:
    """Return what a bank was made from and holds, by task."""
    from safetensors.numpy import load_file

    tensors = load_file(bank.file("bank.safetensors"))
    found: dict[str, object] = {}
    for place, (task, digest) in enumerate(
        zip(bank.info["tasks"], bank.document["inputs"]["prefixes"], strict=True)
    ):
        if task != left_out:
            own = {
                name.removeprefix(f"{place}."): tensor
                for name, tensor in tensors.items()
                if name.startswith(f"{place}.")
            }
            found[task] = (
                digest,
                {
                    name: (tensor.dtype.str, tensor.shape, tensor.tobytes())
                    for name, tensor in own.items()
                },
            )
    return found
