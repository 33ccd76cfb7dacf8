from __future__ import annotations

import math

import pytest

from prefixbank.choices import Schedule
from prefixbank.core.training.schedule import rate_factor


def factors(schedule: Schedule, total_steps: int, warmup_ratio: float) -> list[float]:
    return [rate_factor(schedule, step, total_steps, warmup_ratio) for step in range(total_steps)]


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_warmup_rises_in_equal_parts_to_the_top_rate(schedule: Schedule):
    assert factors(schedule, 10, 0.3)[:4] == pytest.approx([1 / 4, 2 / 4, 3 / 4, 1])


def test_linear_falls_in_equal_parts_to_zero_at_the_end():
    expected = [1, 0.8, 0.6, 0.4, 0.2, 0]
    assert [rate_factor("linear", step, 5, 0.0) for step in range(6)] == pytest.approx(expected)


def test_cosine_falls_along_half_a_wave():
    expected = [math.cos(math.pi / 2 * step / 8) ** 2 for step in range(8)]
    assert factors("cosine", 8, 0.0) == pytest.approx(expected)


def test_cosine_after_warmup_covers_what_is_left():
    expected = [math.cos(math.pi / 2 * step / 8) ** 2 for step in range(8)]
    assert factors("cosine", 10, 0.2)[2:] == pytest.approx(expected)


def test_constant_stays_at_the_top_rate():
    assert factors("constant", 10, 0.1) == [0.5] + [1.0] * 9


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
@pytest.mark.parametrize("total_steps", [1, 2, 3])
@pytest.mark.parametrize("warmup_ratio", [0.0, 0.1, 0.5, 0.99])
def test_no_step_is_lost_to_a_rate_of_zero(
    schedule: Schedule, total_steps: int, warmup_ratio: float
):
    assert all(0 < factor <= 1 for factor in factors(schedule, total_steps, warmup_ratio))
