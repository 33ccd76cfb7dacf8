"""Make the artifact of step `probe`: fit and score one or several probes and write them.

There is one probe for each few-shot draw, or for each outer fold of nested cross-validation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, assert_never

import numpy as np
import torch

from prefixbank.artifacts.embeddings import describe_layout, origin_in, read_layout
from prefixbank.artifacts.fitted_probe import describe_rule
from prefixbank.artifacts.json_files import write_json
from prefixbank.artifacts.probe import PREDICTIONS, PROBE, RULE, TENSORS
from prefixbank.artifacts.tensors import write_tensors
from prefixbank.config.schema import ProbeConfig
from prefixbank.core.layout import side_by_side
from prefixbank.core.probe.choice import Candidate, ChosenProbe, candidates_in, fit_best
from prefixbank.core.probe.decision import DecisionRule, fit_rule
from prefixbank.core.probe.fit import fit_probe
from prefixbank.core.probe.model import Evaluation, evaluate_predictions
from prefixbank.core.probe.nested import nested_decisions
from prefixbank.core.probe.rows import sample_shots
from prefixbank.core.probe.solution import scorable_from
from prefixbank.core.stats.classes import class_scores
from prefixbank.core.stats.metrics import score
from prefixbank.core.stats.probabilities import probability_metrics
from prefixbank.data.tasks.task import SPLITS, Examples, Task
from prefixbank.errors import UsageError
from prefixbank.steps.probe.splits import splits_of
from prefixbank.steps.probe.texts import read_splits
from prefixbank.store.artifact import Entry

Fit = Callable[[np.ndarray, np.ndarray], ChosenProbe]
"""Fits a probe on vectors and labels, and selects its strength and what it reads on the same rows.
"""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Result of a protocol.

    Args:
        facts: its part of probe.json.
        probes: one, one for each draw, or one for each outer fold.
        rules: how each of them decides.
        arrays: labels, predictions and probabilities of the scored rows.
    """

    facts: dict[str, Any]
    probes: Sequence[ChosenProbe]
    rules: Sequence[DecisionRule]
    arrays: dict[str, np.ndarray]


def probe(
    out: Path,
    embeddings: Sequence[Entry],
    task: Task,
    config: ProbeConfig,
    *,
    choose_reading: bool,
) -> None:
    """Write `probe.json`, `probe.safetensors` and `predictions.safetensors`.

    They hold the scores, the models, and predictions on held-out rows with their probabilities and
    labels. Names of arrays begin with the number of the draw or, for models, of the outer fold.
    """
    vectors = read_splits(embeddings, task, splits_of(config))
    fit = _fitter(embeddings, task, config, choose_reading)
    match config.protocol:
        case "split":
            scored = _on_one_split(vectors, task, config, fit)
        case "nested_cv":
            scored = _nested(vectors, task, config, fit)
        case _:
            assert_never(config.protocol)
    validation = vectors["validation"] if config.protocol == "split" else None
    summary = {
        "kind": task.kind,
        "metric": task.metric,
        "labels": list(task.labels),
        "model": config.model,
        "calibration": config.calibration,
        "threshold": config.threshold,
        "protocol": config.protocol,
    }
    read = {
        "paired": task.train.pairs is not None,
        "layout": describe_layout(scored.probes[0].layout),
        "vectors": [origin_in(entry.document) for entry in embeddings],
    }
    fits = [
        {**_describe(one, validation, task), **describe_rule(rule, task.labels)}
        for one, rule in zip(scored.probes, scored.rules, strict=True)
    ]
    write_json(out / PROBE, {**summary, **scored.facts, **read, "fits": fits})
    write_tensors(
        out / PREDICTIONS,
        {name: torch.from_numpy(array) for name, array in scored.arrays.items()},
    )
    write_tensors(out / TENSORS, _model_tensors(scored.probes, scored.rules))


def _fitter(
    embeddings: Sequence[Entry], task: Task, config: ProbeConfig, choose_reading: bool
) -> Fit:
    """Return a function that fits one probe."""
    fit = partial(
        fit_probe,
        kind=task.kind,
        metric=task.metric,
        num_outputs=task.num_outputs,
        Cs=config.Cs,
        folds=config.folds,
        seed=config.seed,
        model=config.model,
        hidden_size=config.mlp_hidden_size,
        class_weight=config.class_weight,
    )
    layout = side_by_side([read_layout(entry) for entry in embeddings])
    candidates = candidates_in(
        layout, choose_reading=choose_reading, layers=config.layers, positions=config.positions
    )
    return partial(fit_best, layout=layout, candidates=candidates, fit=fit)


