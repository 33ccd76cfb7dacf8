"""Sizes and times as people read them."""

from __future__ import annotations

import pytest

from prefixbank.commands.amounts import duration_text, estimate_text, size_text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (57.3, "57 s"),
        (59.6, "1 min"),
        (107.9, "1 min 48 s"),
        (3599.7, "1 h"),
        (7500, "2 h 5 min"),
        (360_000, "100 h"),
    ],
)
def test_duration_has_its_two_largest_units(seconds: float, text: str):
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "about 10 s"),
        (41, "about 50 s"),
        (60, "about 1 min"),
        (361, "about 7 min"),
        (3601, "about 1 h 10 min"),
    ],
)
def test_estimate_is_rounded_up(seconds: float, text: str):
    assert estimate_text(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (1, "0.01 MB"),
        (26_000, "0.03 MB"),
        (99_000, "0.10 MB"),
        (660_000, "0.7 MB"),
        (90_900_000, "90.9 MB"),
    ],
)
def test_size_is_in_megabytes(size: int, text: str):
    assert size_text(size) == text
