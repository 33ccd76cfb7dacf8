"""What a change of the sources costs by prefixes, as a share of what multi-task training costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from prefixbank.store.key import JSON

Cost = Literal["examples", "flops", "seconds"]
COSTS: tuple[Cost, ...] = get_args(Cost)
PREFIXES, MULTITASK = "prefixes", "multi-task"


def ratios(rows: Sequence[JSON]) -> list[JSON]:
    """Return for each change that both methods were measured on the cost of prefixes over that of multi-task training.

    A cost of which multi-task training has none, or that was not measured, is None.
    """
    found = []
    for change in dict.fromkeys(row["change"] for row in rows):
        of_method: dict[str, JSON] = {row["method"]: row for row in rows if row["change"] == change}
        if {PREFIXES, MULTITASK} <= of_method.keys():
            ours, theirs = of_method[PREFIXES], of_method[MULTITASK]
            shares: JSON = {cost: _ratio(ours.get(cost), theirs.get(cost)) for cost in COSTS}
            found.append({"change": change, **shares})
    return found


def _ratio(ours: float | None, theirs: float | None) -> float | None:
    return None if ours is None or not theirs else ours / theirs
