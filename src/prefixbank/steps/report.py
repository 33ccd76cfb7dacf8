"""Step `report`: the probes of an experiment to one table, as JSON, Markdown and a chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from prefixbank.steps.units import Unit
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON, document

STEP = "report"
VERSION = 1  # 1: first
CODE = ("core.bootstrap", "core.metrics", "steps.report_table", "steps.report_files")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a report says about its experiment beside the scores."""

    experiment: str
    encoder: str
    sources: tuple[str, ...]
    seeds: tuple[int, ...]


def unit(facts: Facts, probes: Mapping[str, Mapping[str, Sequence[Entry]]], *, resamples: int) -> Unit:
    """Return the unit that reports on `probes`; ref `report/<experiment>`.

    Args:
        facts: what to say about the experiment.
        probes: target task to column to the probes of each seed. The first column is the baseline.
        resamples: bootstrap resamples behind the intervals.
    """

    def make(out: Path, work: Path) -> JSON:
        from prefixbank.steps.report_files import write_report
        from prefixbank.steps.report_table import tabulate

        write_report(out, tabulate(asdict(facts), probes, resamples))
        return {"experiment": facts.experiment}

    digests = {
        target: {column: [entry.digest for entry in entries] for column, entries in columns.items()} for target, columns in probes.items()
    }
    made_of = document(step="report", version=VERSION, config={**asdict(facts), "resamples": resamples}, inputs={"probes": digests})
    return Unit(step=STEP, name=facts.experiment, document=made_of, make=make, ref=("report", facts.experiment))
