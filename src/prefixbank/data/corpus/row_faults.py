"""Faults in the rows of something too large to hold.

Counted, the first few kept, reported together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from prefixbank.data.tasks.raw import rows_fault
from prefixbank.errors import PrefixbankError

ENOUGH = 10_000
"""Faulty rows after which reading on is of no use."""


@dataclass(kw_only=True)
class _Problem:
    """What several rows have in common."""

    expected: str
    fix: str
    rows: list[int] = field(default_factory=list)
    values: list[object] = field(default_factory=list)


class RowFaults:
    """Collects faults of one file."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._problems: dict[str, _Problem] = {}
        self.count = 0

    @property
    def enough(self) -> bool:
        """Whether there are so many that reading can stop."""
        return self.count >= ENOUGH

    def add(self, row: int, problem: str, value: object, *, expected: str, fix: str) -> None:
        """Note a fault.

        Args:
            row: 1-based number.
            problem: what is wrong, as in "3 rows <problem>".
            value: what the row holds instead; None shows nothing.
            expected: what a right row has.
            fix: what to do.
        """
        found = self._problems.setdefault(problem, _Problem(expected=expected, fix=fix))
        found.rows.append(row)
        found.values.append(value)
        self.count += 1

    def clear(self) -> None:
        """Forget all."""
        self._problems.clear()
        self.count = 0

    def found(self) -> Sequence[PrefixbankError]:
        """Return one fault for each kind of problem, in the order found."""
        stopped = f" (reading stopped at {ENOUGH} faulty rows)" if self.enough else ""
        return [
            rows_fault(
                self._where,
                problem + stopped,
                np.array(found.rows),
                found.values,
                expected=found.expected,
                fix=found.fix,
            )
            for problem, found in self._problems.items()
        ]
