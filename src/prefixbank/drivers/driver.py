"""What a driver is, and which one a configuration asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

JSON = dict[str, Any]
Work = Callable[[JSON], JSON]
"""Does one job, in a worker, and returns its outcome. Found by its name there, so a function of a
module."""

DIED = "died"
"""The one entry of an outcome that the driver gives in the worker's place: how the worker ended."""


class Driver(Protocol):
    """Does jobs in workers.

    Args:
        num_workers: workers there are at a time; 0: as many as there are jobs, or room for.
        dispatches_single_units: whether a single job is worth a worker.
        batches_units: whether a worker is so dear to start that it should be given many units as
            one job.
    """

    num_workers: int
    dispatches_single_units: bool
    batches_units: bool

    def outcomes(self, jobs: Sequence[JSON]) -> Iterator[tuple[int, JSON]]:
        """Do the jobs; yield the place of each and its outcome as they end.

        A worker that dies has the outcome `{DIED: how}`.
        """

    def close(self) -> None:
        """End what is still running."""
