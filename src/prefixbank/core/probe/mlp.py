"""MLP probes: one hidden layer of H tanh units, at each strength of a path.

Objectives on standardised vectors, with strength S and weights W of both layers; biases are not
penalised:

* classification: sum over rows of the softmax cross-entropy + |W|^2 / (2 S);
* multilabel: the same with the sum of one logistic loss for each label; the labels share the hidden
  layer;
* regression: sum over rows of squared errors of the standardised labels + |W|^2 / S.

With balanced class weights, the loss of a row counts n / (C * n_c) times, as for a linear probe; a
row of a multilabel task, whose labels have one loss, the product of this over labels.

So S means the same as for a linear probe. scikit-learn divides the objective by N; its `alpha` is
1 / S. The solver is L-BFGS on all rows at once: it needs no learning rate and no batches, and is
deterministic for a seed. The units are tanh, since L-BFGS needs a smooth loss; with ReLU it often
does not converge. Each strength starts from the same seeded weights, and not from the solution
before: strong regularisation shrinks all weights to 0, where every later fit would stay.
"""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.utils.class_weight import compute_sample_weight

from prefixbank.choices import ClassWeight, Kind
from prefixbank.core.probe.linear import fit_quietly
from prefixbank.core.probe.solution import ABSENT_CLASS_LOGIT, Solution, spread_classes

MAX_ITERATIONS = 500
"""Limit of one fit. Sentence vectors of a thousand rows need tens to hundreds."""

TOLERANCE = 1e-4
"""A fit stops when no component of the gradient of the mean loss is larger."""


def solve_mlp(
    kind: Kind,
    x: np.ndarray,
    labels: np.ndarray,
    path: list[float],
    num_outputs: int,
    *,
    class_weight: ClassWeight,
    hidden_size: int,
    seed: int,
) -> list[Solution]:
    """Fit standardised x [N, F] at each strength of the path, all from the same start weights."""
    row_weights = None if class_weight == "none" else compute_sample_weight(class_weight, labels)
    return [
        _solve_one(kind, x, labels, row_weights, strength, num_outputs, hidden_size, seed)
        for strength in path
    ]


def _solve_one(
    kind: Kind,
    x: np.ndarray,
    labels: np.ndarray,
    row_weights: np.ndarray | None,
    strength: float,
    num_outputs: int,
    hidden_size: int,
    seed: int,
) -> Solution:
    match kind:
        case "classification":
            classes = np.unique(labels)
            fitted = (
                _fit(x, labels, row_weights, strength, hidden_size, seed, regression=False)
                if len(classes) > 1
                else _constant(x, np.zeros(1))
            )
            return spread_classes(fitted, classes, num_outputs)
        case "multilabel":
            return _solve_labels(x, labels, row_weights, strength, hidden_size, seed)
        case "regression":
            mean, scale = float(labels.mean()), float(labels.std())
            if labels.min() == labels.max():
                return _constant(x, np.full(1, mean))
            standard = (labels - mean) / scale
            fitted = _fit(x, standard, None, strength, hidden_size, seed, regression=True)
            return replace(fitted, weights=fitted.weights * scale, bias=fitted.bias * scale + mean)
    assert_never(kind)


def _solve_labels(
    x: np.ndarray,
    labels: np.ndarray,
    row_weights: np.ndarray | None,
    strength: float,
    hidden_size: int,
    seed: int,
) -> Solution:
    """Fit labels [N, C] together, those that vary.

    The bias is `ABSENT_CLASS_LOGIT` for a label that no row has, and minus that for a label that
    every row has.
    """
    varies = labels.min(axis=0) < labels.max(axis=0)
    bias = np.where(labels[0] > 0, -ABSENT_CLASS_LOGIT, ABSENT_CLASS_LOGIT)
    if not varies.any():
        return _constant(x, bias)
    # scikit-learn warns about a single column unless it is flat.
    fitted = _fit(
        x,
        labels[:, varies] if varies.sum() > 1 else labels[:, varies][:, 0],
        row_weights,
        strength,
        hidden_size,
        seed,
        regression=False,
    )
    weights = np.zeros((len(fitted.weights), len(varies)))
    weights[:, varies], bias[varies] = fitted.weights, fitted.bias
    return replace(fitted, weights=weights, bias=bias)


def _fit(
    x: np.ndarray,
    labels: np.ndarray,
    row_weights: np.ndarray | None,
    strength: float,
    hidden_size: int,
    seed: int,
    *,
    regression: bool,
) -> Solution:
    """Fit labels that vary: values [N], classes [N] or label columns [N, C].

    Two classes give one column, the logit of the second.
    """
    settings = {
        "hidden_layer_sizes": (hidden_size,),
        "activation": "tanh",
        "solver": "lbfgs",
        "alpha": 1 / strength,
        "max_iter": MAX_ITERATIONS,
        "tol": TOLERANCE,
        "random_state": seed,
    }
    model = MLPRegressor(**settings) if regression else MLPClassifier(**settings)
    unconverged = fit_quietly(model, x.astype(np.float64), labels, row_weights)
    (hidden_weights, weights), (hidden_bias, bias) = model.coefs_, model.intercepts_
    return Solution(
        weights=weights,
        bias=bias,
        hidden_weights=hidden_weights,
        hidden_bias=hidden_bias,
        unconverged=unconverged,
    )


def _constant(x: np.ndarray, bias: np.ndarray) -> Solution:
    """Return the solution whose decision is `bias` for every vector: one hidden unit at 0."""
    hidden_weights, hidden_bias = np.zeros((x.shape[1], 1)), np.zeros(1)
    return Solution(
        weights=np.zeros((1, len(bias))),
        bias=bias,
        hidden_weights=hidden_weights,
        hidden_bias=hidden_bias,
    )
