"""Task heads and losses against numpy formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from prefixbank.choices import Kind
from prefixbank.core.training.heads import loss_of, new_head, predictions_of, scorable_of

GENERATOR = np.random.default_rng(0)
OUTPUTS = GENERATOR.normal(size=(6, 4)) * 3
VALUES = GENERATOR.normal(size=(6, 1))


def loss(
    kind: Kind, outputs: np.ndarray, labels: np.ndarray, dtype: torch.dtype = torch.float32
) -> float:
    return float(loss_of(kind, torch.from_numpy(outputs).to(dtype), torch.from_numpy(labels)))


def test_classification_loss_is_the_mean_negative_log_probability_of_the_class():
    labels = np.array([0, 3, 1, 1, 2, 0])
    log_probabilities = OUTPUTS - np.log(np.exp(OUTPUTS).sum(axis=1, keepdims=True))
    assert loss("classification", OUTPUTS, labels) == pytest.approx(
        -log_probabilities[np.arange(6), labels].mean(), rel=1e-5
    )


def test_multilabel_loss_is_the_mean_binary_cross_entropy_over_rows_and_labels():
    flags = (GENERATOR.random((6, 4)) < 0.5).astype(np.float32)
    shares = 1 / (1 + np.exp(-OUTPUTS))
    expected = -(flags * np.log(shares) + (1 - flags) * np.log(1 - shares)).mean()
    assert loss("multilabel", OUTPUTS, flags) == pytest.approx(expected, rel=1e-5)


def test_metric_of_the_order_scores_probabilities():
    odds = np.exp(OUTPUTS) / np.exp(OUTPUTS).sum(axis=1, keepdims=True)
    outputs = torch.from_numpy(OUTPUTS)
    found = scorable_of("roc_auc", "classification", outputs)
    assert found == pytest.approx(odds)
    flags = scorable_of("average_precision", "multilabel", outputs)
    assert flags == pytest.approx(1 / (1 + np.exp(-OUTPUTS)))
    assert scorable_of("accuracy", "classification", outputs).tolist() == odds.argmax(1).tolist()


@pytest.mark.parametrize("rows", [1, 6])
def test_regression_loss_is_the_mean_squared_error(rows: int):
    labels = GENERATOR.normal(size=rows).astype(np.float32)
    assert loss("regression", VALUES[:rows], labels) == pytest.approx(
        ((VALUES[:rows, 0] - labels) ** 2).mean(), rel=1e-5
    )


@pytest.mark.parametrize(
    ("kind", "outputs", "labels"),
    [
        ("classification", OUTPUTS, np.zeros(6, np.int64)),
        ("multilabel", OUTPUTS, np.zeros((6, 4), np.float32)),
        ("regression", VALUES, np.zeros(6, np.float32)),
    ],
)
def test_loss_of_half_precision_outputs_is_computed_in_single_precision(
    kind: Kind, outputs: np.ndarray, labels: np.ndarray
):
    assert (
        loss_of(kind, torch.from_numpy(outputs).bfloat16(), torch.from_numpy(labels)).dtype
        == torch.float32
    )


def test_class_predictions_are_the_largest_output():
    predictions = predictions_of(
        "classification", torch.tensor([[0.1, 0.3, 0.2], [2.0, -1.0, 1.9]])
    )
    assert predictions.dtype == np.int64 and predictions.tolist() == [1, 0]


def test_label_flags_are_outputs_above_probability_one_half():
    predictions = predictions_of("multilabel", torch.tensor([[0.1, -0.1], [-3.0, 0.0]]))
    assert predictions.dtype == np.uint8 and predictions.tolist() == [[1, 0], [0, 0]]


def test_values_are_the_only_output():
    predictions = predictions_of("regression", torch.tensor([[0.5], [-2.0]]))
    assert predictions.dtype == np.float64 and predictions.tolist() == [0.5, -2.0]


def test_head_comes_from_its_seed():
    one, same, other = (new_head(5, 3, seed).weight for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_head_leaves_the_global_random_state_alone():
    before = torch.random.get_rng_state()
    head = new_head(5, 3, 7)
    assert head.weight.shape == (3, 5) and torch.equal(torch.random.get_rng_state(), before)
