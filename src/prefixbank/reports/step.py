"""Step `report`: what a study made, as tables, text and charts."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from prefixbank.reports.study import Study
from prefixbank.runtime.unit import Unit
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON, document

STEP = "report"
# 1: first; 2: seeds in the intervals, Holm's correction, single prefixes, left-out sources, update
# cost, learning curves; 3: report.html, charts by seaborn, text from templates; 4: classes.csv;
# 6: validation scores, cost of 1 to 32 tasks.
VERSION = 6
CLASSES = "classes.csv"


def unit(study: Study, *, bootstrap_samples: int) -> Unit:
    """Return the unit that reports on a study; ref `report/<experiment>`.

    Args:
        study: what was made.
        bootstrap_samples: bootstrap resamples behind the intervals, at least; there are more where
            many comparisons are corrected together.
    """

    def make(out: Path, work: Path) -> JSON:
        from prefixbank.reports.classes import class_lines
        from prefixbank.reports.csv_file import write_csv
        from prefixbank.reports.make import write_report
        from prefixbank.reports.table import tabulate

        write_report(out, tabulate(study, bootstrap_samples))
        if lines := list(class_lines(study)):
            write_csv(out / CLASSES, lines)
        return {"experiment": study.facts.experiment}

    key_document = document(
        step="report",
        version=VERSION,
        config=_config(study, bootstrap_samples),
        inputs=_inputs(study),
    )
    return Unit(
        step=STEP,
        name=study.facts.experiment,
        document=key_document,
        make=make,
        ref=("report", study.facts.experiment),
        cheap=True,
    )


def _config(study: Study, bootstrap_samples: int) -> JSON:
    """Return what the report states, and in which order.

    A key document does not keep the order of names, so orders are lists.
    """
    return {
        **asdict(study.facts),
        "bootstrap_samples": bootstrap_samples,
        "columns": [{"name": name, **asdict(column)} for name, column in study.columns.items()],
        "baselines": study.baselines,
        "bank": study.bank,
        "targets": list(study.probes),
        "singles": [list(by_source) for by_source in study.singles.values()][:1],
        "without": [list(by_source) for by_source in study.without.values()][:1],
        "curves": list(study.curves),
        "update": [asdict(row) for row in study.update],
    }


def _inputs(study: Study) -> JSON:
    """Return the digest of every artifact that the report depends on."""
    return {
        name: _digests(getattr(study, name))
        for name in ("probes", "singles", "without", "curves", "costs")
    }


def _digests(tree: Any) -> Any:
    return (
        tree.digest
        if isinstance(tree, Entry)
        else {str(name): _digests(part) for name, part in tree.items()}
    )
