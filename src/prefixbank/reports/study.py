"""What a study made, as its report takes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from prefixbank.errors import UsageError
from prefixbank.store.artifact import Entry

Seeds = Mapping[int, Entry]
"""Artifacts of the same recipe, by training seed."""
Method = Literal["prefixes", "multi-task"]
"""How a change of the sources is made."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a report states about its experiment beside the scores.

    `protocol` has one line of free text for each fact.
    """

    experiment: str
    encoder: str
    sources: tuple[str, ...]
    seeds: tuple[int, ...]
    protocol: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ReportColumn:
    """A representation that is compared.

    Args:
        title: how reports and charts show it.
        passes: forward passes that one text costs.
        trained: whether seeds of trainings stand behind it. The plain encoder is not trained: it
            has one entry, which is paired with every seed of the others.
        shared: whether one encoder serves all targets, not one for each.
    """

    title: str
    passes: int
    trained: bool = True
    shared: bool = True


@dataclass(frozen=True, kw_only=True)
class UpdateCost:
    """What one change of the sources costs with one method. A number that is not known is None.

    Args:
        change: `add NAME`, `refresh NAME` or `remove NAME`.
        method: how the change was made.
        units: that ran: trainings, and the combination.
        examples: that training processed; a row counts once in each epoch.
        flops: floating-point operations of training.
        seconds: that the trainings took.
        others_unchanged: whether the artifacts of all other sources kept their digests; None for
            multi-task training.
        passes: times that every embedded text passes the encoder again.
        vectors: the vectors of each text that are made again, of those that it has.
        others_refitted: other sources whose vectors change, so that what was fitted on them has to
            be fitted again.
    """

    change: str
    method: Method
    units: int
    examples: int | None
    flops: float | None
    seconds: float | None
    others_unchanged: bool | None
    passes: int
    vectors: tuple[int, int]
    others_refitted: int


@dataclass(frozen=True, kw_only=True)
class Study:
    """Everything that a report is made of. An empty part leaves out its section.

    Args:
        facts: what to state about the experiment.
        columns: the representations, in order.
        probes: target to column to seed to the probe; every target has the same columns and seeds.
        baselines: columns that the others are compared with.
        singles: target to source to seed to the probe on a bank of that prefix alone.
        without: target to source to seed to the probe on the bank that lacks that source.
        bank: the column that the banks in `without` are compared with.
        curves: what was trained to seed to the artifact with `curve.jsonl`.
        update: what a change of the sources costs, one row for each change and method.
        costs: column to the count of its operations for one text.

    Raises:
        UsageError: a baseline, or the bank of `without`, is not a column.
    """

    facts: Facts
    columns: Mapping[str, ReportColumn]
    probes: Mapping[str, Mapping[str, Seeds]]
    baselines: tuple[str, ...]
    singles: Mapping[str, Mapping[str, Seeds]] = field(default_factory=dict)
    without: Mapping[str, Mapping[str, Seeds]] = field(default_factory=dict)
    bank: str = "bank"
    curves: Mapping[str, Seeds] = field(default_factory=dict)
    update: Sequence[UpdateCost] = ()
    costs: Mapping[str, Entry] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a comparison with a column that is missing."""
        compared = (*self.baselines, *([self.bank] if self.without else ())) if self.probes else ()
        missing = [name for name in compared if name not in self.columns]
        if missing:
            raise UsageError(
                f"a report that compares with '{missing[0]}', which the experiment does not make",
                expected=f"one of: {', '.join(self.columns)}",
                fix="add it to experiment.representations",
            )
