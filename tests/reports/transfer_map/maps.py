"""Invented transfer maps.

Trainings with known predictions, embeddings and curves, for the tests of their report.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from safetensors.numpy import save_file

from prefixbank.artifacts.json_files import write_json, write_json_lines
from prefixbank.artifacts.tensors import prefix_tensors, write_tensors
from prefixbank.core.prefix import Prefix
from prefixbank.reports.study import Facts
from prefixbank.reports.transfer_map.study import Trained, TransferMap
from prefixbank.reports.transfer_map.table import MapReport, tabulate
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON
from prefixbank.transfer.task_embeddings import Comparison
from tests.reports.studies import Put, put_into

SEEDS = (0, 1, 2)
SOURCES = ("alpha", "beta", "gamma", "delta")
ROWS = {"mood": 150, "topic": 90, "beta": 60}
"""Test rows of each target; beta also is a source, so that it lacks itself."""
TOPS = (1, 2)
SHAPE = (3, 2, 2, 4, 2)
"""Of embeddings: layers, keys and values, heads, slots, size of a head."""
RESAMPLES = 400


def sources_of(target: str) -> tuple[str, ...]:
    return tuple(source for source in SOURCES if source != target)


def labels_of(target: str) -> np.ndarray:
    return np.random.default_rng(len(target)).integers(0, 2, ROWS[target])


def answers(target: str, start: str, seed: int) -> np.ndarray:
    """Predictions of a training, a function of all three."""
    labels, generator = (
        labels_of(target),
        np.random.default_rng([*target.encode(), *start.encode(), seed]),
    )
    share = 0.6 + 0.06 * (start != "") * (1 + SOURCES.index(start) if start in SOURCES else 2)
    return np.where(generator.random(len(labels)) < share, labels, 1 - labels)


def score(target: str, start: str, seed: int) -> float:
    return float((answers(target, start, seed) == labels_of(target)).mean())


def validation(target: str, start: str, seed: int) -> float:
    return float(
        np.random.default_rng([7, *target.encode(), *start.encode(), seed]).uniform(0.5, 0.9)
    )


def embedding(task: str, seed: int, shape: Sequence[int] = SHAPE) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1000 * seed + sum(task.encode()))
    return torch.randn(tuple(shape), generator=generator) + 1.0


def curve_of(target: str, start: str, seed: int) -> list[JSON]:
    """Four validations of a training, beside events without."""
    scores = (
        np.random.default_rng([9, *target.encode(), *start.encode(), seed])
        .uniform(0.4, 0.8, 4)
        .round(2)
    )
    return [
        {"step": 5 * step, "validation": None if step % 2 else float(scores[step // 2 - 1])}
        for step in range(1, 9)
    ]


def put_prefix(put: Put, task: str, start: str, seed: int) -> Entry:
    def write(out: Path) -> None:
        write_json(
            out / "result.json",
            {
                "validation": validation(task, start, seed),
                "metric": "accuracy",
                "labels": ["no", "yes"],
            },
        )
        write_json_lines(out / "curve.jsonl", curve_of(task, start, seed))
        write_tensors(
            out / "task_embedding.safetensors", prefix_tensors(Prefix(tensor=embedding(task, seed)))
        )

    prefix = {"init": "random", "projection": "none", "init_scale": 0.5}
    return put(
        "train_prefix",
        write,
        config={"prefix": prefix, "seed": seed},
        inputs={"of": [task, start, seed]},
    )


def put_score(put: Put, target: str, predictions: np.ndarray, name: str) -> Entry:
    labels = labels_of(target)

    def write(out: Path) -> None:
        write_json(
            out / "score.json",
            {"metric": "accuracy", "score": float((predictions == labels).mean())},
        )
        save_file({"predictions": predictions, "labels": labels}, out / "predictions.safetensors")

    return put("score_prefix", write, inputs={"of": [target, name]})


def put_trained(put: Put, target: str, start: str, seed: int) -> Trained:
    scored = put_score(put, target, answers(target, start, seed), f"{start} {seed}")
    return Trained(prefix=put_prefix(put, target, start, seed), score=scored)


def whole_map(put: Put, seeds: tuple[int, ...] = SEEDS, **changes: Any) -> TransferMap:
    """A map with every part; one combination has one seed only."""
    combined = {"weighted top-3": seeds, "mixture top-3": seeds[:1]}
    parts: dict[str, Any] = {
        "facts": Facts(
            experiment="map",
            encoder="tiny",
            sources=SOURCES,
            seeds=seeds,
            protocol=("Sources: 50 rows.",),
        ),
        "comparison": Comparison(similarity="average_tokens", compare="weights"),
        "ks": TOPS,
        "sources": {
            source: {seed: put_prefix(put, source, "", seed) for seed in seeds}
            for source in SOURCES
        },
        "cold": {
            target: {seed: put_trained(put, target, "", seed) for seed in seeds} for target in ROWS
        },
        "warm": {
            target: {
                source: {seed: put_trained(put, target, source, seed) for seed in seeds}
                for source in sources_of(target)
            }
            for target in ROWS
        },
        "combined": {
            name: {
                target: {seed: put_trained(put, target, name, seed) for seed in of}
                for target in ROWS
            }
            for name, of in combined.items()
        },
    }
    return TransferMap(**{**parts, **changes})


def made_map(
    root: Path, make: Callable[[Put], TransferMap] = whole_map, bootstrap_samples: int = RESAMPLES
) -> MapReport:
    """The numbers of a map whose artifacts lie in a store of their own.

    For fixtures that outlive one test.
    """
    with patch("os.fsync"):
        return tabulate(make(put_into(root)), bootstrap_samples)
