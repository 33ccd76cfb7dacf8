from __future__ import annotations

import io
import json
from dataclasses import fields, replace

import numpy as np
import pytest
import scipy.special
import scipy.stats
import sklearn.metrics as sk
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_info, threadpool_limits

from prefixbank.core.probe import linear as probe_linear
from prefixbank.core.probe.fit import fit_probe
from prefixbank.core.probe.model import ProbeModel, check_vectors, evaluate_predictions
from prefixbank.core.probe.rows import assign_folds, sample_shots
from prefixbank.core.probe.solution import ABSENT_CLASS_LOGIT, probabilities_from
from prefixbank.core.stats.bootstrap import bootstrap_interval
from prefixbank.errors import DataError, UsageError
from tests.core.problems import FEATURES, classification, multilabel, regression

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)


def fit(
    vectors: np.ndarray,
    labels: np.ndarray,
    kind: str,
    metric: str,
    outputs: int,
    *,
    Cs=STRENGTHS,
    folds: int = 5,
    seed: int = 0,
    class_weight: str = "none",
) -> ProbeModel:
    return fit_probe(
        vectors,
        labels,
        kind=kind,
        metric=metric,
        num_outputs=outputs,
        Cs=Cs,
        folds=folds,
        seed=seed,
        class_weight=class_weight,
    )


CASES = {
    "classification": (*classification(), "classification", "accuracy", 3),
    "binary": (*classification(num_classes=2), "classification", "matthews", 2),
    "multilabel": (*multilabel(), "multilabel", "macro_f1", 3),
    "regression": (*regression(), "regression", "spearman", 1),
}
every_kind = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def pipeline(model: LogisticRegression | Ridge) -> Pipeline:
    return make_pipeline(StandardScaler(), model)


def exact_logistic(strength: float, class_weight: str | None = None) -> Pipeline:
    return pipeline(
        LogisticRegression(C=strength, tol=1e-8, max_iter=20000, class_weight=class_weight)
    )


@pytest.mark.parametrize("name", ["classification", "binary", "multilabel"])
@pytest.mark.parametrize("metric", ["average_precision", "roc_auc"])
def test_strength_with_the_best_order_of_held_out_probabilities_is_chosen(name, metric):
    vectors, labels, kind, _, outputs = CASES[name]
    model = fit(vectors, labels, kind, metric, outputs, Cs=[1e-4, 1e-2, 1.0], folds=3)
    fold_of = assign_folds(labels, kind=kind, folds=3, seed=0)
    reference = {"average_precision": sk.average_precision_score, "roc_auc": sk.roc_auc_score}
    truth = np.eye(outputs)[labels] if kind == "classification" else labels
    columns = [1] if name == "binary" else range(outputs)
    for strength, found in model.cv_scores.items():
        held_out = np.zeros((len(labels), outputs))
        for fold in range(3):
            held = fold_of == fold
            for column in columns if kind == "multilabel" else [slice(None)]:
                target = labels[:, column] if kind == "multilabel" else labels
                fitted = exact_logistic(float(strength)).fit(vectors[~held], target[~held])
                odds = fitted.predict_proba(vectors[held])
                held_out[held, column] = odds[:, 1] if kind == "multilabel" else odds
        each = [reference[metric](truth[:, one], held_out[:, one]) for one in columns]
        assert found == pytest.approx(np.mean(each), abs=2e-3)
    assert model.cv_score == max(model.cv_scores.values())


@pytest.mark.parametrize("strength", [1e-3, 1.0])
def test_class_weights_equal_those_of_a_sklearn_pipeline(strength):
    vectors, labels = classification()
    model = fit(vectors, labels, "classification", "accuracy", 3, Cs=[strength])
    expected = exact_logistic(strength).fit(vectors.astype(float), labels)[-1]
    np.testing.assert_allclose(
        model.weights, expected.coef_.T, atol=2e-3 * np.abs(expected.coef_).max()
    )
    np.testing.assert_allclose(
        model.bias, expected.intercept_, atol=2e-3 * np.abs(expected.coef_).max()
    )


