"""Have workers make the combinations of a sweep before the command goes through them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, cast, get_args

from prefixbank.errors import PrefixbankError

if TYPE_CHECKING:
    from prefixbank.api import Options
    from prefixbank.config.running import RunConfig

Command = Literal["train_prefix", "train_multitask", "probe"]
"""Of these each combination is a job. `embed` and `run` have workers for one combination after the
other."""


def make_ahead(
    command: str, combinations: Sequence[list[str]], options: Options
) -> dict[int, PrefixbankError | None]:
    """Have workers make what they can.

    Return the places of the combinations they went through, each with the error that ended it.
    """
    from prefixbank.api import work
    from prefixbank.runtime.jobs import error_in, events_in
    from prefixbank.runtime.workers import WorkerPool

    if command not in get_args(Command) or len(combinations) < 2 or options.dry_run:
        return {}
    asked = _running(command, combinations, options)
    if asked is None:
        return {}
    jobs = [options.whole(command, settings) for settings in combinations]
    places = {id(job): place for place, job in enumerate(jobs)}
    workers = WorkerPool(jobs[0], asked, work)
    made: dict[int, PrefixbankError | None] = {}
    try:
        if workers.should_dispatch(len(jobs)):
            for job, outcome in workers.outcomes(jobs, options.emit):
                for event in events_in(outcome):
                    options.emit(event)
                made[places[id(job)]] = error_in(outcome)
    finally:
        workers.close()
    return made


def after(options: Options) -> Options:
    """Return options for going through what workers have made and told of."""
    from prefixbank.runtime.events import silent

    return replace(options, force=False, emit=silent)


def _running(command: str, combinations: Sequence[list[str]], options: Options) -> RunConfig | None:
    """Return how to run, as the first combination has it that can be read.

    The others are reported where they are run.
    """
    from prefixbank.config.compose import compose

    for settings in combinations:
        try:
            return compose(cast("Command", command), settings, conf_dir=options.conf_dir).run
        except PrefixbankError:
            continue
    return None
