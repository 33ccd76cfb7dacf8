"""Step `report`: what a study made, to tables, text and charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from prefixbank.errors import UsageError
from prefixbank.steps.units import Unit
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON, document

STEP = "report"
VERSION = 2  # 1: first; 2: seeds in the intervals, Holm's correction, single prefixes, left-out sources, update cost, learning curves

Seeds = Mapping[int, Entry]
"""Artifacts of the same making, by training seed."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a report says about its experiment beside the scores; `protocol` has one line of free text for each fact."""

    experiment: str
    encoder: str
    sources: tuple[str, ...]
    seeds: tuple[int, ...]
    protocol: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Column:
    """A representation that is compared: how it is shown, and how many forward passes one text costs."""

    title: str
    passes: int
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Study:
    """Everything that a report is made of. Parts that are empty leave out their section.

    Args:
        facts: what to say about the experiment.
        columns: the representations, in order. The first is the plain encoder; if it has one seed it counts as having none of its own, and
            is paired with every seed of the others.
        probes: target to column to seed to the probe; every target has the same columns and seeds.
        baselines: columns that the others are compared with.
        singles: target to source to seed to the probe on a bank of that prefix alone.
        without: target to source to seed to the probe on the bank that lacks that source.
        bank: the column that the banks in `without` are compared with.
        curves: what was trained to seed to the artifact with `curve.jsonl`.
        update: what a change of the sources costs, one row for each change and method: `change`, `method` (`prefixes` or `multi-task`),
            `units`, `examples`, `flops`, `seconds`, `others_unchanged` (or None).

    Raises:
        UsageError: a baseline, or the bank of `without`, is not a column.
    """

    facts: Facts
    columns: Mapping[str, Column]
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


def unit(study: Study, *, resamples: int) -> Unit:
    """Return the unit that reports on a study; ref `report/<experiment>`.

    Args:
        study: what was made.
        resamples: bootstrap resamples behind the intervals, at the least; there are more where many comparisons are corrected together.
    """

    def make(out: Path, work: Path) -> JSON:
        from prefixbank.steps.report_files import write_report
        from prefixbank.steps.report_table import tabulate

        write_report(out, tabulate(study, resamples))
        return {"experiment": study.facts.experiment}

    made_of = document(step="report", version=VERSION, config=_config(study, resamples), inputs=_inputs(study))
    return Unit(step=STEP, name=study.facts.experiment, document=made_of, make=make, ref=("report", study.facts.experiment), here=True)


def _config(study: Study, resamples: int) -> JSON:
    """Return what is said and in which order; a document does not keep the order of names, so orders are lists."""
    return {
        **asdict(study.facts),
        "resamples": resamples,
        "columns": [{"name": name, **asdict(column)} for name, column in study.columns.items()],
        "baselines": study.baselines,
        "bank": study.bank,
        "targets": list(study.probes),
        "singles": [list(of_source) for of_source in study.singles.values()][:1],
        "without": [list(of_source) for of_source in study.without.values()][:1],
        "curves": list(study.curves),
        "update": list(study.update),
    }


def _inputs(study: Study) -> JSON:
    """Return the digest of every artifact that is read."""
    return {name: _digests(getattr(study, name)) for name in ("probes", "singles", "without", "curves")}


def _digests(tree: Any) -> Any:
    return tree.digest if isinstance(tree, Entry) else {str(name): _digests(part) for name, part in tree.items()}
