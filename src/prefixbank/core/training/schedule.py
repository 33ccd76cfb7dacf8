"""Learning-rate schedules, as a factor of the top rate."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import assert_never

from prefixbank.choices import Schedule


def rate_factor(schedule: Schedule, step: int, total_steps: int, warmup_ratio: float) -> float:
    """Return the factor for optimiser step `step` of `total_steps`, both counted from 0.

    The factor rises linearly over the first `warmup_ratio` of the steps, then falls to 0 at
    `total_steps` (`linear`, `cosine`) or stays (`constant`).
    """
    warmup_steps = round(total_steps * warmup_ratio)
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    done = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    match schedule:
        case "linear":
            return 1.0 - done
        case "cosine":
            return 0.5 * (1.0 + math.cos(math.pi * done))
        case "constant":
            return 1.0
    assert_never(schedule)


def early_step(share: float, total_steps: int) -> int:
    """Return the number of the optimiser step by which a share of `total_steps` is done.

    Counted from 1: max(1, ⌈share · total⌉).

    The share is taken as the decimal that it is written as: 0.07 of 100 steps is step 7, and not 8
    for the last bit of a float.
    """
    return max(1, math.ceil(Decimal(repr(share)) * total_steps))
