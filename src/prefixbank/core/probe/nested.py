"""Nested cross-validation: a held-out prediction for every row of a task without a test split.

Source: SentEval (Conneau & Kiela 2018, arXiv 1803.05449), the protocol for MR, CR, MPQA and SUBJ.
There the score is the mean over the outer folds. Here it is the metric over all rows, which for
accuracy is the same up to the sizes of the folds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from prefixbank.choices import Kind
from prefixbank.core.probe.model import Decider
from prefixbank.core.probe.rows import assign_folds
from prefixbank.errors import DataError

P = TypeVar("P", bound=Decider)


def nested_decisions(
    vectors: np.ndarray,
    labels: np.ndarray,
    fit: Callable[[np.ndarray, np.ndarray], P],
    *,
    kind: Kind,
    num_outputs: int,
    outer_folds: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray, list[P]]:
    """Return decision values of every row by a probe that was fitted on the other folds only.

    The probe's strength was chosen on these folds, too.

    Args:
        vectors: float [N, F].
        labels: [N] or [N, C], as in `fit_probe`.
        fit: chooses and fits a probe on some rows; called once for each outer fold.
        kind: kind of the task.
        num_outputs: C; 1 for regression.
        outer_folds: number of outer folds, if there are rows enough, see `assign_folds`.
        seed: of the assignment of rows to outer folds.

    Returns:
        Logits or values, float64 [N, C], the outer fold int64 [N] of each row, and the probe of
        each fold.

    Raises:
        DataError: there are not two rows of one class (for other kinds: two rows), so that none can
            be held out.
    """
    fold_of = assign_folds(labels, kind=kind, folds=outer_folds, seed=seed)
    if not fold_of.any():
        what = f"nested cross-validation of {len(labels)} rows"
        raise DataError(what, expected="two rows or more of one class", fix="probe.protocol=split")
    decided = np.zeros((len(labels), num_outputs))
    probes = []
    with threadpool_limits(1):
        for fold in range(int(fold_of.max()) + 1):
            held = fold_of == fold
            probes.append(fit(vectors[~held], labels[~held]))
            decided[held] = probes[-1].decision(vectors[held])
    return decided, fold_of, probes
