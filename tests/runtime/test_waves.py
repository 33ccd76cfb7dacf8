"""How much work a command has left."""

from __future__ import annotations

from math import isnan

import pytest

from prefixbank.runtime.waves import work_to_do


def test_units_take_as_long_as_those_of_their_step():
    seconds = {"train-prefix": [100.0, 140.0], "probe": [2.0]}
    assert work_to_do({"train-prefix": 3, "probe": 9}, seconds) == pytest.approx(
        (3 * 120 + 9 * 2) / 242
    )


def test_short_step_that_was_not_met_counts_nothing_yet():
    assert work_to_do({"train-prefix": 4, "embed": 9}, {"train-prefix": [50.0]}) == 4


@pytest.mark.parametrize("seconds", [{}, {"embed": [3.0]}, {"embed": [0.0], "train-prefix": []}])
def test_nothing_is_known_before_the_first_training(seconds):
    assert isnan(work_to_do({"train-prefix": 1, "embed": 2}, seconds))


def test_nothing_is_left_at_the_end():
    assert work_to_do({"probe": 0}, {"probe": [1.0]}) == 0
