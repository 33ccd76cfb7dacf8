"""Send the units of a command to its workers, pass on what they have to say, and make sure that the units are there afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from prefixbank.errors import PrefixbankError, raise_faults
from prefixbank.steps.elsewhere import Elsewhere
from prefixbank.steps.events import Event
from prefixbank.steps.jobs import Job, error_in

if TYPE_CHECKING:
    from prefixbank.steps.context import Context


def make_units(context: Context, elsewhere: Elsewhere, keys: Sequence[str], name: str) -> None:
    """Have units made.

    Args:
        context: of the command.
        elsewhere: its workers.
        keys: of units that the command would make now.
        name: what messages call them.

    Raises:
        PrefixbankError: see `do_jobs`.
    """
    done = 0

    def count(job: Job) -> None:
        nonlocal done
        done += len(job.keys)
        context.emit(Event(kind="progress", step="run", name=name, done=done, total=len(keys)))

    do_jobs(context, elsewhere, elsewhere.jobs_for_keys(keys), keys, count)


def do_jobs(context: Context, elsewhere: Elsewhere, jobs: Sequence[Job], keys: Sequence[str], on_done: Callable[[Job], None]) -> None:
    """Have jobs done.

    Args:
        context: of the command.
        elsewhere: its workers.
        jobs: what to do.
        keys: of the units that are there afterwards.
        on_done: called after each job.

    Raises:
        PrefixbankError: what made jobs fail, once the others are done; or the workers are not those of this store.
    """
    faults: dict[str, PrefixbankError] = {}
    for job, outcome in elsewhere.outcomes(jobs, context.emit):
        for event in elsewhere.news_in(outcome):
            context.emit(event)
        error = error_in(outcome)
        if error is not None:
            faults[str(error)] = error  # the same for many jobs, where it is the machine's or the corpus's
        on_done(job)
    raise_faults(list(faults.values()))
    lost = [key for key in keys if context.store.get(key) is None]
    if lost:
        raise PrefixbankError(
            f"workers say they are done, but {len(lost)} of {len(keys)} units are not in the store at {context.store.root}",
            expected="workers that see the same store, data and encoder under the same paths, with the same version of prefixbank",
            fix="prefixbank doctor    on a worker's machine; --store FOLDER on a file system that all machines share",
        )
    context.told_of(keys)
