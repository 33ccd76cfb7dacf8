"""How much faster a warm start reaches the final score of a cold start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prefixbank.errors import DataError

Curve = Sequence[Mapping[str, Any]]
"""A learning curve in order of steps: events with `step` and, after a validation, its score as
`validation` (otherwise None or absent)."""


def steps_to_reach(curve: Curve, target_score: float) -> int | None:
    """Return the steps before the first validation that scores `target_score` or more, else None.

    Raises:
        DataError: the curve has no validation score.
    """
    return next((step for step, score in _validations(curve) if score >= target_score), None)


def ratio_of_steps(warm: Curve, cold: Curve) -> float | None:
    """Return the steps of the warm start to the cold start's final score, over those of the cold.

    The final score is that of the cold start's last validation. The cold start's steps, too, are
    counted up to the first validation with that score: otherwise steps without effect would make
    every warm start look fast. So a curve compared with itself gives 1.

    Returns:
        0 if the warm start has that score before its first step; None if it never reaches it, or if
        the cold start had it before its first step.

    Raises:
        DataError: a curve has no validation score.
    """
    goal = _validations(cold)[-1][1]
    steps, cold_steps = steps_to_reach(warm, goal), steps_to_reach(cold, goal)
    return None if steps is None or not cold_steps else steps / cold_steps


def _validations(curve: Curve) -> list[tuple[int, float]]:
    """Return (step, score) of each validation; raise DataError if there is none."""
    points = [
        (int(event["step"]), float(event["validation"]))
        for event in curve
        if event.get("validation") is not None
    ]
    if not points:
        raise DataError(
            f"a learning curve of {len(curve)} events without a validation score",
            expected="one or more events with step and validation",
            fix="use the curve of a training with validation",
        )
    return points
