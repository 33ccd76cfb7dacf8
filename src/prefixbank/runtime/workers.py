"""Have units made by workers, each of which builds the command again and makes its share.

A worker finds the units by their keys, and puts what it makes into the store, as the command itself
would: the keys and the bytes are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
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
"""How often a job is begun whose worker dies; a job that ends with an error is not begun again."""


class WorkerPool:
    """The workers of one command. The driver is opened when there is something to make.

    Args:
        job: the whole command.
        run: which driver, and how many workers.
        work: does a job, in a worker.
    """

    def __init__(self, job: Job, run: RunConfig, work: Work) -> None:
        self._job, self._run, self._work = job, run, work
        self._driver: Driver | None = None
        self._notes: set[Event] = set()

    @property
    def driver(self) -> Driver:
        """The driver, opened."""
        if self._driver is None:
            self._driver = open_driver(self._run, self._work)
        return self._driver

    def should_dispatch(self, units: int) -> bool:
        """Tell whether so many missing units are for workers to make.

        If not, the command makes them itself.
        """
        if units == 0 or (self._run.driver == "local" and self._run.workers == 1):
            return False
        return self.driver.dispatches_single_units or (units > 1 and self.driver.num_workers > 1)

    @property
    def is_remote(self) -> bool:
        """Whether workers may be on other machines."""
        return self._run.driver != "local"

    def close(self) -> None:
        """End the workers."""
        if self._driver is not None:
            self._driver.close()
            self._driver = None

    def jobs_for_keys(self, keys: Sequence[str]) -> list[Job]:
        """Return jobs that make units."""
        return [replace(self._job, keys=share) for share in self._shares(tuple(keys))]

    def jobs_for_shards(
        self, shards: Mapping[int, str], *, always: Mapping[int, str], settings: Sequence[str]
    ) -> list[Job]:
        """Return jobs that make shards of a corpus, neighbours together.

        Args:
            shards: number and digest of each.
            always: shards that each job is told of.
            settings: further overrides for the workers.
        """
        whole = replace(self._job, overrides=(*self._job.overrides, *settings))
        return [
            replace(whole, shards={**always, **dict(share)})
            for share in self._shares(tuple(shards.items()))
        ]

    def outcomes(self, jobs: Sequence[Job], emit: Emit) -> Iterator[tuple[Job, JSON]]:
        """Have jobs done; yield each with its outcome as they end.

        One whose worker dies is begun again; after `ATTEMPTS` times it has an error for an outcome.
        """
        left = list(jobs)
        for attempt in range(1, ATTEMPTS + 1):
            died: list[tuple[Job, str]] = []
            for place, outcome in self.driver.outcomes([job.to_json() for job in left]):
                if DIED in outcome:
                    died.append((left[place], outcome[DIED]))
                    text = f"a worker died: {outcome[DIED]}; attempt {attempt} of {ATTEMPTS}"
                    emit(Event(kind="note", step="run", name=self._run.driver, text=text))
                else:
                    yield left[place], outcome
            if not died:
                return
            left = [job for job, _ in died]
        for job, how in died:
            error = DeviceError(
                f"a worker has died {ATTEMPTS} times over the same unit, the last time: {how}",
                expected=(
                    "workers with memory and time enough for one unit; what is finished is kept, "
                    "training resumes"
                ),
                fix="fewer workers at a time (run.workers=1), or more memory or time for each",
            )
            yield job, failure(error)

    def new_events(self, outcome: JSON) -> Iterator[Event]:
        """Yield what a worker heard, but for notes that another has passed on.

        Each reads the same tasks and notes the same of them.
        """
        for event in events_in(outcome):
            if event not in self._notes:
                yield event
            if event.kind == "note":
                self._notes.add(event)

    def _shares(self, items: tuple[Item, ...]) -> list[tuple[Item, ...]]:
        """Deal out items to jobs.

        One for each job, or where a job is dear to start, about as many for each worker.
        """
        if not self.driver.batches_units or not self.driver.num_workers:
            return [(item,) for item in items]
        count = min(len(items), self.driver.num_workers)
        bounds = [len(items) * number // count for number in range(count + 1)]
        return [items[begin:end] for begin, end in zip(bounds[:-1], bounds[1:], strict=True)]


def make_units(
    workers: WorkerPool, keys: Sequence[str], name: str, store: Store, emit: Emit
) -> None:
    """Have units made.

    Args:
        workers: of the command.
        keys: of units that the command would make now.
        name: what messages call them.
        store: where they are afterwards.
        emit: gets every event.

    Raises:
        PrefixbankError: see `do_jobs`.
    """
    done = 0

    def count(job: Job) -> None:
        nonlocal done
        done += len(job.keys)
        emit(Event(kind="progress", step="run", name=name, done=done, total=len(keys)))

    do_jobs(workers, workers.jobs_for_keys(keys), keys, count, store, emit)


def do_jobs(
    workers: WorkerPool,
    jobs: Sequence[Job],
    keys: Sequence[str],
    on_done: Callable[[Job], None],
    store: Store,
    emit: Emit,
) -> None:
    """Have jobs done.

    Args:
        workers: of the command.
        jobs: what to do.
        keys: of the units that are there afterwards.
        on_done: called after each job.
        store: where the units are afterwards.
        emit: gets every event.

    Raises:
        PrefixbankError: what made jobs fail, once the others are done; or the workers are not those
            of this store.
    """
    faults: dict[str, PrefixbankError] = {}
    for job, outcome in workers.outcomes(jobs, emit):
        for event in workers.new_events(outcome):
            emit(event)
        error = error_in(outcome)
        if error is not None:
            # The same for many jobs, where it is the machine's or the corpus's.
            faults[str(error)] = error
        on_done(job)
    raise_faults(list(faults.values()))
    lost = [key for key in keys if store.get(key) is None]
    if lost:
        raise PrefixbankError(
            f"workers say they are done, but {len(lost)} of {len(keys)} units are not in the "
            f"store at {store.root}",
            expected=(
                "workers that see the same store, data and encoder under the same paths, with the "
                "same version of prefixbank"
            ),
            fix=(
                "prefixbank doctor    on a worker's machine; --store FOLDER on a file system that "
                "all machines share"
            ),
        )
