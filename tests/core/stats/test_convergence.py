"""Steps to a score, read off curves by hand."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from prefixbank.core.stats.convergence import ratio_of_steps, steps_to_reach
from prefixbank.core.training.settings import FitEvent
from prefixbank.errors import DataError


def curve(*points: tuple[int, float | None]) -> list[dict[str, Any]]:
    return [{"step": step, "validation": score} for step, score in points]


COLD = curve((0, 0.3), (5, None), (10, 0.5), (20, 0.7), (30, 0.6), (40, 0.6))


@pytest.mark.parametrize(
    ("target", "steps"), [(0.3, 0), (0.31, 10), (0.5, 10), (0.6, 20), (0.7, 20), (0.71, None)]
)
def test_steps_to_reach_are_those_of_the_first_validation_that_is_high_enough(
    target: float, steps: int | None
):
    assert steps_to_reach(COLD, target) == steps


def test_events_without_validation_are_skipped():
    event = FitEvent(step=1, total_steps=3, epoch=1, loss=0.5, lr=0.1)
    assert (
        steps_to_reach(
            [asdict(event), {"step": 2, "loss": 0.4}, {"step": 3, "validation": 0.9}], 0.1
        )
        == 3
    )


def test_goal_is_the_final_score_of_the_cold_start_and_its_steps_those_to_get_there():
    assert ratio_of_steps(curve((0, 0.4), (5, 0.65), (10, 0.9)), COLD) == pytest.approx(5 / 20)


def test_curve_compared_with_itself_gives_one():
    assert ratio_of_steps(COLD, COLD) == 1


def test_ratio_is_zero_where_the_warm_start_is_there_before_its_first_step():
    assert ratio_of_steps(curve((0, 0.6), (10, 0.5)), COLD) == 0


def test_ratio_is_none_where_the_warm_start_never_gets_there():
    assert ratio_of_steps(curve((0, 0.1), (10, 0.59)), COLD) is None


def test_ratio_is_none_where_the_cold_start_needed_no_step():
    assert ratio_of_steps(COLD, curve((0, 0.4), (10, 0.4))) is None


def test_curve_without_validation_is_refused():
    for choose in (lambda: steps_to_reach([], 0.5), lambda: ratio_of_steps(COLD, curve((1, None)))):
        with pytest.raises(DataError, match="without a validation score") as caught:
            choose()
        assert caught.value.expected and caught.value.fix
