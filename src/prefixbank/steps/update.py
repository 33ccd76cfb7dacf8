"""What a change of the source tasks costs: the rows of an update study, read off what was trained for each change.

Prefixes: adding or refreshing a source trains its one prefix and combines again, removing one only combines. A multi-task encoder is
trained again on all sources each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from prefixbank.steps.json_files import read_json
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON

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
    trainings: Sequence[Entry]
    banks: tuple[Entry, Entry] | None = None


def rows(changes: Sequence[Change]) -> list[JSON]:
    """Return one row for each change.

    Returns:
        `change`, `method`; `units` that ran (trainings, and the combination); `examples` that training processed, a row once in each
        epoch; `flops` of training; `seconds` that the trainings took when they ran; `others_unchanged`, None for multi-task training.
        A number that a training does not have is None.
    """
    return [
        {
            "change": change.what,
            "method": change.method,
            "units": len(change.trainings) + (change.banks is not None),
            "examples": _sum([read_json(entry, "result.json").get("examples") for entry in change.trainings]),
            "flops": _sum([read_json(entry, "result.json").get("training_flops") for entry in change.trainings]),
            "seconds": _sum([entry.info.get("seconds") for entry in change.trainings]),
            "others_unchanged": None if change.banks is None else others_unchanged(*change.banks, change.task),
        }
        for change in changes
    ]


def _sum(numbers: Sequence[Number | None]) -> Number | int | None:
    """Add up, 0 for nothing; None if one is not known."""
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None


def others_unchanged(before: Entry, after: Entry, task: str) -> bool:
    """Say whether two banks hold the same prefixes of all source tasks but one.

    The prefixes are the same if both banks were made from artifacts of the same digests, and hold tensors of the same names, types,
    shapes and bytes.

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
    for place, (task, digest) in enumerate(zip(bank.info["tasks"], bank.document["inputs"]["prefixes"], strict=True)):
        if task != left_out:
            own = {name.removeprefix(f"{place}."): tensor for name, tensor in tensors.items() if name.startswith(f"{place}.")}
            found[task] = (digest, {name: (tensor.dtype.str, tensor.shape, tensor.tobytes()) for name, tensor in own.items()})
    return found
