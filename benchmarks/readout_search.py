"""Which settings of read-outs are best on the validation rows of the sources.

Run: python -m benchmarks.readout_search experiment=families run.data_root=FOLDER
    'experiment.sources=[sst2,snli,goemotions,sick_r]' --out FILE.json

Starting from the experiment's settings, one setting at a time is changed, and a prefix is trained
for each source and each seed of the experiment with each value in turn. The score is that of the
best epoch on validation rows, which is what training keeps; nothing reads test rows. What the store
has is not trained again, so several of these commands, each with other sources, may share a store,
and a killed one goes on.

`margin` is the mean over sources of the difference to the experiment's own settings, and `error`
the standard error of a mean score, as if the rows of each source were drawn anew: a margin below
about two of them says nothing. `spread` is the largest difference between two seeds of a source.
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

CHANGES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "families": (
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
    ),
    "families_smollm2": (
        (),
        ("optim.lr=0.03", "optim.vector_lr=0.006"),
        ("optim.lr=0.005", "optim.vector_lr=0.0005"),
        ("optim.lr=0.005", "optim.vector_lr=0.0005", "optim.batch_size=8"),
        ("optim.lr=0.005", "optim.vector_lr=0.0005", "prefix.readouts=8"),
    ),
}
"""What is changed in an experiment, each for itself; first nothing."""

DIGITS = 4


def scores_of(graph: Graph) -> dict[str, list[float]]:
    """Return the best validation score of each source with each seed."""
    return {
        source: [
            read_json(graph.prefix(source, seed).entry, "result.json")["validation"]
            for seed in graph.seeds
        ]
        for source in graph.config.experiment.sources
    }


def changed(experiment: Experiment, settings: Sequence[str]) -> Experiment:
    """Return the experiment with settings changed for every source."""
    asked = experiment.config.experiment
    overrides = {source: (*asked.overrides.get(source, ()), *settings) for source in asked.sources}
    config = replace(experiment.config, experiment=replace(asked, overrides=overrides))
    return replace(experiment, config=config)


def table_of(
    found: Mapping[str, Mapping[str, Sequence[float]]], rows: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Return a row for each change, the highest mean first.

    Args:
        found: by change, by source: the score of each seed.
        rows: number of validation rows of each source.
    """
    default = next(iter(found.values()))
    table = []
    for name, of_source in found.items():
        scores = {source: float(np.mean(values)) for source, values in of_source.items()}
        # As for a share of right answers: the other metrics vary by about as much.
        variances = [value * (1 - value) / rows[source] for source, value in scores.items()]
        spread = max(float(np.ptp(values)) for values in of_source.values())
        margins = [value - float(np.mean(default[source])) for source, value in scores.items()]
        table.append(
            {
                "change": name or "none",
                "mean": round(float(np.mean(list(scores.values()))), DIGITS),
                "margin": round(float(np.mean(margins)), DIGITS),
                "error": round(float(np.sqrt(np.sum(variances))) / len(scores), DIGITS),
                "spread": round(spread, DIGITS),
                "sources": of_source,
            }
        )
    return sorted(table, key=lambda row: -row["mean"])


def search(context: Context, experiment: Experiment) -> dict[str, Any]:
    """Train with each change, and return the table."""
    settings = experiment.config.experiment
    found: dict[str, dict[str, list[float]]] = {}
    for change in CHANGES[settings.name]:
        graph = Graph(context=context, experiment=changed(experiment, change))
        found[" ".join(change)] = scores_of(graph)
        print(" ".join(change) or "none", found[" ".join(change)], flush=True)
    rows = {name: len(graph.source(name).validation) for name in settings.sources}
    return {
        "experiment": settings.name,
        "encoder": graph.files.label,
        "seeds": list(settings.seeds),
        "validation_rows": rows,
        "table": table_of(found, rows),
    }


if __name__ == "__main__":
    run_study(__doc__, search)