def _on_one_split(
    vectors: Mapping[str, np.ndarray], task: Task, config: ProbeConfig, fit: Fit
) -> Scored:
    """Fit on train, or on draws from it, and score on test, or on validation.

    Validation rows select nothing here, apart from calibration and thresholds. The validation score
    is that without these.
    """
    rows = task.split(config.score_on)
    labels = np.asarray(rows.labels)
    probes = [
        _fit_draw(vectors["train"], task, config, draw, fit)
        for draw in range(config.few_shot_samples if config.shots else 1)
    ]
    on_validation = [one.decision(vectors["validation"]) for one in probes]
    rules = [_rule(decision, task, config) for decision in on_validation]
    decisions = [one.decision(vectors[config.score_on]) for one in probes]
    answers = [_answers(*one) for one in zip(rules, decisions, strict=True)]
    tests = [_evaluate(one, labels, task, config) for one in answers]
    validations = [_score(decision, task.validation, task) for decision in on_validation]
    uncalibrated = [_uncalibrated(*one, labels) for one in zip(rules, decisions, strict=True)]
    facts = {
        "split": config.score_on,
        "outer_folds": None,
        "train_rows": _rows(task, config),
        "draws": len(probes),
        "test": {
            **_joint(tests, config),
            **_means(uncalibrated),
            "classes": _classes(answers, labels, task),
        },
        "validation": float(np.mean(validations)),
    }
    named = {
        f"{draw}.{name}": array for draw, one in enumerate(answers) for name, array in one.items()
    }
    return Scored(facts=facts, probes=probes, rules=rules, arrays={"labels": labels, **named})


def _nested(vectors: Mapping[str, np.ndarray], task: Task, config: ProbeConfig, fit: Fit) -> Scored:
    """Predict each row of the three splits with a probe fitted on the other outer folds."""
    everything = np.concatenate([vectors[split] for split in SPLITS])
    labels = np.concatenate([task.split(split).labels for split in SPLITS])
    decision, fold_of, probes = nested_decisions(
        everything,
        labels,
        fit,
        kind=task.kind,
        num_outputs=task.num_outputs,
        outer_folds=config.outer_folds,
        seed=config.seed,
    )
    rule = DecisionRule(kind=task.kind)
    answers = _answers(rule, decision)
    facts = {
        "split": "cross-validated",
        "outer_folds": len(probes),
        "train_rows": len(labels) - int(np.bincount(fold_of).max()),
        "draws": 1,
        "test": {
            **asdict(_evaluate(answers, labels, task, config)),
            "interval": "all rows",
            "classes": _classes([answers], labels, task),
        },
        "validation": None,
    }
    named = {f"0.{name}": array for name, array in answers.items()}
    return Scored(
        facts=facts,
        probes=probes,
        rules=[rule] * len(probes),
        arrays={"labels": labels, "folds": fold_of, **named},
    )


def _fit_draw(
    vectors: np.ndarray, task: Task, config: ProbeConfig, draw: int, fit: Fit
) -> ChosenProbe:
    """Fit on all train rows, or on those of one few-shot draw."""
    labels = np.asarray(task.train.labels)
    if config.shots:
        try:
            rows = sample_shots(labels, kind=task.kind, shots=config.shots, seed=config.seed + draw)
        except ValueError as error:
            classes = task.kind == "classification"
            counts = np.bincount(labels, minlength=len(task.labels)) if classes else None
            fewest = len(labels) if counts is None else int(counts[counts > 0].min())
            rarest = (
                "the task has"
                if counts is None
                else f"class '{task.labels[int(np.flatnonzero(counts == fewest)[0])]}' has"
            )
            raise UsageError(
                f"probe.shots={config.shots} on task '{task.name}': {rarest} only {fewest} "
                f"train row{'' if fewest == 1 else 's'}",
                expected="at most the rows of the rarest class" if classes else "at most all rows",
                fix=f"probe.shots={fewest}",
            ) from error
        vectors, labels = vectors[rows], labels[rows]
    return fit(vectors, labels)


def _rule(decision: np.ndarray, task: Task, config: ProbeConfig) -> DecisionRule:
    """Return how a probe decides, fitted to its logits [N, C] of the validation rows."""
    if task.kind == "regression":
        return DecisionRule(kind=task.kind)
    return fit_rule(
        task.kind,
        decision,
        np.asarray(task.validation.labels),
        calibration=config.calibration,
        threshold=config.threshold,
        precision=config.precision,
    )


def _answers(rule: DecisionRule, decision: np.ndarray) -> dict[str, np.ndarray]:
    """Return `predictions`, and `probabilities` unless the task is a regression."""
    predictions = {"predictions": rule.predictions(decision)}
    if rule.kind == "regression":
        return predictions
    return predictions | {"probabilities": rule.probabilities(decision)}


