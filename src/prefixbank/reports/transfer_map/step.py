"""Step `map-report`: the trainings of a transfer map, as tables, text and charts.

A transfer map trains each target from a cold start and from each source's prefix. Its report shows
whether the similarity of task embeddings tells beforehand which source helps.

Source: Vu et al. 2022 (2110.07904), sections 3 and 4.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from prefixbank.reports.transfer_map.study import Trained, TransferMap
from prefixbank.runtime.unit import Unit
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON, document

STEP = "map-report"
# 1: first; 2: report.html, charts by seaborn and adjustText, text from templates; report.json names
# what is compared `similarity` and `compare`.
VERSION = 2


def unit(study: TransferMap, *, bootstrap_samples: int) -> Unit:
    """Return the unit that reports on a transfer map; ref `report/<experiment>`.

    Args:
        study: what was trained.
        bootstrap_samples: bootstrap resamples behind the intervals, at least; there are more where
            many comparisons are corrected together.
    """

    def make(out: Path, work: Path) -> JSON:
        from prefixbank.reports.transfer_map.make import write_map
        from prefixbank.reports.transfer_map.table import tabulate

        write_map(out, tabulate(study, bootstrap_samples))
        return {"experiment": study.facts.experiment}

    name = study.facts.experiment
    key_document = document(
        step="map_report",
        version=VERSION,
        config=_config(study, bootstrap_samples),
        inputs=_inputs(study),
    )
    return Unit(
        step=STEP, name=name, document=key_document, make=make, ref=("report", name), cheap=True
    )


def _config(study: TransferMap, bootstrap_samples: int) -> JSON:
    """Return what the report states, and in which order.

    A key document does not keep the order of names, so orders are lists.
    """
    return {
        **asdict(study.facts),
        "bootstrap_samples": bootstrap_samples,
        **asdict(study.comparison),
        "ks": study.ks,
        "compared_sources": list(study.sources),
        "targets": list(study.cold),
        "combined": list(study.combined),
    }


def _inputs(study: TransferMap) -> JSON:
    """Return the digest of every artifact that the report depends on."""
    return {
        name: _digests(getattr(study, name)) for name in ("sources", "cold", "warm", "combined")
    }


def _digests(tree: Any) -> Any:
    if isinstance(tree, Entry):
        return tree.digest
    if isinstance(tree, Trained):
        return {part.name: getattr(tree, part.name).digest for part in fields(tree)}
    return {str(name): _digests(part) for name, part in tree.items()}
