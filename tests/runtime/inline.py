"""A driver whose worker is the process itself.

Jobs and outcomes pass through JSON, as with any driver.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import chdir
from tempfile import gettempdir
from typing import Any

import pytest

from prefixbank.config.running import RunConfig
from prefixbank.drivers.driver import Work
from prefixbank.runtime import workers as workers


class Inline:
    """See `drivers.driver.Driver`; keeps what it was given."""

    def __init__(
        self,
        *,
        num_workers: int = 2,
        dispatches_single_units: bool = True,
        batches_units: bool = False,
        deaths: int = 0,
    ) -> None:
        self.num_workers, self.dispatches_single_units, self.batches_units = (
            num_workers,
            dispatches_single_units,
            batches_units,
        )
        self.deaths = deaths
        """Jobs that are not done: their worker dies."""
        self.calls: list[list[dict[str, Any]]] = []
        self.closed = 0
        self.work: Work = lambda job: {}

    @property
    def jobs(self) -> list[dict[str, Any]]:
        """All jobs it was given."""
        return [job for call in self.calls for job in call]

    def outcomes(self, jobs: Sequence[dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Do the jobs, the last one first."""
        self.calls.append(list(jobs))
        for place in reversed(range(len(jobs))):
            if self.deaths:
                self.deaths -= 1
                yield place, {"died": "killed by SIGKILL"}
            else:
                with chdir(gettempdir()):  # a worker starts anywhere
                    outcome = json.loads(json.dumps(self.work(json.loads(json.dumps(jobs[place])))))
                yield place, outcome

    def close(self) -> None:
        """Note it."""
        self.closed += 1

    def instead(self, monkeypatch: pytest.MonkeyPatch) -> Inline:
        """Take the place of the driver that is asked for."""

        def take(run: RunConfig, work: Work) -> Inline:
            self.work = work
            return self

        monkeypatch.setattr(workers, "open_driver", take)
        return self
