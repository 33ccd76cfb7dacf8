"""The cost of adding, refreshing and removing a source: prefixes against multi-task training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from prefixbank.artifacts.json_files import read_json
from prefixbank.artifacts.prefix import block_file
from prefixbank.artifacts.source_head import has_blocks
from prefixbank.data.tasks.task import Task
from prefixbank.runtime.unit import Planned
from prefixbank.steps.train_prefix import step as train_prefix
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON
from prefixbank.studies.graph import Graph
from prefixbank.studies.representations import full_bank


def update_changes(graph: Graph) -> list[Change]:
    """Plan or run the experiment's changes, with its first seed.

    A refresh trains with another seed instead of new examples, so that every training run costs the
    same.
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
    """Yield the change with prefixes and with multi-task training."""
    name = f"{graph.config.experiment.name}-{what.replace(' ', '-')}"
    # Explicit weights belong to the unchanged sources.
    combination = replace(graph.config.combine, weights=())
    before, after = full_bank(graph, graph.seeds[0]), graph.bank(prefixes, name, combination)
    encoder = graph.multitask(tasks, name, seed)
    others = tuple(one for one in graph.config.experiment.sources if one != task)
    yield Change(
        what=what,
        task=task,
        method="prefixes",
        trainings=trained,
        banks=(before, after),
        others=others,
    )
    yield Change(what=what, task=task, method="multi-task", trainings=[encoder], others=others)


Method = Literal["prefixes", "multi-task"]
Number = TypeVar("Number", int, float)


@dataclass(frozen=True, kw_only=True)
class Change:
    """One change of the source tasks, made with one method.

    Args:
        what: `add snli`, `refresh snli` or `remove snli`.
        task: the source that is added, refreshed or removed.
        method: `prefixes` or `multi-task`.
        trainings: the prefixes, or the multi-task encoder, that the change trains.
        banks: the banks of all sources before and after; None for multi-task training.
        others: the sources that do not change.
    """

    what: str
    task: str
    method: Method
    trainings: Sequence[Planned]
    banks: tuple[Planned, Planned] | None = None
    others: tuple[str, ...] = ()


def rows(changes: Sequence[Change]) -> list[JSON]:
    """Return one row for each change.

    Returns:
        `change`, `method`; `units`, the training runs and the combination; `examples` that
        training processed, a row once in each epoch; `flops` of training; `seconds` that training
        took; `others_unchanged`, None for multi-task training; `passes`, `vectors` and
        `others_refitted`, what becomes of the embeddings: see `UpdateCost`. A number that is not
        known is None.

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
        **_embedded_again(change, banks),
    }


def _embedded_again(change: Change, banks: Sequence[Entry]) -> JSON:
    """Return what a change does to embeddings of the bank, and to what was fitted on them.

    Without blocks a text has one vector, which every source changes.
    """
    if not banks:
        return {"passes": 1, "vectors": (1, 1), "others_refitted": len(change.others)}
    before, after = (_vectors_of(bank) for bank in banks)
    again = [name for name, digest in after.items() if before.get(name) != digest]
    others = [
        name
        for name in change.others
        if before.get(name, before.get("")) != after.get(name, after.get(""))
    ]
    return {
        "passes": int(bool(again)),
        "vectors": (len(again), len(after)),
        "others_refitted": len(others),
    }


def _vectors_of(bank: Entry) -> dict[str, str]:
    """Return what determines each vector that a bank makes of a text, by the task of its source.

    The plain vector, and the only one of a bank without blocks, have no task.
    """
    if not has_blocks(bank):
        return {"": bank.digest}
    plain = {"": "plain"} if bank.document["config"]["combine"]["plain"] else {}
    digests = bank.document["inputs"]["prefixes"]
    return {**plain, **dict(zip(bank.info["tasks"], digests, strict=True))}


def _sum(numbers: Sequence[Number | None]) -> Number | int | None:
    """Return the sum, None if a number is not known."""
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None


def others_unchanged(before: Entry, after: Entry, task: str) -> bool:
    """Whether two banks have the same prefixes of all source tasks but one.

    Prefixes are the same if their artifacts have the same digest, and their tensors the same names,
    types, shapes and bytes.

    Args:
        before: bank before the change.
        after: bank after the change.
        task: the source task that was added, refreshed or removed.
    """
    first, second = (_prefixes(bank, task) for bank in (before, after))
    return first == second


def _prefixes(bank: Entry, left_out: str) -> dict[str, object]:
    """Return the digest and the tensors of each prefix of a bank, by task."""
    from safetensors.numpy import load_file

    blocks = has_blocks(bank)
    tensors = {} if blocks else load_file(bank.file("bank.safetensors"))
    prefixes: dict[str, object] = {}
    for index, (task, digest) in enumerate(
        zip(bank.info["tasks"], bank.document["inputs"]["prefixes"], strict=True)
    ):
        if task != left_out:
            own = (
                load_file(bank.file(block_file(index)))
                if blocks
                else {
                    name.removeprefix(f"{index}."): tensor
                    for name, tensor in tensors.items()
                    if name.startswith(f"{index}.")
                }
            )
            prefixes[task] = (
                digest,
                {
                    name: (tensor.dtype.str, tensor.shape, tensor.tobytes())
                    for name, tensor in own.items()
                },
            )
    return prefixes