def test_binary_decision_gives_the_probabilities_of_a_sklearn_pipeline():
    vectors, labels = classification(num_classes=2)
    model = fit(vectors, labels, "classification", "f1", 2, Cs=[0.1])
    expected = (
        exact_logistic(0.1).fit(vectors.astype(float), labels).predict_proba(vectors.astype(float))
    )
    np.testing.assert_allclose(
        scipy.special.softmax(model.decision(vectors), axis=1), expected, atol=2e-3
    )


def test_multilabel_decision_gives_the_probabilities_of_one_sklearn_pipeline_for_each_label():
    vectors, labels = multilabel()
    model = fit(vectors, labels, "multilabel", "f1", 3, Cs=[0.1])
    expected = [
        exact_logistic(0.1)
        .fit(vectors.astype(float), column)
        .predict_proba(vectors.astype(float))[:, 1]
        for column in labels.T
    ]
    np.testing.assert_allclose(
        scipy.special.expit(model.decision(vectors)), np.transpose(expected), atol=2e-3
    )


def rare(labels: np.ndarray) -> np.ndarray:
    """Whether to keep a row, so that class 0 gets rare."""
    return (labels != 0) | (np.arange(len(labels)) % 5 == 0)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_balanced_classes_give_the_probabilities_of_a_sklearn_pipeline(num_classes):
    vectors, labels = classification(num_classes=num_classes)
    vectors, labels = vectors[rare(labels)], labels[rare(labels)]
    model, plain = (
        fit(vectors, labels, "classification", "accuracy", num_classes, Cs=[0.1], class_weight=one)
        for one in ("balanced", "none")
    )
    expected = exact_logistic(0.1, "balanced").fit(vectors.astype(float), labels)
    found = scipy.special.softmax(model.decision(vectors), axis=1)
    np.testing.assert_allclose(found, expected.predict_proba(vectors.astype(float)), atol=2e-3)
    unweighted = scipy.special.softmax(plain.decision(vectors), axis=1)
    assert (found[:, 0].mean() - unweighted[:, 0].mean()) > 0.02


def test_balanced_labels_give_the_probabilities_of_one_balanced_pipeline_for_each_label():
    vectors, labels = multilabel()
    model = fit(vectors, labels, "multilabel", "f1", 3, Cs=[0.1], class_weight="balanced")
    expected = [
        exact_logistic(0.1, "balanced")
        .fit(vectors.astype(float), column)
        .predict_proba(vectors.astype(float))[:, 1]
        for column in labels.T
    ]
    np.testing.assert_allclose(
        scipy.special.expit(model.decision(vectors)), np.transpose(expected), atol=2e-3
    )


def test_balanced_classes_with_more_features_than_rows_equal_a_sklearn_pipeline():
    vectors, labels, new = wide()
    model = fit(vectors, labels, "classification", "accuracy", 3, Cs=[0.1], class_weight="balanced")
    expected = exact_logistic(0.1, "balanced").fit(vectors, labels).predict_proba(new)
    found = scipy.special.softmax(model.decision(new), axis=1)
    np.testing.assert_allclose(found, expected, atol=2e-3)


