"""MLP probes against scikit-learn and against their definition."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import scipy.special
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_info, threadpool_limits

from prefixbank.core.probe import fit as probe
from prefixbank.core.probe import mlp as probe_mlp
from prefixbank.core.probe.fit import fit_probe
from prefixbank.core.probe.model import ProbeModel
from prefixbank.core.probe.solution import ABSENT_CLASS_LOGIT
from tests.core.problems import FEATURES, classification, multilabel, regression

HIDDEN = 5
CASES = {
    "classification": (*classification(90), "classification", "accuracy", 3),
    "binary": (*classification(90, num_classes=2), "classification", "matthews", 2),
    "multilabel": (*multilabel(90), "multilabel", "macro_f1", 3),
    "regression": (*regression(90), "regression", "spearman", 1),
}
every_kind = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def fit(
    vectors,
    labels,
    kind,
    metric,
    outputs,
    *,
    Cs=(0.01, 0.1, 1.0),
    folds=2,
    seed=0,
    class_weight="none",
) -> ProbeModel:
    given = {"Cs": Cs, "folds": folds, "seed": seed, "model": "mlp", "hidden_size": HIDDEN}
    given["class_weight"] = class_weight
    return fit_probe(vectors, labels, kind=kind, metric=metric, num_outputs=outputs, **given)


def pipeline(model: type, strength: float) -> Pipeline:
    settings = {
        "alpha": 1 / strength,
        "max_iter": probe_mlp.MAX_ITERATIONS,
        "tol": probe_mlp.TOLERANCE,
        "random_state": 0,
    }
    return make_pipeline(
        StandardScaler(),
        model(hidden_layer_sizes=(HIDDEN,), activation="tanh", solver="lbfgs", **settings),
    )


@pytest.mark.parametrize("name", ["classification", "binary"])
def test_probabilities_equal_those_of_a_sklearn_pipeline(name):
    vectors, labels, *rest = CASES[name]
    found = scipy.special.softmax(fit(vectors, labels, *rest, Cs=[0.1]).decision(vectors), axis=1)
    expected = (
        pipeline(MLPClassifier, 0.1)
        .fit(vectors.astype(float), labels)
        .predict_proba(vectors.astype(float))
    )
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_multilabel_probabilities_equal_those_of_a_sklearn_pipeline():
    vectors, labels, *rest = CASES["multilabel"]
    found = scipy.special.expit(fit(vectors, labels, *rest, Cs=[0.1]).decision(vectors))
    expected = (
        pipeline(MLPClassifier, 0.1)
        .fit(vectors.astype(float), labels)
        .predict_proba(vectors.astype(float))
    )
    np.testing.assert_allclose(found, expected, atol=1e-3)


def balanced_weights(labels: np.ndarray) -> np.ndarray:
    """n / (C * n_c) of each row; of several labels their product."""
    columns = labels.T if labels.ndim == 2 else labels[None]
    weights = np.ones(len(labels))
    for column in columns:
        classes = set(column.tolist())
        for row, value in enumerate(column):
            weights[row] *= len(column) / (len(classes) * (column == value).sum())
    return weights


@pytest.mark.parametrize("name", ["classification", "binary", "multilabel"])
def test_balanced_probabilities_equal_those_of_a_sklearn_pipeline_of_weighted_rows(name):
    vectors, labels, *rest = CASES[name]
    kept = (labels if labels.ndim == 1 else labels[:, 0]) != 0
    kept[::4] = True
    vectors, labels = vectors[kept], labels[kept]
    logits = fit(vectors, labels, *rest, Cs=[0.1], class_weight="balanced").decision(vectors)
    found = (
        scipy.special.expit(logits)
        if name == "multilabel"
        else scipy.special.softmax(logits, axis=1)
    )
    expected = pipeline(MLPClassifier, 0.1).fit(
        vectors.astype(float), labels, mlpclassifier__sample_weight=balanced_weights(labels)
    )
    np.testing.assert_allclose(found, expected.predict_proba(vectors.astype(float)), atol=1e-3)


def test_values_equal_those_of_a_sklearn_pipeline_on_standardised_labels():
    vectors, labels, *rest = CASES["regression"]
    standard = (labels - labels.mean()) / labels.std()
    expected = (
        pipeline(MLPRegressor, 0.1)
        .fit(vectors.astype(float), standard)
        .predict(vectors.astype(float))
    )
    found = fit(vectors, labels, *rest, Cs=[0.1]).predict(vectors)
    np.testing.assert_allclose(found, expected * labels.std() + labels.mean(), atol=1e-3)


def test_unit_of_regression_labels_does_not_matter():
    vectors, labels, *rest = CASES["regression"]
    found, scaled = (
        fit(vectors, values, *rest).predict(vectors) for values in (labels, 1000 * labels + 5)
    )
    np.testing.assert_allclose(scaled, 1000 * found + 5, rtol=1e-3, atol=1)


def objective(
    model: ProbeModel, vectors: np.ndarray, labels: np.ndarray, flat: np.ndarray
) -> float:
    """The documented objective of a classification.

    Sum of cross-entropies + |W|^2 / (2 S), from all parameters in one row.
    """
    sizes = [FEATURES * HIDDEN, HIDDEN, HIDDEN * 3]
    first, first_bias, second, second_bias = np.split(flat, np.cumsum(sizes))
    hidden = np.tanh(
        (vectors - model.mean) / model.scale @ first.reshape(FEATURES, HIDDEN) + first_bias
    )
    logits = hidden @ second.reshape(HIDDEN, 3) + second_bias
    loss = -scipy.special.log_softmax(logits, axis=1)[np.arange(len(labels)), labels].sum()
    return float(loss + ((first**2).sum() + (second**2).sum()) / (2 * model.strength))


def test_fit_is_a_minimum_of_the_documented_objective(monkeypatch):
    monkeypatch.setattr(probe_mlp, "TOLERANCE", 1e-7)
    vectors, labels, *rest = CASES["classification"]
    model = fit(vectors, labels, *rest, Cs=[0.5])
    flat = np.concatenate(
        [
            array.ravel()
            for array in (model.hidden_weights, model.hidden_bias, model.weights, model.bias)
        ]
    )
    gradient = scipy.optimize.approx_fprime(
        flat, lambda at: objective(model, vectors, labels, at), 1e-6
    )
    assert np.abs(gradient).max() < 0.02


def test_hidden_layer_learns_what_no_linear_probe_can():
    vectors = np.random.default_rng(0).normal(size=(300, 2))
    labels = (vectors[:, 0] * vectors[:, 1] > 0).astype(int)
    scores = {}
    for name in ("linear", "mlp"):
        model = fit_probe(
            vectors,
            labels,
            kind="classification",
            metric="accuracy",
            num_outputs=2,
            Cs=[10.0],
            folds=3,
            seed=0,
            model=name,
        )
        scores[name] = model.cv_scores["10.0"]
    assert scores["linear"] < 0.65 and scores["mlp"] > 0.9


@every_kind
def test_fit_is_repeatable_bit_by_bit(case):
    first, second = fit(*case), fit(*case)
    assert [first.hidden_weights.tobytes(), first.weights.tobytes(), first.cv_scores] == [
        second.hidden_weights.tobytes(),
        second.weights.tobytes(),
        second.cv_scores,
    ]


def test_seed_chooses_where_a_fit_starts():
    first, second = (fit(*CASES["classification"], Cs=[1.0], seed=seed) for seed in (0, 1))
    assert np.abs(first.hidden_weights - second.hidden_weights).max() > 1e-3


@every_kind
def test_strength_with_the_best_cross_validation_score_is_chosen(case):
    model = fit(*case)
    assert len(model.cv_scores) == 3 and model.cv_score == max(model.cv_scores.values())


def test_cross_validation_score_of_a_strength_does_not_depend_on_the_others():
    together = fit(*CASES["classification"]).cv_scores
    assert together == {
        repr(one): fit(*CASES["classification"], Cs=[one]).cv_scores[repr(one)]
        for one in (0.01, 0.1, 1.0)
    }


@pytest.mark.parametrize("present", [[0, 2, 5], [1, 3], [4]], ids=str)
def test_absent_class_is_never_predicted(present):
    vectors, position = classification(40, num_classes=len(present))
    model = fit(vectors, np.array(present)[position], "classification", "macro_f1", 6, Cs=[1.0])
    far_away = np.random.default_rng(0).normal(size=(300, FEATURES)) * 1e6
    assert set(model.predict(far_away)) <= set(present) and len(model.bias) == 6


@pytest.mark.parametrize("constant", [(1,), (0, 1), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("value", [0, 1])
def test_label_that_never_changes_is_predicted_as_it_was(constant, value):
    vectors, labels = multilabel(60)
    labels[:, list(constant)] = value
    model = fit(vectors, labels, "multilabel", "f1", 3, Cs=[1.0])
    assert set(model.predict(vectors * 1e3)[:, list(constant)].ravel()) == {value}
    assert set(np.abs(model.bias[list(constant)])) == {-ABSENT_CLASS_LOGIT}


def test_constant_value_is_predicted():
    vectors, labels = regression(30)
    model = fit(vectors, np.full_like(labels, 2.5), "regression", "r2", 1, Cs=[1.0])
    assert set(model.predict(vectors * 10)) == {2.5}


@pytest.mark.parametrize("name", CASES)
def test_fits_that_stop_early_are_counted_instead_of_warned_about(name, monkeypatch):
    monkeypatch.setattr(probe_mlp, "MAX_ITERATIONS", 1)
    assert fit(*CASES[name], Cs=(1.0, 10.0), folds=3).unconverged_fits == 2 * 3 + 1


@every_kind
def test_fits_converge_when_left_alone(case):
    assert fit(*case).unconverged_fits == 0


def test_linear_algebra_runs_on_one_thread_when_more_are_allowed(monkeypatch):
    threads, solve = [], probe.solve_mlp

    def observed(*given, **named):
        threads.extend(pool["num_threads"] for pool in threadpool_info())
        return solve(*given, **named)

    monkeypatch.setattr(probe, "solve_mlp", observed)
    with threadpool_limits(2):
        fit(*CASES["regression"], Cs=[0.1])
    assert set(threads) == {1}


def test_decision_is_a_tanh_layer_on_standardised_vectors():
    model = ProbeModel(
        kind="regression",
        hidden_weights=np.array([[2.0], [10.0]]),
        hidden_bias=np.array([-27.0]),
        weights=np.array([[3.0]]),
        bias=np.array([0.5]),
        mean=np.array([1.0, -1.0]),
        scale=np.array([2.0, 4.0]),
        strength=1.0,
        cv_scores={},
        unconverged_fits=0,
    )
    inside = 2 * (5 - 1) / 2 + 10 * (10 + 1) / 4 - 27
    assert model.decision(np.array([[5.0, 10.0]]))[0, 0] == pytest.approx(3 * np.tanh(inside) + 0.5)


def test_arrays_have_a_hidden_layer_only_where_there_is_one():
    vectors, labels, kind, metric, outputs = CASES["regression"]
    linear = fit_probe(
        vectors, labels, kind=kind, metric=metric, num_outputs=outputs, Cs=[1.0], folds=2, seed=0
    )
    mlp = fit(*CASES["regression"], Cs=[1.0])
    assert set(mlp.arrays()) - set(linear.arrays()) == {"hidden_weights", "hidden_bias"}
    assert {name: array.shape for name, array in mlp.arrays().items() if "hidden" in name} == {
        "hidden_weights": (FEATURES, HIDDEN),
        "hidden_bias": (HIDDEN,),
    }
