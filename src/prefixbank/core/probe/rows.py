"""Which rows a probe sees: cross-validation folds and few-shot samples. numpy only."""

from __future__ import annotations

import numpy as np

from prefixbank.choices import Kind


def assign_folds(labels: np.ndarray, *, kind: Kind, folds: int, seed: int) -> np.ndarray:
    """Assign rows to folds of equal size; each class is spread evenly (classification).

    Args:
        labels: [N] or [N, C], as in `fit_probe`.
        kind: kind of the task.
        folds: number of folds, if there are rows enough.
        seed: of the assignment.

    Returns:
        int64 [N] fold numbers 0..n-1. n is `folds`, or the number of rows of the largest class (for
        other kinds: of all rows) if that is less; a rarer class is then missing from some folds.
        All are 0 if nothing can be held out.
    """
    groups = _groups(labels, kind)
    count = max(1, min(folds, int(np.unique(groups, return_counts=True)[1].max())))
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    by_class = shuffled[np.argsort(groups[shuffled], kind="stable")]
    fold_of = np.empty(len(labels), dtype=np.int64)
    fold_of[by_class] = np.arange(len(labels)) % count
    return fold_of


def sample_shots(labels: np.ndarray, *, kind: Kind, shots: int, seed: int) -> np.ndarray:
    """Draw rows without replacement: `shots` of each class, or `shots` in all for other kinds.

    With one seed, the rows of fewer shots are a subset of those of more shots.

    Args:
        labels: [N] or [N, C], as in `fit_probe`.
        kind: kind of the task.
        shots: rows to draw, at least 1.
        seed: of the draw.

    Returns:
        int64 row numbers, ascending.

    Raises:
        ValueError: shots < 1, or a class (for other kinds: the task) has fewer rows.
    """
    groups = _groups(labels, kind)
    names, sizes = np.unique(groups, return_counts=True)
    if shots < 1:
        raise ValueError(f"{shots} shots; at least 1 is needed")
    if not len(names) or sizes.min() < shots:
        where = (
            f"class {names[sizes.argmin()]} has"
            if kind == "classification" and len(names)
            else "there are"
        )
        raise ValueError(
            f"{where} only {sizes.min(initial=len(labels))} rows, fewer than {shots} shots"
        )
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    return np.sort(np.concatenate([shuffled[groups[shuffled] == name][:shots] for name in names]))


def _groups(labels: np.ndarray, kind: Kind) -> np.ndarray:
    """Return [N], the class of each row; without classes 0 for all rows."""
    return labels if kind == "classification" else np.zeros(len(labels), dtype=np.int64)
