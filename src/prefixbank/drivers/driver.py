"""The protocol of drivers: run jobs in workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

JSON = dict[str, Any]
Work = Callable[[JSON], JSON]
"""Runs one job in a worker and returns its outcome. The worker imports it by name, so it is a
function of a module."""

DIED = "died"
"""The only entry of the outcome of a job whose worker died: how it died."""


class Driver(Protocol):
    """Runs jobs in workers.

    Args:
        num_workers: workers at a time; 0: as many as there are jobs, or as fit.
        dispatches_single_units: whether a single job is worth a worker.
        batches_units: whether starting a worker is so slow that one job should hold many units.
    """

    num_workers: int
    dispatches_single_units: bool
    batches_units: bool

    def outcomes(self, jobs: Sequence[JSON]) -> Iterator[tuple[int, JSON]]:
        """Run jobs; yield the index of each and its outcome as it ends.

        The outcome of a job whose worker died is `{DIED: how}`.
        """

    def close(self) -> None:
        """Stop what is still running."""