def wide(rows: int = 40, features: int = 150) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return vectors with more features than rows, one constant, and labels; new vectors."""
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(2 * rows, features)) @ generator.normal(
        size=(features, features)
    )
    vectors[:, 1] = 3.0
    labels = (vectors[:, 0] > 0).astype(np.int64) + (vectors[:, 2] > 0)
    return vectors[:rows], labels[:rows], vectors[rows:]


@pytest.mark.parametrize("strength", [1e-4, 1.0])
def test_more_features_than_rows_give_the_probabilities_of_a_sklearn_pipeline(strength):
    vectors, labels, new = wide()
    model = fit(vectors, labels, "classification", "accuracy", 3, Cs=[strength])
    expected = exact_logistic(strength).fit(vectors, labels).predict_proba(new)
    found = scipy.special.softmax(model.decision(new), axis=1)
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_labels_with_more_features_than_rows_give_the_probabilities_of_sklearn_pipelines():
    vectors, classes, new = wide()
    labels = np.stack([classes > 0, classes > 1], axis=1).astype(np.uint8)
    model = fit(vectors, labels, "multilabel", "f1", 2, Cs=[0.1])
    expected = [
        exact_logistic(0.1).fit(vectors, column).predict_proba(new)[:, 1] for column in labels.T
    ]
    np.testing.assert_allclose(
        scipy.special.expit(model.decision(new)), np.transpose(expected), atol=2e-3
    )


def test_wide_vectors_without_any_difference_leave_the_biases():
    model = fit(np.ones((9, 20)), np.arange(9) % 3, "classification", "accuracy", 3, Cs=[1.0])
    assert not model.weights.any() and np.ptp(model.bias) < 1e-3


@pytest.mark.parametrize("rows", [5, 200])
@pytest.mark.parametrize("strength", [1e-4, 1.0])
def test_regression_equals_a_sklearn_ridge_pipeline(rows, strength):
    vectors, labels = regression(rows)
    model = fit(vectors, labels, "regression", "r2", 1, Cs=[strength])
    expected = (
        pipeline(Ridge(alpha=1 / strength))
        .fit(vectors.astype(float), labels)
        .predict(vectors.astype(float))
    )
    np.testing.assert_allclose(model.predict(vectors), expected, atol=1e-8)


def test_cross_validation_takes_mean_and_scale_from_the_training_folds_only():
    vectors, labels = regression(12)
    vectors[0] *= 30  # a row that moves mean and scale of whoever sees it
    folds_only = cross_val_predict(
        pipeline(Ridge(alpha=10)), vectors.astype(float), labels, cv=LeaveOneOut()
    )
    leaked = cross_val_predict(
        Ridge(alpha=10),
        StandardScaler().fit_transform(vectors.astype(float)),
        labels,
        cv=LeaveOneOut(),
    )
    expected, wrong = (
        scipy.stats.pearsonr(predicted, labels).statistic for predicted in (folds_only, leaked)
    )
    found = fit(vectors, labels, "regression", "pearson", 1, Cs=[0.1], folds=12).cv_scores["0.1"]
    assert abs(expected - wrong) > 1e-3, "the data must tell the two apart"
    assert found == pytest.approx(expected, abs=1e-8)


def test_cross_validation_score_is_that_of_held_out_predictions_together():
    vectors, labels = classification(60)
    fold_of = assign_folds(labels, kind="classification", folds=4, seed=7)
    predicted = np.empty_like(labels)
    for fold in range(4):
        held = fold_of == fold
        predicted[held] = (
            exact_logistic(0.1)
            .fit(vectors[~held].astype(float), labels[~held])
            .predict(vectors[held].astype(float))
        )
    found = fit(
        vectors, labels, "classification", "macro_f1", 3, Cs=[0.1], folds=4, seed=7
    ).cv_scores
    assert found == {"0.1": pytest.approx(sk.f1_score(labels, predicted, average="macro"))}


@every_kind
def test_cross_validation_score_of_a_strength_does_not_depend_on_the_others(case):
    together = fit(*case).cv_scores
    alone = [fit(*case, Cs=[strength]).cv_scores[repr(strength)] for strength in STRENGTHS]
    np.testing.assert_allclose(
        [together[repr(strength)] for strength in STRENGTHS], alone, atol=0.01
    )


def test_folds_hold_equal_shares_of_every_class():
    labels = np.repeat([0, 1, 2], [50, 23, 7])
    fold_of = assign_folds(labels, kind="classification", folds=5, seed=0)
    counts = np.array([np.bincount(labels[fold_of == fold], minlength=3) for fold in range(5)])
    assert (counts.max(axis=0) - counts.min(axis=0)).max() <= 1


def test_folds_are_at_most_as_many_as_the_largest_class_has_rows():
    assert (
        assign_folds(np.repeat([0, 1], [3, 2]), kind="classification", folds=5, seed=0).max()
        == 3 - 1
    )


def test_a_class_of_one_row_leaves_cross_validation_on():
    vectors, _ = classification(61)
    model = fit(vectors, np.r_[np.arange(60) % 2, 2], "classification", "accuracy", 3)
    assert len(model.cv_scores) == len(STRENGTHS)


@every_kind
def test_strength_with_the_best_cross_validation_score_is_chosen(case):
    model = fit(*case)
    assert model.cv_scores.keys() == {repr(strength) for strength in STRENGTHS}
    assert model.cv_scores[repr(model.strength)] == max(model.cv_scores.values())


def test_stronger_regularisation_is_chosen_when_scores_tie():
    labels = np.arange(40) % 2
    vectors = np.column_stack([labels * 2.0 - 1.0, np.zeros(40)])
    model = fit(vectors, labels, "classification", "accuracy", 2, Cs=(10.0, 0.01, 1.0))
    assert (set(model.cv_scores.values()), model.strength) == ({1.0}, 0.01)


@pytest.mark.parametrize(("Cs", "middle"), [((1.0, 0.01, 0.1), 0.1), (STRENGTHS, 1e-2)])
def test_middle_strength_is_used_when_every_class_has_one_row(Cs, middle):
    vectors, _ = classification(3)
    model = fit(vectors, np.array([0, 1, 2]), "classification", "accuracy", 3, Cs=Cs)
    assert (model.cv_scores, model.strength) == ({}, middle)


@pytest.mark.parametrize("present", [[0, 2, 5], [1, 3], [4]], ids=str)
def test_absent_class_is_never_predicted(present):
    vectors, position = classification(60, num_classes=len(present))
    model = fit(vectors, np.array(present)[position], "classification", "macro_f1", 6)
    far_away = np.random.default_rng(0).normal(size=(500, FEATURES)) * 1e9
    assert set(model.predict(far_away)) <= set(present)


@pytest.mark.parametrize("value", [0, 1])
def test_label_that_never_changes_is_predicted_as_it_was(value):
    vectors, labels = multilabel()
    labels[:, 1] = value
    model = fit(vectors, labels, "multilabel", "f1", 3)
    assert set(model.predict(vectors * 1e6)[:, 1]) == {value}


def test_bias_of_an_absent_class_survives_json():
    vectors, labels = classification()
    bias = fit(vectors, labels, "classification", "accuracy", 4, Cs=[1.0]).bias
    assert json.loads(json.dumps(bias.tolist(), allow_nan=False))[3] == ABSENT_CLASS_LOGIT


def test_constant_feature_gets_scale_one_and_no_weight():
    vectors, labels = classification()
    vectors = vectors.astype(float)
    vectors[:, 4] = 0.1
    assert vectors.std(axis=0)[4] > 0, "the case is only hard when the mean is rounded"
    model = fit(vectors, labels, "classification", "accuracy", 3)
    assert model.scale[4] == 1.0
    np.testing.assert_array_equal(model.weights[4], np.zeros(3))


@every_kind
def test_mean_and_scale_are_those_of_the_train_rows(case):
    model, scaler = fit(*case), StandardScaler().fit(case[0].astype(float))
    np.testing.assert_allclose([model.mean, model.scale], [scaler.mean_, scaler.scale_])


@every_kind
def test_restored_probe_predicts_the_same(case):
    model, file = fit(*case), io.BytesIO()
    arrays = {
        field.name: value
        for field in fields(model)
        if isinstance(value := getattr(model, field.name), np.ndarray)
    }
    rest = json.dumps(
        {
            field.name: getattr(model, field.name)
            for field in fields(model)
            if field.name not in arrays
        },
        allow_nan=False,
    )
    np.savez(file, allow_pickle=False, **arrays)
    file.seek(0)
    restored = ProbeModel(**np.load(file, allow_pickle=False), **json.loads(rest))
    np.testing.assert_array_equal(restored.predict(case[0]), model.predict(case[0]))


@every_kind
def test_fit_is_repeatable_bit_by_bit(case):
    first, second = fit(*case), fit(*case)
    assert [first.weights.tobytes(), first.cv_scores] == [
        second.weights.tobytes(),
        second.cv_scores,
    ]


@pytest.mark.parametrize(
    ("name", "solver"), [("classification", "_logistic_path"), ("regression", "ridge_path")]
)
def test_linear_algebra_runs_on_one_thread_when_more_are_allowed(name, solver, monkeypatch):
    threads, solve = [], getattr(probe_linear, solver)

    def observed(*given):
        threads.extend(pool["num_threads"] for pool in threadpool_info())
        return solve(*given)

    monkeypatch.setattr(probe_linear, solver, observed)
    with threadpool_limits(2):
        fit(*CASES[name])
    assert set(threads) == {1}


def test_fit_does_not_change_its_arguments():
    vectors, labels = classification()
    before = vectors.tobytes() + labels.tobytes()
    fit(vectors, labels, "classification", "accuracy", 3)
    assert vectors.tobytes() + labels.tobytes() == before


@pytest.mark.parametrize(
    ("name", "fits"), [("classification", 7), ("binary", 7), ("multilabel", 21), ("regression", 0)]
)
def test_fits_that_stop_early_are_counted_instead_of_warned_about(name, fits, monkeypatch):
    monkeypatch.setattr(probe_linear, "MAX_ITERATIONS", 1)
    assert fit(*CASES[name], Cs=(1.0, 10.0), folds=3).unconverged_fits == fits


@every_kind
def test_fits_converge_when_left_alone(case):
    assert fit(*case).unconverged_fits == 0


@pytest.mark.parametrize(
    ("name", "shape", "kind"),
    [("classification", (200,), "i"), ("multilabel", (200, 3), "u"), ("regression", (200,), "f")],
)
def test_predictions_look_like_labels(name, shape, kind):
    predictions = fit(*CASES[name]).predict(CASES[name][0])
    assert (predictions.shape, predictions.dtype.kind) == (shape, kind)


def test_decision_is_linear_in_standardised_vectors():
    model = ProbeModel(
        kind="regression",
        weights=np.array([[2.0], [10.0]]),
        bias=np.array([0.5]),
        mean=np.array([1.0, -1.0]),
        scale=np.array([2.0, 4.0]),
        strength=1.0,
        cv_scores={},
        unconverged_fits=0,
    )
    assert model.decision(np.array([[5.0, 3.0]])).tolist() == [
        [2 * (5 - 1) / 2 + 10 * (3 + 1) / 4 + 0.5]
    ]


def test_class_with_the_largest_decision_is_predicted():
    model = replace(
        fit(*CASES["classification"]),
        weights=np.zeros((FEATURES, 3)),
        bias=np.array([0.1, -0.3, 0.2]),
    )
    assert set(model.predict(CASES["classification"][0])) == {2}


@pytest.mark.parametrize(
    ("change", "error", "what"),
    [
        ({"vectors": np.full((4, 2), np.nan)}, DataError, "4 of 4 vectors"),
        ({"vectors": np.zeros((3, 2))}, DataError, "for 4 rows"),
        ({"vectors": np.zeros(4)}, DataError, "for 4 rows"),
        ({"labels": np.array([0, 1, 2, 1])}, DataError, "labels of shape"),
        ({"metric": "pearson"}, UsageError, "'pearson' is not defined for classification"),
        ({"Cs": ()}, UsageError, "Cs"),
        ({"Cs": (1.0, 0.0)}, UsageError, "Cs"),
    ],
)
def test_fit_is_refused_when_arguments_do_not_fit(change, error, what):
    given = {
        "vectors": np.eye(4, 2),
        "labels": np.array([0, 1, 0, 1]),
        "metric": "accuracy",
        "Cs": (1.0,),
    }
    with pytest.raises(error, match=what):
        fit_probe(**(given | change), kind="classification", num_outputs=2, folds=2, seed=0)


def test_shots_are_balanced_over_classes():
    labels = np.repeat([0, 1, 2], [100, 20, 6])
    np.testing.assert_array_equal(
        np.bincount(labels[sample_shots(labels, kind="classification", shots=5, seed=0)]), [5, 5, 5]
    )


@pytest.mark.parametrize(
    ("kind", "labels"),
    [("regression", np.linspace(0, 1, 30)), ("multilabel", np.zeros((30, 2), dtype=np.uint8))],
)
def test_shots_are_rows_in_all_when_there_are_no_classes(kind, labels):
    assert len(set(sample_shots(labels, kind=kind, shots=7, seed=0))) == 7


def test_shots_of_all_rows_are_all_rows():
    labels = np.array([1, 0, 1, 0, 0, 1])
    np.testing.assert_array_equal(
        sample_shots(labels, kind="classification", shots=3, seed=0), np.arange(6)
    )


def test_fewer_shots_are_among_more_shots_of_the_same_seed():
    labels = np.arange(60) % 3
    few, many = (
        set(sample_shots(labels, kind="classification", shots=shots, seed=0)) for shots in (4, 8)
    )
    assert few < many


def test_shots_are_a_function_of_the_seed():
    labels = np.arange(60) % 3
    first, second, third = (
        sample_shots(labels, kind="classification", shots=4, seed=seed).tolist()
        for seed in (0, 0, 1)
    )
    assert first == second != third


@pytest.mark.parametrize(
    ("kind", "labels", "shots", "what"),
    [
        ("classification", np.array([0, 0, 0, 1]), 2, "class 1 has only 1 rows"),
        ("regression", np.zeros(4), 5, "there are only 4 rows"),
        ("regression", np.zeros(0), 1, "there are only 0 rows"),
        ("classification", np.array([0, 1]), 0, "at least 1"),
    ],
)
def test_shots_are_refused_when_there_are_too_few_rows(kind, labels, shots, what):
    with pytest.raises(ValueError, match=what):
        sample_shots(labels, kind=kind, shots=shots, seed=0)


@every_kind
def test_evaluation_scores_the_predictions(case):
    vectors, labels, _, metric, outputs = case
    model = fit(vectors[:100], labels[:100], *case[2:])
    predictions = model.predict(vectors[100:])
    found = evaluate_predictions(
        model.kind,
        predictions,
        labels[100:],
        outputs,
        probabilities=None
        if model.kind == "regression"
        else probabilities_from(model.kind, model.decision(vectors[100:])),
        metric=metric,
        bootstrap_samples=200,
        seed=3,
    )
    reference = {
        "accuracy": sk.accuracy_score,
        "matthews": sk.matthews_corrcoef,
        "macro_f1": lambda y, p: sk.f1_score(y, p, average="macro", zero_division=0),
        "spearman": lambda y, p: scipy.stats.spearmanr(y, p).statistic,
    }[metric]
    assert (found.score, found.n) == (pytest.approx(reference(labels[100:], predictions)), 100)
    assert (found.low, found.high) == bootstrap_interval(
        metric, predictions, labels[100:], outputs, bootstrap_samples=200, seed=3
    )
    assert found.metrics[metric] == found.score


def test_evaluation_is_refused_when_the_metric_is_of_another_kind():
    labels = CASES["classification"][1]
    with pytest.raises(UsageError, match="'r2' is not defined for classification"):
        evaluate_predictions(
            "classification",
            labels,
            labels,
            3,
            probabilities=np.eye(3)[labels],
            metric="r2",
            bootstrap_samples=10,
            seed=0,
        )


def test_vectors_that_are_not_numbers_are_refused():
    vectors, labels = CASES["regression"][:2]
    with pytest.raises(DataError, match="200 of 200 vectors"):
        check_vectors(vectors * np.nan, len(labels))
