"""Timing in turns: on a machine that others use, too, ratios within a round are what counts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping


def in_turns(
    functions: Mapping[str, Callable[[], object]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Return the seconds of each function in each round, after one round that does not count.

    All take their turn in every round, so that a noisy machine disturbs them alike.

    Args:
        functions: what to time.
        rounds: how often.
        clock: seconds that passed, or those that the processor worked for this process.
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(rounds + 1):
        for name, function in functions.items():
            started = clock()
            function()
            if number:
                seconds[name].append(clock() - started)
    return seconds