def _uncalibrated(rule: DecisionRule, decision: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return the figures on probabilities before calibration; empty without one."""
    if rule.calibration is None:
        return {}
    plain = DecisionRule(kind=rule.kind).probabilities(decision)
    figures = probability_metrics(plain, labels)
    return {f"uncalibrated_{name}": value for name, value in figures.items()}


def _means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each figure over rows that have the same figures."""
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _evaluate(
    answers: Mapping[str, np.ndarray], labels: np.ndarray, task: Task, config: ProbeConfig
) -> Evaluation:
    return evaluate_predictions(
        task.kind,
        answers["predictions"],
        labels,
        task.num_outputs,
        probabilities=answers.get("probabilities"),
        metric=task.metric,
        bootstrap_samples=config.bootstrap_samples,
        seed=config.seed,
    )


def _classes(
    answers: Sequence[Mapping[str, np.ndarray]], labels: np.ndarray, task: Task
) -> list[dict[str, Any]]:
    """Return precision, recall, F1 and support of each class or label, means over draws.

    Empty for a regression.
    """
    if task.kind == "regression":
        return []
    draws = [class_scores(one["predictions"], labels, task.num_outputs) for one in answers]
    return [
        {"label": label}
        | {
            name: float(np.mean([draw[name][index] for draw in draws]))
            for name in ("precision", "recall", "f1")
        }
        | {"support": int(draws[0]["support"][index])}
        for index, label in enumerate(task.labels)
    ]


def _score(decision: np.ndarray, rows: Examples, task: Task) -> float:
    scored = scorable_from(task.metric, task.kind, decision)
    return score(task.metric, scored, np.asarray(rows.labels), task.num_outputs)


def _rows(task: Task, config: ProbeConfig) -> int:
    """Return the number of rows that each probe is fitted on."""
    if not config.shots:
        return len(task.train)
    return config.shots * (
        len(np.unique(task.train.labels)) if task.kind == "classification" else 1
    )


def _joint(tests: list[Evaluation], config: ProbeConfig) -> dict[str, Any]:
    """Return the test result.

    A single probe has an interval over rows; several draws have their mean and an interval over
    draws.
    """
    if len(tests) == 1:
        return {**asdict(tests[0]), "interval": f"{config.score_on} rows"}
    scores = np.array([test.score for test in tests])
    drawn = (
        np.random.default_rng(config.seed)
        .choice(scores, size=(config.bootstrap_samples, len(scores)))
        .mean(axis=1)
    )
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {
        "score": float(scores.mean()),
        "low": float(low),
        "high": float(high),
        "metrics": _means([test.metrics for test in tests]),
        "n": tests[0].n,
        "interval": "draws",
        "scores": scores.tolist(),
    }


def _describe(probe: ChosenProbe, validation: np.ndarray | None, task: Task) -> dict[str, Any]:
    """Return facts about one fit; after a choice, about each candidate as well."""
    described = {
        "reads": _reads(probe.chosen),
        "strength": probe.model.strength,
        "cv_scores": probe.model.cv_scores,
        "unconverged_fits": probe.model.unconverged_fits,
    }
    if len(probe.candidates) == 1:
        return described
    candidates = [
        {
            **_reads(candidate),
            "strength": model.strength,
            "cv_score": model.cv_score,
            "validation": None
            if validation is None
            else _score(probe.decision_with(index, validation), task.validation, task),
            "unconverged_fits": model.unconverged_fits,
        }
        for index, (candidate, model) in enumerate(zip(probe.candidates, probe.models, strict=True))
    ]
    return {**described, "candidates": candidates}


def _reads(candidate: Candidate) -> dict[str, Any]:
    """Return what of a vector a candidate reads, as lists."""
    return {
        "readings": list(candidate.readings),
        "layers": list(candidate.layers),
        "positions": list(candidate.positions),
    }


def _model_tensors(
    probes: Sequence[ChosenProbe], rules: Sequence[DecisionRule]
) -> dict[str, torch.Tensor]:
    """Return the arrays of each probe, named `<number>.<array>`, and those of its rule.

    They are those of the chosen candidate, for its segments alone.
    """
    of_models = {
        f"{number}.{name}": array
        for number, probe in enumerate(probes)
        for name, array in probe.model.arrays().items()
    }
    of_rules = {
        f"{number}.{RULE}{name}": array
        for number, rule in enumerate(rules)
        for name, array in rule.arrays().items()
    }
    return {name: torch.from_numpy(array) for name, array in (of_models | of_rules).items()}
