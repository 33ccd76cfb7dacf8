"""What a study made, as its report reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from prefixbank.errors import UsageError
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON

Seeds = Mapping[int, Entry]
"""Artifacts of the same making, by training seed."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a report says about its experiment beside the scores.

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

    How it is shown, and how many forward passes one text costs.
    """

    title: str
    passes: int
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Study:
    """Everything that a report is made of. Parts that are empty leave out their section.

    Args:
        facts: what to say about the experiment.
        columns: the representations, in order. The first is the plain encoder; if it has one seed
            it counts as having none of its own, and is paired with every seed of the others.
        probes: target to column to seed to the probe; every target has the same columns and seeds.
        baselines: columns that the others are compared with.
        singles: target to source to seed to the probe on a bank of that prefix alone.
        without: target to source to seed to the probe on the bank that lacks that source.
        bank: the column that the banks in `without` are compared with.
        curves: what was trained to seed to the artifact with `curve.jsonl`.
        update: what a change of the sources costs, one row for each change and method: `change`,
            `method` (`prefixes` or `multi-task`), `units`, `examples`, `flops`, `seconds`,
            `others_unchanged` (or None).

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
    update: Sequence[JSON] = ()

    def __post_init__(self) -> None:
        """Refuse comparisons with what was not made."""
        compared = (*self.baselines, *([self.bank] if self.without else ())) if self.probes else ()
        missing = [name for name in compared if name not in self.columns]
        if missing:
            raise UsageError(
                f"a report that compares with '{missing[0]}', which the experiment does not make",
                expected=f"one of: {', '.join(self.columns)}",
                fix="add it to experiment.representations",
            )
