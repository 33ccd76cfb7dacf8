"""How a scikit-learn model is fitted: which warnings count, and that weights are numbers."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from prefixbank.core.probe.linear import fit_quietly
from prefixbank.errors import DataError

X, LABELS = np.zeros((2, 1)), np.array([0, 1])


class Fitted:
    """A model whose fit does what it is told, and has one weight."""

    def __init__(self, weight: float, during_fit: Any) -> None:
        self.coef_ = np.array([[weight]])
        self.during_fit = during_fit

    def fit(self, x: np.ndarray, labels: np.ndarray, sample_weight: None = None) -> None:
        self.during_fit()


def invalid() -> None:
    np.sqrt(np.array([-1.0]))


def test_invalid_values_during_a_fit_do_not_count_when_the_weights_are_numbers():
    assert fit_quietly(Fitted(1.0, invalid), X, LABELS) == 0


@pytest.mark.parametrize("weight", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused(weight):
    with pytest.raises(DataError, match="not finite"):
        fit_quietly(Fitted(weight, invalid), X, LABELS)


def test_other_warnings_pass_through():
    with pytest.warns(UserWarning, match="odd"):
        fit_quietly(Fitted(1.0, lambda: warnings.warn("odd", stacklevel=1)), X, LABELS)


def test_fit_that_does_not_converge_is_counted():
    model = Fitted(1.0, lambda: warnings.warn("slow", ConvergenceWarning, stacklevel=1))
    assert fit_quietly(model, X, LABELS) == 1
