"""The scores of targets that start from sources chosen by similarity. numpy only.

Choices are nested: similarity makes a short list, validation chooses from it, and the test score of
the choice is reported. Only `oracle_by_test`, an upper bound, uses test scores to choose. The first
source wins ties.

Source: Vu et al. 2022 (2110.07904), section 3, "best of top-k"; the expectation over random short
lists and the held-out seeds are ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prefixbank.core.shapes import ShapeError
from prefixbank.errors import DataError, UsageError


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """The scores of one target's training from each of S sources.

    Args:
        validation: [S] scores by which a source is chosen.
        test: [S] scores that are reported.
    """

    validation: np.ndarray
    test: np.ndarray

    def __post_init__(self) -> None:
        """Check that each source has both scores."""
        if self.validation.ndim != 1 or self.validation.shape != self.test.shape:
            raise ShapeError(
                f"validation scores of shape {list(self.validation.shape)}, test scores of shape "
                f"{list(self.test.shape)}",
                expected="[S], one of each for each source",
                fix="score each source's training on validation and on test rows",
            )
        if not len(self.validation):
            raise UsageError(
                "no source to choose from",
                expected="one or more candidates",
                fix="train the target from at least one source",
            )
        if not (np.isfinite(self.validation).all() and np.isfinite(self.test).all()):
            raise DataError(
                "a candidate's score is not finite",
                expected="finite scores",
                fix="leave out sources without scores, such as the target itself",
            )


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The number of the chosen source, and its scores."""

    source: int
    validation: float
    test: float


def candidates_of_seeds(
    validation: np.ndarray, test: np.ndarray, *, choosing: Sequence[int], scoring: Sequence[int]
) -> Candidates:
    """Average validation scores over the seeds that choose, and test scores over those that score.

    With the same seeds in both, a run whose seed happens to suit the target is chosen and then
    reported. With different seeds, the reported score is due to the choice of the source alone.

    Args:
        validation: [S, R] scores for each source and seed.
        test: [S, R].
        choosing: columns of `validation`, for example all of `range(R)`.
        scoring: columns of `test`; may overlap with `choosing`.

    Raises:
        ShapeError: the arrays are not [S, R] of one shape.
        UsageError: no source, no seed, a seed named twice or one that is not there.
    """
    if validation.ndim != 2 or validation.shape != test.shape:
        raise ShapeError(
            f"validation scores of shape {list(validation.shape)}, test scores of shape "
            f"{list(test.shape)}",
            expected="[S, R], one of each for each source and seed",
            fix="score the same runs on validation and on test rows",
        )
    for use, seeds in (("choose", choosing), ("score", scoring)):
        known = len(set(seeds)) == len(seeds) > 0 and all(
            0 <= seed < validation.shape[1] for seed in seeds
        )
        if not known:
            raise UsageError(
                f"seeds {list(seeds)} {use}",
                expected=(
                    f"one or more different columns of the {validation.shape[1]} that were "
                    "trained, counted from 0"
                ),
                fix="choosing=range(R), scoring=range(R) for all seeds",
            )
    return Candidates(
        validation=validation[:, list(choosing)].mean(axis=1),
        test=test[:, list(scoring)].mean(axis=1),
    )


def best_of_k(similarities: np.ndarray, candidates: Candidates, k: int) -> Choice:
    """Choose the source with the best validation score among the k most similar to the target.

    Args:
        similarities: [S] with the target.
        candidates: scores of the S sources.
        k: 1 to S; at S the choice is that of `oracle_by_validation`.

    Raises:
        ShapeError: similarities are not [S].
        UsageError: k out of range.
        DataError: a similarity is not finite.
    """
    _check_k(k, candidates)
    if similarities.shape != candidates.validation.shape:
        raise ShapeError(
            f"similarities of shape {list(similarities.shape)} for {len(candidates.validation)} "
            "sources",
            expected="[S], one for each source",
            fix="take one target's column of the similarity matrix",
        )
    if not np.isfinite(similarities).all():
        raise DataError(
            "a similarity is not finite",
            expected="finite numbers",
            fix="leave out sources without a similarity",
        )
    nearest = np.sort(np.argsort(-similarities, kind="stable")[:k])
    return _choice(candidates, nearest[candidates.validation[nearest].argmax()])


def chances_of_k_random(candidates: Candidates, k: int) -> np.ndarray:
    """Return the probability that the best of k random sources is each source.

    It is what `best_of_k` would do if similarity carried no information. Exact: the source that is
    r-th best by validation is the best of a random set of k out of S with probability
    C(S - r, k - 1) / C(S, k).

    Args:
        candidates: scores of the S sources.
        k: 1 to S.

    Returns:
        float64 [S], with sum 1.

    Raises:
        UsageError: k out of range.
    """
    _check_k(k, candidates)
    count = len(candidates.validation)
    chances = np.empty(count)
    sets = math.comb(count, k)
    chances[np.argsort(-candidates.validation, kind="stable")] = [
        math.comb(count - rank, k - 1) / sets for rank in range(1, count + 1)
    ]
    return chances


def oracle_by_validation(candidates: Candidates) -> Choice:
    """Choose the best of all sources by validation: exhaustive training, without test rows."""
    return _choice(candidates, candidates.validation.argmax())


def oracle_by_test(candidates: Candidates) -> Choice:
    """Choose the best of all sources by test score: an upper bound, since test rows choose."""
    return _choice(candidates, candidates.test.argmax())


def share_of_oracle_gain(
    chosen: np.ndarray | float, cold: np.ndarray | float, oracle: np.ndarray | float
) -> float:
    """Return the share of an oracle's gain over a cold start that a choice gains.

    It is (chosen - cold) / (oracle - cold). Over several targets, gains are summed before they are
    divided; otherwise targets with almost nothing to gain would dominate. It is negative if the
    choice hurts, and NaN if the oracle gains nothing (oracle <= cold).

    Args:
        chosen: test score of the choice, a number or [N] for N targets.
        cold: test score of the cold start, like chosen, averaged over the same seeds.
        oracle: test score of the oracle's choice, like chosen.
    """
    scores, start, best = np.broadcast_arrays(
        *(np.asarray(each, dtype=np.float64) for each in (chosen, cold, oracle))
    )
    possible = float((best - start).sum())
    return float((scores - start).sum()) / possible if possible > 0 else math.nan


def _choice(candidates: Candidates, source: np.integer) -> Choice:
    """Return a source with its scores."""
    number = int(source)
    return Choice(
        source=number,
        validation=float(candidates.validation[number]),
        test=float(candidates.test[number]),
    )


def _check_k(k: int, candidates: Candidates) -> None:
    """Raise UsageError unless k is from 1 to the number of sources."""
    count = len(candidates.validation)
    if not 1 <= k <= count:
        raise UsageError(
            f"the best of {k} out of {count} sources",
            expected=f"k from 1 to {count}",
            fix=f"k={min(max(k, 1), count)}",
        )
