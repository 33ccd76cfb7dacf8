"""Invented studies.

Probe and training artifacts with known predictions, for the tests of the report.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from safetensors.numpy import save_file
from sklearn.metrics import precision_recall_fscore_support

from prefixbank.artifacts.json_files import write_json
from prefixbank.reports.study import Facts, ReportColumn, Study, UpdateCost
from prefixbank.reports.table import ExperimentReport, tabulate
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON, document
from prefixbank.store.store import Store

Put = Callable[..., Entry]

FACTS = Facts(
    experiment="study",
    encoder="tiny",
    sources=("alpha", "beta"),
    seeds=(0, 1, 2),
    protocol=("Sources: 50 rows.",),
)
ROWS = {"mood": 200, "topic": 80}
"""Test rows of each target."""
RIGHT = {
    "plain encoder": {0: 0.6},
    "bank": {0: 0.8, 1: 0.7, 2: 0.75},
    "multi-task encoder": {0: 0.65, 2: 0.7},
}
"""About the share of right predictions, by column and seed."""
COSTS = {"plain encoder": 100_000, "bank": 130_000, "multi-task encoder": 25_000}
"""Operations for one text, by column."""
ONE_SOURCE = {"alpha": {0: 0.7, 1: 0.65}, "beta": {0: 0.55, 1: 0.6}}
RESAMPLES = 2000
UPDATE = (
    UpdateCost(
        change="add gamma",
        method="prefixes",
        units=1,
        examples=100,
        flops=3e12,
        seconds=2.0,
        others_unchanged=True,
        passes=1,
        vectors=(1, 9),
        others_refitted=0,
    ),
    UpdateCost(
        change="add gamma",
        method="multi-task",
        units=1,
        examples=900,
        flops=4e12,
        seconds=8.0,
        others_unchanged=None,
        passes=1,
        vectors=(1, 1),
        others_refitted=2,
    ),
    UpdateCost(
        change="remove beta",
        method="prefixes",
        units=0,
        examples=0,
        flops=0,
        seconds=0.0,
        others_unchanged=True,
        passes=1,
        vectors=(1, 9),
        others_refitted=0,
    ),
    UpdateCost(
        change="remove beta",
        method="multi-task",
        units=1,
        examples=700,
        flops=3e12,
        seconds=0.0,
        others_unchanged=None,
        passes=1,
        vectors=(1, 1),
        others_refitted=2,
    ),
)


def labels_of(target: str) -> np.ndarray:
    return np.random.default_rng(len(target)).integers(0, 2, ROWS[target])


def answers(target: str, name: str, seed: int, share: float) -> np.ndarray:
    """Predictions, about `share` of them right, a function of all four."""
    labels = labels_of(target)
    generator = np.random.default_rng([len(target), *name.encode(), seed])
    return np.where(generator.random(len(labels)) < share, labels, 1 - labels)


def put_probe(
    put: Put,
    labels: np.ndarray,
    *predictions: np.ndarray,
    metric: str = "accuracy",
    folds: int = 0,
    name: str = "",
    probabilities: np.ndarray | None = None,
) -> Entry:
    """Publish a probe with given predictions, one for each few-shot draw."""
    arrays = {"labels": labels, **{f"{n}.predictions": one for n, one in enumerate(predictions)}}
    if probabilities is not None:
        arrays["0.probabilities"] = probabilities

    def write(out: Path) -> None:
        facts = {
            "split": "cross-validated" if folds else "test",
            "outer_folds": folds or None,
            "train_rows": 50,
        }
        write_json(
            out / "probe.json",
            {
                "metric": metric,
                "labels": [] if metric == "pearson" else ["no", "yes"],
                "validation": None if folds else validation_of(labels, predictions[0]),
                **facts,
                "test": {
                    "classes": [] if metric == "pearson" else classes_of(labels, *predictions)
                },
            },
        )
        save_file(arrays, out / "predictions.safetensors")

    return put(
        "probe",
        write,
        inputs={"of": [labels.tolist(), [one.tolist() for one in predictions], folds, name]},
    )


def validation_of(labels: np.ndarray, predictions: np.ndarray) -> float:
    """An invented validation score, near the test score of a classification."""
    return float((labels == predictions).mean()) - 0.01


def put_costs(put: Put, operations: Mapping[str, int]) -> dict[str, Entry]:
    """Publish counts of operations for one text of 16 tokens, by column."""
    made = {}
    for name, count in operations.items():
        facts = {"tokens": 16, "operations": count, "features": 100, "bytes": 400}
        made[name] = put(
            "text_cost", lambda out, facts=facts: write_json(out / "cost.json", facts), inputs=facts
        )
    return made


def classes_of(labels: np.ndarray, *predictions: np.ndarray) -> list[JSON]:
    """Return what `probe.json` says of each class, means over draws."""
    draws = [
        precision_recall_fscore_support(labels, one, labels=[0, 1], zero_division=0)
        for one in predictions
    ]
    names = ("precision", "recall", "f1", "support")
    return [
        {"label": label}
        | {
            name: float(np.mean([draw[row][index] for draw in draws]))
            for row, name in enumerate(names)
        }
        for index, label in enumerate(("no", "yes"))
    ]


def put_curve(put: Put, name: str, validations: Sequence[float]) -> Entry:
    """Publish a training of two steps an epoch."""

    def write(out: Path) -> None:
        lines: list[JSON] = []
        for epoch, validation in enumerate(validations, start=1):
            lines += [
                {"step": 2 * epoch - 1 + half, "epoch": epoch, "loss": 1.0, "lr": 0.1}
                for half in (0, 1)
            ]
            lines.append({"step": 2 * epoch, "epoch": epoch, "validation": validation})
        (out / "curve.jsonl").write_text(
            "".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8"
        )

    return put("train_prefix", write, inputs={"of": [name, list(validations)]})


def put_probes(
    put: Put, shares: Mapping[str, Mapping[int, float]], kind: str = ""
) -> dict[str, dict[str, dict[int, Entry]]]:
    return {
        target: {
            name: {
                seed: put_probe(
                    put, labels_of(target), answers(target, f"{kind}{name}", seed, share), name=kind
                )
                for seed, share in by_seed.items()
            }
            for name, by_seed in shares.items()
        }
        for target in ROWS
    }


def whole_study(put: Put, **changes: Any) -> Study:
    """A study with every part."""
    parts: dict[str, Any] = {
        "facts": FACTS,
        "columns": {
            "plain encoder": ReportColumn(title="plain encoder", passes=1, trained=False),
            "bank": ReportColumn(title="the bank", passes=1),
            "multi-task encoder": ReportColumn(title="multi-task encoder", passes=1, shared=False),
        },
        "costs": put_costs(put, COSTS),
        "probes": put_probes(put, RIGHT),
        "baselines": ("plain encoder", "multi-task encoder"),
        "singles": put_probes(put, ONE_SOURCE, "single "),
        "without": put_probes(put, ONE_SOURCE, "without "),
        "curves": {
            "alpha": {
                0: put_curve(put, "alpha", [0.5, 0.6]),
                1: put_curve(put, "alpha", [0.55, 0.5]),
            }
        },
        "update": UPDATE,
    }
    return Study(**{**parts, **changes})


def small_study(by_target: Mapping[str, Mapping[str, Mapping[int, Entry]]]) -> Study:
    """A study of given probes, compared with the first column, untrained if it has one seed."""
    seeds = next(iter(by_target.values()))
    names = list(seeds)
    columns = {
        name: ReportColumn(title=name, passes=1, trained=name != names[0] or len(seeds[name]) > 1)
        for name in names
    }
    return Study(facts=FACTS, columns=columns, probes=by_target, baselines=(names[0],))


def update_study(put: Put) -> Study:
    """A study of update cost alone."""
    empty: dict[str, Any] = dict.fromkeys(
        ("columns", "probes", "singles", "without", "curves", "costs"), {}
    )
    return whole_study(put, **empty, baselines=())


def put_into(root: Path) -> Put:
    """Like the fixture `put`, with a store at `root`, for fixtures that outlive one test."""

    def put(
        step: str, write: Callable[[Path], None], *, inputs: JSON, config: JSON | None = None
    ) -> Entry:
        def into(out: Path, work: Path) -> JSON:
            write(out)
            return {}

        return Store(root).build(
            document(step=step, version=1, config=config or {}, inputs=inputs), into
        )[0]

    return put


def made_once(
    root: Path, make: Callable[[Put], Study], bootstrap_samples: int = RESAMPLES
) -> ExperimentReport:
    """The numbers of a study whose artifacts lie in a store of their own."""
    with patch("os.fsync"):
        return tabulate(make(put_into(root)), bootstrap_samples)


def table_of(study: Study, bootstrap_samples: int = RESAMPLES) -> ExperimentReport:
    return tabulate(study, bootstrap_samples)
