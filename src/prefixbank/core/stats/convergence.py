"""How much sooner a training from another task's prefix gets where a cold start ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prefixbank.errors import DataError

Curve = Sequence[Mapping[str, Any]]
"""A learning curve in order of steps: events with `step` and, where validation was scored,
`validation` (else None or absent)."""


def steps_to_reach(curve: Curve, target_score: float) -> int | None:
    """Return the steps done at the first validation that scores `target_score` or more.

    None if none does.

    Raises:
        DataError: the curve was never validated.
    """
    return next((step for step, score in _validations(curve) if score >= target_score), None)


def ratio_of_steps(warm: Curve, cold: Curve) -> float | None:
    """Return the steps that a warm start needs to reach the cold start's final validation score.

    As a share of the steps of the cold start.

    The cold start's steps also are those to its first validation at that score, not all it did:
    else training on without effect would make every warm start look fast. So a curve compared with
    itself gives 1.

    Returns:
        0 if the warm start is there before its first step; None if it never gets there, or if the
        cold start was there before its own.

    Raises:
        DataError: a curve was never validated.
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
            fix="use the curve of a training that was validated",
        )
    return points
