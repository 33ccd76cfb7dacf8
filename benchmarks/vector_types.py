"""What fewer bytes for each vector cost the probes of a study.

Run after the study: python -m benchmarks.vector_types --data-root FOLDER [--store STORE]

The vectors that `run experiment=transfer` left in the store (last layer) are stored in each type
and read back, ranges and medians from the train rows; then a probe is fitted and scored on test as
in the study.
"""

from __future__ import annotations

import argparse
from statistics import mean
from typing import get_args

import numpy as np

from benchmarks.measure import save
from prefixbank.artifacts.embeddings import read_layout
from prefixbank.choices import SharedRepresentation, VectorType
from prefixbank.commands.functions import experiment_of
from prefixbank.commands.invocation import Invocation
from prefixbank.config.commands import RunExperimentConfig
from prefixbank.config.compose import compose
from prefixbank.core.probe.choice import candidates_in
from prefixbank.core.probe.fit import fit_probe
from prefixbank.core.quantize import (
    bytes_per_vector,
    calibrate,
    dequantize,
    needs_calibration,
    quantize,
)
from prefixbank.core.stats.metrics import score
from prefixbank.data.tasks.task import SPLITS, Task
from prefixbank.steps.probe.texts import read_splits
from prefixbank.store.artifact import Entry
from prefixbank.studies.graph import Graph
from prefixbank.studies.representations import TITLES, vectors

KINDS = get_args(VectorType)


def last_layer(entry: Entry, task: Task) -> dict[str, np.ndarray]:
    """Return the vectors of each split, of the last layer alone."""
    layout = read_layout(entry)
    (last,) = candidates_in(layout, choose_reading=False, layers="last", positions="joined")
    return {
        split: np.ascontiguousarray(layout.take(vectors, last.segments(layout)))
        for split, vectors in read_splits([entry], task, SPLITS).items()
    }


def scores_of(entry: Entry, task: Task) -> dict[str, float]:
    """Return the test score of a probe on each type."""
    of_splits = last_layer(entry, task)
    train, test = of_splits["train"], of_splits["test"]
    calibration, features = calibrate(train), train.shape[1]
    found = {}
    for kind in KINDS:
        stored = [quantize(one, kind, calibration, "median") for one in (train, test)]
        fitted, held_out = (dequantize(one, kind, calibration, features) for one in stored)
        probe = fit_probe(
            fitted,
            np.asarray(task.train.labels),
            kind=task.kind,
            metric=task.metric,
            num_outputs=task.num_outputs,
            Cs=(1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0),
            folds=5,
            seed=0,
        )
        found[kind] = score(
            task.metric, probe.predict(held_out), np.asarray(task.test.labels), task.num_outputs
        )
    return found


def main() -> None:
    """Measure, print and keep the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--store")
    asked = parser.parse_args()
    config = compose(
        RunExperimentConfig, ["experiment=transfer", f"run.data_root={asked.data_root}"]
    )
    invocation = Invocation(store=asked.store)
    context = invocation.context(config.run)
    graph = Graph(context=context, experiment=experiment_of(config, invocation))
    seeds_of: dict[SharedRepresentation, tuple[int, ...]] = {
        "plain": graph.seeds[:1],
        "bank": graph.seeds,
    }
    table: dict[str, dict[str, list[dict[str, float]]]] = {
        TITLES[name]: {
            target: [
                scores_of(one.entry, graph.target(target))
                for seed in seeds
                for one in vectors(graph, name, target, seed).embeddings
            ]
            for target in config.experiment.targets
        }
        for name, seeds in seeds_of.items()
    }
    features = 384
    save(
        "vector_types",
        {
            "experiment": "transfer",
            "bytes": {kind: bytes_per_vector(kind, features) for kind in KINDS},
            "calibrated_types": [kind for kind in KINDS if needs_calibration(kind)],
            "seeds": {
                name: max(len(made) for made in targets.values()) for name, targets in table.items()
            },
            "scores": {
                name: {
                    target: {kind: mean(one[kind] for one in made) for kind in KINDS}
                    for target, made in targets.items()
                }
                for name, targets in table.items()
            },
            "mean": {
                name: {
                    kind: mean(mean(one[kind] for one in made) for made in targets.values())
                    for kind in KINDS
                }
                for name, targets in table.items()
            },
        },
    )


if __name__ == "__main__":
    main()
