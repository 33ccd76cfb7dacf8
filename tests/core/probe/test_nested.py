"""Nested cross-validation against plain loops over scikit-learn's own parts."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from prefixbank.core.probe.fit import fit_probe
from prefixbank.core.probe.nested import nested_decisions
from prefixbank.core.probe.rows import assign_folds
from prefixbank.core.probe.solution import predictions_from
from prefixbank.errors import DataError
from tests.core.problems import classification, multilabel, regression

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)
CASES = {
    "classification": (*classification(60), "classification", "accuracy", 3),
    "multilabel": (*multilabel(60), "multilabel", "macro_f1", 3),
    "regression": (*regression(60), "regression", "r2", 1),
}


class Recorder:
    """A probe that remembers which rows it was fitted on; a row's number is its vector."""

    def __init__(self, vectors: np.ndarray, labels: np.ndarray) -> None:
        self.rows = set(vectors[:, 0].astype(int))

    def decision(self, vectors: np.ndarray) -> np.ndarray:
        assert not self.rows & set(vectors[:, 0].astype(int))
        return np.repeat(vectors[:, :1].astype(float), 3, axis=1)


def fitter(kind: str, metric: str, outputs: int, folds: int = 3):
    return partial(
        fit_probe, kind=kind, metric=metric, num_outputs=outputs, Cs=STRENGTHS, folds=folds, seed=0
    )


def test_every_row_is_predicted_once_by_a_probe_that_did_not_see_it():
    vectors, labels = np.arange(50)[:, None], np.arange(50) % 3
    decided, fold_of, probes = nested_decisions(
        vectors, labels, Recorder, kind="classification", num_outputs=3, outer_folds=5, seed=1
    )
    assert decided.tolist() == [[row] * 3 for row in range(50)]
    assert [probe.rows for probe in probes] == [
        set(np.flatnonzero(fold_of != fold)) for fold in range(5)
    ]


def test_regression_equals_a_nested_loop_of_sklearn():
    vectors, labels, kind, metric, outputs = CASES["regression"]
    vectors = vectors.astype(float)
    fold_of = assign_folds(labels, kind="regression", folds=4, seed=2)
    expected = np.empty(len(labels))
    chosen = []
    for fold in range(4):
        seen, held = fold_of != fold, fold_of == fold
        inner = PredefinedSplit(assign_folds(labels[seen], kind="regression", folds=3, seed=0))
        models = [
            make_pipeline(StandardScaler(), Ridge(alpha=1 / strength)) for strength in STRENGTHS
        ]
        scores = [
            r2_score(labels[seen], cross_val_predict(model, vectors[seen], labels[seen], cv=inner))
            for model in models
        ]
        chosen.append(STRENGTHS[int(np.argmax(scores))])
        expected[held] = (
            models[int(np.argmax(scores))].fit(vectors[seen], labels[seen]).predict(vectors[held])
        )
    decided, folds, probes = nested_decisions(
        vectors,
        labels,
        fitter(kind, metric, outputs),
        kind="regression",
        num_outputs=1,
        outer_folds=4,
        seed=2,
    )
    np.testing.assert_allclose(decided[:, 0], expected, atol=1e-7)
    assert (folds.tolist(), [probe.strength for probe in probes]) == (fold_of.tolist(), chosen)


class Wrapped(BaseEstimator):
    """Our probe at one strength in scikit-learn's clothes."""

    def __init__(self, strength: float = 1.0) -> None:
        self.strength = strength

    def fit(self, vectors: np.ndarray, labels: np.ndarray) -> Wrapped:
        self.model_ = fit_probe(vectors, labels, Cs=[self.strength], folds=2, seed=0, **self.KIND)
        return self

    def predict(self, vectors: np.ndarray) -> np.ndarray:
        return self.model_.predict(vectors)


class WrappedClassifier(ClassifierMixin, Wrapped):
    KIND = {"kind": "classification", "metric": "accuracy", "num_outputs": 3}

    def fit(self, vectors: np.ndarray, labels: np.ndarray) -> Wrapped:
        self.classes_ = np.unique(labels)
        return super().fit(vectors, labels)


class WrappedRegressor(RegressorMixin, Wrapped):
    KIND = {"kind": "regression", "metric": "r2", "num_outputs": 1}


@pytest.mark.parametrize(
    ("name", "wrapped"), [("classification", WrappedClassifier), ("regression", WrappedRegressor)]
)
def test_predictions_equal_cross_val_predict_over_the_chosen_strengths(name, wrapped):
    vectors, labels, kind, metric, outputs = CASES[name]
    decided, fold_of, probes = nested_decisions(
        vectors,
        labels,
        fitter(kind, metric, outputs),
        kind=kind,
        num_outputs=outputs,
        outer_folds=3,
        seed=0,
    )
    predicted = predictions_from(kind, decided)
    for fold, probe in enumerate(probes):
        outer = PredefinedSplit(fold_of)
        of_strength = cross_val_predict(wrapped(probe.strength), vectors, labels, cv=outer)
        np.testing.assert_allclose(predicted[fold_of == fold], of_strength[fold_of == fold])


def test_strengths_are_those_of_a_grid_search_on_the_other_folds():
    """With folds of equal size the mean accuracy of a grid search ranks strengths as the accuracy
    over all rows does.
    """
    vectors, labels, kind, metric, outputs = CASES["classification"]
    _, fold_of, probes = nested_decisions(
        vectors,
        labels,
        fitter(kind, metric, outputs),
        kind=kind,
        num_outputs=outputs,
        outer_folds=2,
        seed=0,
    )
    for fold, probe in enumerate(probes):
        seen = fold_of != fold
        inner = PredefinedSplit(assign_folds(labels[seen], kind=kind, folds=3, seed=0))
        grid = GridSearchCV(
            WrappedClassifier(), {"strength": STRENGTHS}, cv=inner, refit=False
        ).fit(vectors[seen], labels[seen])
        assert probe.strength == STRENGTHS[int(grid.cv_results_["mean_test_score"].argmax())]


@pytest.mark.parametrize(
    ("name", "dtype"), [("classification", "i"), ("multilabel", "u"), ("regression", "f")]
)
def test_decisions_give_predictions_that_look_like_labels(name, dtype):
    vectors, labels, kind, metric, outputs = CASES[name]
    decided, *_ = nested_decisions(
        vectors,
        labels,
        fitter(kind, metric, outputs),
        kind=kind,
        num_outputs=outputs,
        outer_folds=2,
        seed=0,
    )
    predicted = predictions_from(kind, decided)
    assert (predicted.shape, predicted.dtype.kind) == (labels.shape, dtype)


def test_outer_folds_hold_equal_shares_of_every_class():
    labels = np.repeat([0, 1], [40, 20])
    _, fold_of, _ = nested_decisions(
        np.arange(60)[:, None],
        labels,
        Recorder,
        kind="classification",
        num_outputs=3,
        outer_folds=10,
        seed=0,
    )
    assert [np.bincount(labels[fold_of == fold]).tolist() for fold in range(10)] == [[4, 2]] * 10


def test_rows_that_cannot_be_held_out_are_refused():
    with pytest.raises(DataError, match="nested cross-validation of 3 rows"):
        nested_decisions(
            np.zeros((3, 1)),
            np.arange(3),
            Recorder,
            kind="classification",
            num_outputs=3,
            outer_folds=2,
            seed=0,
        )
