"""Learning-rate schedules, as a factor of the full rate."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import assert_never

from prefixbank.choices import Schedule


def rate_factor(schedule: Schedule, step: int, total_steps: int, warmup_ratio: float) -> float:
    """Return the factor for optimiser step `step`, counted from 0, of `total_steps`.

    The factor rises linearly over the share `warmup_ratio` of the steps. Then it falls to 0 at
    `total_steps` (`linear`, `cosine`) or stays at 1 (`constant`).
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
    """Return the optimiser step that completes a share of `total_steps`: max(1, ⌈share · total⌉).

    Steps are counted from 1. The share is taken as the decimal that was written: 0.07 of 100 steps
    is step 7, and not 8 because of a float's last bit.
    """
    return max(1, math.ceil(Decimal(repr(share)) * total_steps))
