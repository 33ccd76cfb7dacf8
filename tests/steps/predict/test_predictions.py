"""What heads say, as values, names and columns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from prefixbank.artifacts.predictions import printed_lines, write_rows
from prefixbank.choices import Kind
from prefixbank.core.layout import Layout
from prefixbank.core.probe.decision import DecisionRule
from prefixbank.core.probe.solution import Solution
from prefixbank.steps.predict.loaded_head import LoadedHead, Predictions, predictions_of
from prefixbank.steps.predict.make import columns_of

DECISION = np.array([[2.0, 0.0, -1.0], [0.1, 0.2, 0.0], [-3.0, -2.0, -2.5]])
NAMES = ("red", "green", "blue")


def said(
    kind: Kind,
    abstain_below: float = 0.0,
    decision: np.ndarray = DECISION,
    rule: DecisionRule | None = None,
) -> Predictions:
    def take(vectors: Sequence[np.ndarray], layouts: Sequence[Layout]) -> np.ndarray:
        return decision

    names = () if kind == "regression" else NAMES
    outputs = decision.shape[1]
    head = LoadedHead(
        name="head",
        rule=rule or DecisionRule(kind=kind),
        labels=names,
        take=take,
        solution=Solution(weights=np.eye(outputs), bias=np.zeros(outputs)),
    )
    return predictions_of(head, [], [], abstain_below)


def test_class_is_the_most_probable_one():
    found = said("classification")
    odds = [np.exp(row) / np.exp(row).sum() for row in DECISION]
    assert np.allclose(found.probabilities, odds)
    assert found.labels == ["red", "green", "green"] and found.values.tolist() == [0, 1, 1]
    assert not found.abstained.any()


def test_no_class_is_named_below_the_limit():
    found = said("classification", abstain_below=0.5)
    largest = np.array([np.exp(row).max() / np.exp(row).sum() for row in DECISION])
    assert found.abstained.tolist() == (largest < 0.5).tolist() == [False, True, False]
    assert found.labels == ["red", None, "green"]
    assert said("classification", float(largest[1])).labels == ["red", "green", "green"]


def test_class_without_a_train_row_has_no_probability():
    decision = np.array([[0.0, -1e30, 1.0]])
    found = said("classification", decision=decision)
    assert found.probabilities is not None and found.probabilities[0, 1] == 0


def test_class_that_is_named_by_its_threshold_has_its_own_probability():
    rule = DecisionRule(kind="classification", thresholds=np.array([0.2]))
    found = said("classification", decision=np.array([[1.0, 0.0], [3.0, 0.0]]), rule=rule)
    odds = 1 / (1 + np.exp([1.0, 3.0]))
    assert odds[0] > 0.2 > odds[1] and found.labels == ["green", "red"]
    probability = columns_of("head", found, classes=False)["head.probability"].to_pylist()
    assert probability == pytest.approx([odds[0], 1 - odds[1]])


def test_class_that_is_named_by_its_threshold_is_left_out_below_the_limit():
    rule = DecisionRule(kind="classification", thresholds=np.array([0.2]))
    decision = np.array([[1.0, 0.0], [3.0, 0.0]])
    found = said("classification", abstain_below=0.5, decision=decision, rule=rule)
    assert found.labels == [None, "red"] and found.abstained.tolist() == [True, False]


def test_labels_are_those_that_are_more_probable_than_not():
    found = said("multilabel", abstain_below=0.9)
    assert np.allclose(found.probabilities, 1 / (1 + np.exp(-DECISION)))
    assert found.labels == [["red"], ["red", "green"], []] and not found.abstained.any()


def test_value_of_a_regression_has_no_probability():
    found = said("regression", decision=DECISION[:, :1])
    assert (found.labels, found.probabilities) == ([2.0, 0.1, -3.0], None)
    assert list(columns_of("head", found, classes=True)) == ["head"]


def test_columns_of_a_class():
    columns = columns_of("head", said("classification", 0.5), classes=True)
    assert {name: column.to_pylist() for name, column in columns.items() if ":" not in name} == {
        "head": ["red", None, "green"],
        "head.probability": said("classification").probabilities.max(axis=1).tolist(),
        "head.abstained": [False, True, False],
    }
    assert np.allclose(sum(np.asarray(columns[f"head:{name}"]) for name in NAMES), 1)


def test_columns_of_labels():
    columns = columns_of("head", said("multilabel"), classes=False)
    assert columns["head"].to_pylist() == [["red"], ["red", "green"], []]
    probabilities = columns["head.probability"].to_pylist()
    assert [len(row) for row in probabilities] == [1, 2, 0]
    assert probabilities[1] == pytest.approx((1 / (1 + np.exp(-DECISION[1, :2]))).tolist())


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_rows_are_read_again_as_json(tmp_path: Path, form: str):
    table = pa.table({"id": [0, 1], "head": [["a", "\u00e4"], []], "empty": ["x", None]})
    write_rows(table, tmp_path / f"part-00000.{form}", form)
    write_rows(table.slice(1), tmp_path / f"part-00001.{form}", form)
    rows = table.to_pylist()
    assert [json.loads(line) for line in printed_lines(sorted(tmp_path.iterdir()))] == [
        *rows,
        rows[1],
    ]
