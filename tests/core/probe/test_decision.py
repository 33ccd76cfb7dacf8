"""How logits become predictions."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special

from prefixbank.core.probe.decision import DecisionRule, fit_rule, rule_from
from prefixbank.core.probe.solution import predictions_from, probabilities_from
from prefixbank.core.probe.thresholds import NEVER
from prefixbank.errors import UsageError

GENERATOR = np.random.default_rng(0)
LOGITS = GENERATOR.normal(size=(120, 3)) * 3
CLASSES = (LOGITS + GENERATOR.normal(size=(120, 3)) * 3).argmax(axis=1)
FLAGS = (GENERATOR.random((120, 3)) < scipy.special.expit(LOGITS / 2)).astype(np.uint8)
LABELS = {"classification": CLASSES, "multilabel": FLAGS}
NOTHING = {"calibration": "none", "threshold": "default", "precision": 0.9}
both = pytest.mark.parametrize("kind", LABELS)


@both
def test_default_is_that_of_the_logits(kind):
    rule = fit_rule(kind, LOGITS, LABELS[kind], **NOTHING)
    assert np.array_equal(rule.predictions(LOGITS), predictions_from(kind, LOGITS))
    assert np.array_equal(rule.probabilities(LOGITS), probabilities_from(kind, LOGITS))
    assert rule.arrays() == {} and rule.calibration_method == "none"


@both
def test_temperature_changes_no_prediction(kind):
    rule = fit_rule(kind, LOGITS, LABELS[kind], **NOTHING | {"calibration": "temperature"})
    assert np.array_equal(rule.predictions(LOGITS), predictions_from(kind, LOGITS))
    assert not np.allclose(rule.probabilities(LOGITS), probabilities_from(kind, LOGITS))


@both
def test_isotonic_predicts_what_is_most_probable_after_it(kind):
    rule = fit_rule(kind, LOGITS, LABELS[kind], **NOTHING | {"calibration": "isotonic"})
    odds = rule.probabilities(LOGITS)
    expected = odds.argmax(axis=1) if kind == "classification" else odds > 0.5
    assert np.array_equal(rule.predictions(LOGITS), expected)


@pytest.mark.parametrize("calibration", ["none", "temperature", "isotonic"])
@both
def test_probabilities_name_what_their_logits_predict(kind, calibration):
    rule = fit_rule(kind, LOGITS, LABELS[kind], **NOTHING | {"calibration": calibration})
    assert np.array_equal(rule.named(rule.probabilities(LOGITS)), rule.predictions(LOGITS))


def test_label_is_predicted_from_its_threshold_on():
    thresholds = np.array([0.25, NEVER, 0.9])
    rule = DecisionRule(kind="multilabel", thresholds=thresholds)
    at = scipy.special.logit(0.25)
    assert rule.predictions(np.array([[at + 1e-9, 50.0, 2.1], [at - 1e-9, 0.0, 2.3]])).tolist() == [
        [1, 0, 0],
        [0, 0, 1],
    ]
    assert rule.predictions(LOGITS).dtype == np.uint8


def test_second_class_is_predicted_from_its_threshold_on():
    rule = DecisionRule(kind="classification", thresholds=np.array([0.2]))
    odds = scipy.special.softmax(LOGITS[:, :2], axis=1)[:, 1]
    assert rule.predictions(LOGITS[:, :2]).tolist() == (odds >= 0.2).astype(int).tolist()


def test_thresholds_are_those_of_calibrated_probabilities():
    given = NOTHING | {"threshold": "f1", "calibration": "isotonic"}
    rule = fit_rule("multilabel", LOGITS, FLAGS, **given)
    odds = rule.probabilities(LOGITS)
    assert all(rule.thresholds[one] in odds[:, one] for one in range(3))


@both
@pytest.mark.parametrize("method", ["none", "temperature", "isotonic"])
def test_rule_is_read_from_its_arrays(kind, method):
    threshold = "f1" if kind == "multilabel" else "default"
    given = NOTHING | {"calibration": method, "threshold": threshold}
    rule = fit_rule(kind, LOGITS, LABELS[kind], **given)
    found = rule_from(kind, {**rule.arrays(), "weights": LOGITS})
    assert found.calibration_method == method
    assert np.array_equal(found.predictions(LOGITS), rule.predictions(LOGITS))
    assert np.array_equal(found.probabilities(LOGITS), rule.probabilities(LOGITS))


def test_regression_has_values_and_no_probabilities():
    rule = DecisionRule(kind="regression")
    assert rule.predictions(LOGITS[:, :1]).tolist() == LOGITS[:, 0].tolist()
    with pytest.raises(UsageError, match="probabilities of a regression"):
        rule.probabilities(LOGITS[:, :1])
