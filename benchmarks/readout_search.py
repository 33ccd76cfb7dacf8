"""Which settings of read-outs are best on the validation rows of the sources.

Run: python -m benchmarks.readout_search experiment=families run.data_root=FOLDER
    'experiment.sources=[sst2,snli,goemotions,sick_r]' --out FILE.json

Starting from the experiment's settings, one setting at a time is changed, and a prefix is trained
for each source with each value in turn. The score is that of the best epoch on validation rows,
which is what training keeps; nothing reads test rows. What the store has is not trained again, so
several of these commands, each with other sources, may share a store, and a killed one goes on.

`margin` is the mean over sources of the difference to the experiment's own settings, and `error`
the standard error of a mean score, as if the rows of each source were drawn anew: a margin below
about two of them says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.studies import run_study
from prefixbank.artifacts.json_files import read_json
from prefixbank.runtime.context import Context
from prefixbank.studies.graph import Experiment, Graph

CHANGES: tuple[tuple[str, ...], ...] = (
    (),
    ("prefix.readouts=1",),
    ("prefix.readouts=2",),
    ("prefix.readouts=8",),
    ("prefix.length=0",),
    ("prefix.length=4",),
    ("prefix.length=64",),
    ("prefix.init=texts",),
    ("prefix.init_scale=0.1",),
    ("prefix.init_scale=1.0",),
    ("optim.lr=0.01",),
    ("optim.lr=0.1",),
    ("optim.vector_lr=0.003",),
    ("optim.vector_lr=0.03",),
    ("optim.head_lr=0.0003",),
    ("optim.head_lr=0.003",),
    ("optim.epochs=4",),
    ("optim.epochs=16",),
    ("prefix.summary=concat", "prefix.size=384"),
    ("prefix.size=48",),
)
"""What is changed, each for itself; first nothing."""

DIGITS = 4


def scores_of(graph: Graph, seed: int) -> dict[str, dict[str, float]]:
    """Return the best validation score of each source, and the epoch that it comes from."""
    found = {}
    for source in graph.config.experiment.sources:
        result = read_json(graph.prefix(source, seed).entry, "result.json")
        found[source] = {"score": result["validation"], "epoch": result["best_epoch"]}
    return found


def changed(experiment: Experiment, settings: Sequence[str]) -> Experiment:
    """Return the experiment with settings changed for every source."""
    asked = experiment.config.experiment
    overrides = {source: (*asked.overrides.get(source, ()), *settings) for source in asked.sources}
    config = replace(experiment.config, experiment=replace(asked, overrides=overrides))
    return replace(experiment, config=config)


def table_of(
    found: Mapping[str, Mapping[str, Mapping[str, float]]], rows: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Return a row for each change, the highest mean first.

    Args:
        found: by change, by source: score and epoch.
        rows: number of validation rows of each source.
    """
    default = found[" ".join(CHANGES[0])]
    table = []
    for name, of_source in found.items():
        scores = {source: one["score"] for source, one in of_source.items()}
        # As for a share of right answers: the other metrics vary by about as much.
        variances = [value * (1 - value) / rows[source] for source, value in scores.items()]
        margins = [value - default[source]["score"] for source, value in scores.items()]
        table.append(
            {
                "change": name or "none",
                "mean": round(float(np.mean(list(scores.values()))), DIGITS),
                "margin": round(float(np.mean(margins)), DIGITS),
                "error": round(float(np.sqrt(np.sum(variances))) / len(scores), DIGITS),
                "sources": of_source,
            }
        )
    return sorted(table, key=lambda row: -row["mean"])


def search(context: Context, experiment: Experiment) -> dict[str, Any]:
    """Train with each change, and return the table."""
    settings = experiment.config.experiment
    found: dict[str, dict[str, dict[str, float]]] = {}
    for change in CHANGES:
        print(" ".join(change) or "none", flush=True)
        graph = Graph(context=context, experiment=changed(experiment, change))
        found[" ".join(change)] = scores_of(graph, settings.seeds[0])
    rows = {name: len(graph.source(name).validation) for name in settings.sources}
    return {
        "experiment": settings.name,
        "encoder": graph.files.label,
        "validation_rows": rows,
        "table": table_of(found, rows),
    }


if __name__ == "__main__":
    run_study(__doc__, search)
