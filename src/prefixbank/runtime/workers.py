"""Let workers make units.

A worker composes the command again, finds its units by their keys and publishes them in the store.
Keys and bytes are the same as in the command's own process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from prefixbank.config.running import RunConfig
from prefixbank.drivers.choose import open_driver
from prefixbank.drivers.driver import DIED, Driver, Work
from prefixbank.errors import DeviceError, PrefixbankError, raise_faults
from prefixbank.runtime.events import Emit, Event
from prefixbank.runtime.jobs import Job, error_in, events_in, failure
from prefixbank.store.key import JSON
from prefixbank.store.store import Store

Item = TypeVar("Item")

ATTEMPTS = 3
"""Attempts at a job whose worker dies. A job that ends with an error is not retried."""


class WorkerPool:
    """The workers of one command. The driver is opened when the first job needs it.

    Args:
        job: the whole command.
        run: which driver, and how many workers.
        work: runs a job, in a worker.
    """

    def __init__(self, job: Job, run: RunConfig, work: Work) -> None:
        self._job, self._run, self._work = job, run, work
        self._driver: Driver | None = None
        self._notes: set[Event] = set()

    @property
    def driver(self) -> Driver:
        """The driver, opened the first time."""
        if self._driver is None:
            self._driver = open_driver(self._run, self._work)
        return self._driver

    def should_dispatch(self, units: int) -> bool:
        """Whether workers should make this many missing units; if not, the command makes them."""
        if units == 0 or (self._run.driver == "local" and self._run.workers == 1):
            return False
        return self.driver.dispatches_single_units or (units > 1 and self.driver.num_workers > 1)

    @property
    def is_remote(self) -> bool:
        """Whether workers may run on other machines."""
        return self._run.driver != "local"

    def close(self) -> None:
        """End the workers."""
        if self._driver is not None:
            self._driver.close()
            self._driver = None

    def jobs_for_keys(self, groups: Sequence[tuple[str, ...]]) -> list[Job]:
        """Return the jobs that make units, given by their keys; a group is never divided."""
        return [replace(self._job, groups=batch) for batch in self._batches(tuple(groups))]

    def jobs_for_shards(
        self, shards: Mapping[int, str], *, always: Mapping[int, str], settings: Sequence[str]
    ) -> list[Job]:
        """Return the jobs that make shards of a corpus, adjacent shards together.

        Args:
            shards: number to digest.
            always: shards that are part of every job.
            settings: further overrides for the workers.
        """
        whole = replace(self._job, overrides=(*self._job.overrides, *settings))
        return [
            replace(whole, shards={**always, **dict(batch)})
            for batch in self._batches(tuple(shards.items()))
        ]

    def outcomes(self, jobs: Sequence[Job], emit: Emit) -> Iterator[tuple[Job, JSON]]:
        """Run jobs and yield each with its outcome as it ends.

        A job whose worker dies is retried without the units that it finished; after `ATTEMPTS`
        attempts that finished none its outcome is an error.
        """
        left = [(job, 1) for job in jobs]
        while left:
            again: list[tuple[Job, int]] = []
            for index, outcome in self.driver.outcomes([job.to_json() for job, _ in left]):
                job, attempt = left[index]
                if DIED not in outcome:
                    yield job, outcome
                    continue
                text = f"a worker died: {outcome[DIED]}; attempt {attempt} of {ATTEMPTS}"
                emit(Event(kind="note", step="run", name=self._run.driver, text=text))
                rest = _unfinished(job)
                if rest is not job:
                    again.append((rest, 1))
                elif attempt < ATTEMPTS:
                    again.append((job, attempt + 1))
                else:
                    yield job, failure(self._death(outcome[DIED]))
            left = again

    def _death(self, how: str) -> DeviceError:
        slurm = "run.slurm.minutes and run.slurm.memory_gb, or more workers (run.workers)"
        here = "fewer workers at a time (run.workers=1), or more memory for each"
        return DeviceError(
            f"workers died {ATTEMPTS} times on the same unit, the last one: {how}",
            expected=(
                "workers with enough memory and time for one unit; finished units are kept, "
                "training resumes"
            ),
            fix=slurm if self._run.driver == "slurm" else here,
        )

    def new_events(self, outcome: JSON) -> Iterator[Event]:
        """Yield the events of a worker without notes that another worker has sent already.

        Every worker loads the same tasks and emits the same notes about them.
        """
        for event in events_in(outcome):
            if event not in self._notes:
                yield event
            if event.kind == "note":
                self._notes.add(event)

    def _batches(self, items: tuple[Item, ...]) -> list[tuple[Item, ...]]:
        """Split items into jobs: one item each, or one job for each worker if starting is slow."""
        if not self.driver.batches_units or not self.driver.num_workers:
            return [(item,) for item in items]
        count = min(len(items), self.driver.num_workers)
        bounds = [len(items) * number // count for number in range(count + 1)]
        return [items[begin:end] for begin, end in zip(bounds[:-1], bounds[1:], strict=True)]


def _unfinished(job: Job) -> Job:
    """Return a job without the units that its store has; the same if that is none, or all."""
    if job.force or len(job.groups) < 2:
        return job
    store = Store(Path(job.store), map(Path, job.read_stores))
    missing = tuple(group for group in job.groups if any(store.get(key) is None for key in group))
    return replace(job, groups=missing) if 0 < len(missing) < len(job.groups) else job


def make_units(
    workers: WorkerPool,
    groups: Sequence[tuple[str, ...]],
    store: Store,
    emit: Emit,
) -> None:
    """Let workers make units.

    Args:
        workers: workers of the command.
        groups: keys of the units, those that one worker makes together; all their inputs are made.
        store: gets the artifacts.
        emit: gets every event.

    Raises:
        PrefixbankError: see `run_jobs`.
    """
    keys = [key for group in groups for key in group]
    run_jobs(workers, workers.jobs_for_keys(groups), keys, lambda job: None, store, emit)


def run_jobs(
    workers: WorkerPool,
    jobs: Sequence[Job],
    keys: Sequence[str],
    on_done: Callable[[Job], None],
    store: Store,
    emit: Emit,
) -> None:
    """Let workers run jobs.

    Args:
        workers: workers of the command.
        jobs: what to run.
        keys: keys of the artifacts that the store has afterwards.
        on_done: called after each job.
        store: gets the artifacts.
        emit: gets every event.

    Raises:
        PrefixbankError: the errors of failed jobs, once the others are done; or the workers use
            another store.
    """
    faults: dict[str, PrefixbankError] = {}
    for job, outcome in workers.outcomes(jobs, emit):
        for event in workers.new_events(outcome):
            emit(event)
        error = error_in(outcome)
        if error is not None:
            # Many jobs may fail with the same error.
            faults[str(error)] = error
        on_done(job)
    raise_faults(list(faults.values()))
    lost = [key for key in keys if store.get(key) is None]
    if lost:
        raise PrefixbankError(
            f"workers finished, but {len(lost)} of {len(keys)} units are not in the store at "
            f"{store.root}",
            expected=(
                "workers that see the same store, data and encoder under the same paths, with the "
                "same version of prefixbank"
            ),
            fix=(
                "prefixbank doctor    on a worker's machine; --store FOLDER on a file system that "
                "all machines share"
            ),
        )
