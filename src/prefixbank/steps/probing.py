"""Fit and score a probe, once or for several few-shot draws, and write it as arrays and JSON."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from prefixbank.config.schema import ProbeConfig
from prefixbank.core.metrics import score
from prefixbank.core.probe import Evaluation, ProbeModel, evaluate, fit_probe, sample_shots
from prefixbank.data.tasks import Task
from prefixbank.errors import UsageError
from prefixbank.steps.json_files import write_json
from prefixbank.steps.tensors import write_tensors
from prefixbank.steps.vectors import read_vectors
from prefixbank.store.artifact import Entry


def probe(out: Path, embeddings: Entry, task: Task, config: ProbeConfig) -> None:
    """Write `probe.json` (scores), `probe.safetensors` (model of each draw) and `predictions.safetensors` (test predictions and labels)."""
    vectors = {split: read_vectors(embeddings, split) for split in ("train", "validation", "test")}
    models = [_fit(vectors["train"], task, config, draw) for draw in range(config.draws if config.shots else 1)]
    tests = [
        evaluate(model, vectors["test"], task.test.labels, metric=task.metric, resamples=config.resamples, seed=config.seed)
        for model in models
    ]
    validations = [score(task.metric, model.predict(vectors["validation"]), task.validation.labels, task.num_outputs) for model in models]
    arrays: dict[str, torch.Tensor] = {"labels": torch.from_numpy(np.asarray(task.test.labels))}
    for draw, model in enumerate(models):
        arrays[f"{draw}.predictions"] = torch.from_numpy(model.predict(vectors["test"]))
    write_tensors(out / "predictions.safetensors", arrays)
    write_tensors(out / "probe.safetensors", _model_tensors(models))
    fitted = [{"strength": model.strength, "cv_scores": model.cv_scores, "unconverged_fits": model.unconverged_fits} for model in models]
    summary = {"kind": task.kind, "metric": task.metric, "labels": list(task.labels), "train_rows": _rows(task, config)}
    write_json(
        out / "probe.json",
        {**summary, "test": _joint(tests, config), "validation": float(np.mean(validations)), "draws": len(models), "fits": fitted},
    )


def _fit(vectors: np.ndarray, task: Task, config: ProbeConfig, draw: int) -> ProbeModel:
    """Fit on all train rows, or on the few of one draw."""
    labels = np.asarray(task.train.labels)
    if config.shots:
        try:
            rows = sample_shots(labels, kind=task.kind, shots=config.shots, seed=config.seed + draw)
        except ValueError as error:
            raise UsageError(
                f"probe.shots={config.shots} on task '{task.name}': {error}",
                expected="at most the rows of the rarest class",
                fix="probe.shots=8",
            ) from error
        vectors, labels = vectors[rows], labels[rows]
    return fit_probe(
        vectors,
        labels,
        kind=task.kind,
        metric=task.metric,
        num_outputs=task.num_outputs,
        strengths=config.strengths,
        folds=config.folds,
        seed=config.seed,
    )


def _rows(task: Task, config: ProbeConfig) -> int:
    """Return the number of rows that each probe was fitted on."""
    if not config.shots:
        return len(task.train)
    return config.shots * (len(np.unique(task.train.labels)) if task.kind == "classification" else 1)


def _joint(tests: list[Evaluation], config: ProbeConfig) -> dict[str, Any]:
    """Return the test result: of the one probe, with its interval over rows; of several draws their mean, with its interval over draws."""
    if len(tests) == 1:
        return {**asdict(tests[0]), "interval": "test rows"}
    scores = np.array([test.score for test in tests])
    drawn = np.random.default_rng(config.seed).choice(scores, size=(config.resamples, len(scores))).mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    metrics = {name: float(np.mean([test.metrics[name] for test in tests])) for name in tests[0].metrics}
    return {
        "score": float(scores.mean()),
        "low": float(low),
        "high": float(high),
        "metrics": metrics,
        "n": tests[0].n,
        "interval": "draws",
        "scores": scores.tolist(),
    }


def _model_tensors(models: list[ProbeModel]) -> dict[str, torch.Tensor]:
    """Return the arrays of each model, named `<draw>.<array>`."""
    names = ("weights", "bias", "mean", "scale")
    return {f"{draw}.{name}": torch.from_numpy(getattr(model, name)) for draw, model in enumerate(models) for name in names}
