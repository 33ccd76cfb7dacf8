"""Run a command by its name and `KEY=VALUE` settings, in this process or as a worker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefixbank.commands.functions import Row
from prefixbank.commands.invocation import Invocation
from prefixbank.commands.table import Command, command_named
from prefixbank.config.unused import without_effect
from prefixbank.env import read_roots
from prefixbank.errors import Faults, PrefixbankError, raise_faults
from prefixbank.project import store_root
from prefixbank.runtime.events import Event
from prefixbank.runtime.jobs import Job, error_in, event_collector, events_in, run_job
from prefixbank.runtime.worker import working_folder
from prefixbank.runtime.workers import WorkerPool
from prefixbank.store.key import JSON
from prefixbank.store.store import Store

if TYPE_CHECKING:
    from prefixbank.config.commands import CommandConfig
    from prefixbank.runtime.unit import Planned


def run_command(
    command: Command[Any], overrides: Sequence[str], invocation: Invocation
) -> Planned | list[Row]:
    """Run a command.

    Args:
        command: which one.
        overrides: `KEY=VALUE` settings; of a command that takes texts, these too.
        invocation: where to run, and who listens.

    Returns:
        The rows of a command that prints rows, else a handle of the artifact, which does not exist
        after a dry run that was no hit.
    """
    from prefixbank.config.compose import compose

    texts, overrides = command.split_texts(overrides)
    invocation = replace(invocation.with_defaults(), texts=texts)
    config = compose(
        command.settings,
        overrides,
        conf_dir=invocation.conf_dir,
        defaults=invocation.defaults,
    )
    if invocation.job is None:
        given = [setting.partition("=")[0] for setting in overrides]
        for name, wanted in without_effect(config, given):
            text = f"{name} has no effect without {wanted}"
            invocation.emit(Event(kind="note", step=command.name, name="settings", text=text))
    if command.shares_units and invocation.job is None:
        job = _job(command, overrides, invocation)
        invocation = replace(invocation, open_workers=lambda run: WorkerPool(job, run, work))
    return command.function(config, invocation)


def run_sweep(
    command: Command[Any], runs: Sequence[Sequence[str]], invocation: Invocation
) -> dict[int, PrefixbankError | None]:
    """Let workers make the runs of a sweep, one job for each.

    Args:
        command: which one.
        runs: the `KEY=VALUE` settings of each run.
        invocation: where to run, and who listens.

    Returns:
        The indices of the runs that workers went through, each with the error that ended it, if
        any. Empty if there are no workers, or the command does not sweep by workers.

    Raises:
        UsageError: settings of some runs are wrong; none is run.
    """
    invocation = invocation.with_defaults()
    if len(runs) < 2:
        return {}
    run = _settings_of(command, runs, invocation)[0].run
    if not command.sweeps_by_workers or invocation.dry_run:
        return {}
    jobs = [_job(command, overrides, invocation) for overrides in runs]
    indices = {id(job): index for index, job in enumerate(jobs)}
    workers = WorkerPool(jobs[0], run, work)
    errors: dict[int, PrefixbankError | None] = {}
    try:
        if workers.should_dispatch(len(jobs)):
            for job, outcome in workers.outcomes(jobs, invocation.emit):
                for event in events_in(outcome):
                    invocation.emit(event)
                errors[indices[id(job)]] = error_in(outcome)
    finally:
        workers.close()
    return errors


def work(job: JSON) -> JSON:
    """Do a worker's share of a command in this process, and return its events and errors.

    See `runtime/jobs.py`.
    """
    share = Job.from_json(job)
    events: list[Event] = []
    invocation = Invocation(
        store=share.store,
        conf_dir=Path(share.conf_dir) if share.conf_dir else None,
        force=share.force,
        defaults=share.defaults,
        emit=event_collector(events),
        job=share,
    )

    def run(part: Job) -> None:
        run_command(command_named(share.command), share.overrides, replace(invocation, job=part))

    def make() -> None:
        with working_folder(share):
            try:
                run(share)
            except PrefixbankError as first:
                raise_faults(_faults_of_rest(share, first, run))

    return run_job(make, events)


def _faults_of_rest(
    job: Job, first: PrefixbankError, run: Callable[[Job], None]
) -> list[PrefixbankError]:
    """Make the other units of a job of which one failed, and return all faults."""
    faults = {str(first): first}
    if len(job.groups) > 1:
        store = Store(Path(job.store), map(Path, job.read_stores))
        for group in job.groups:
            if any(store.get(key) is None for key in group):
                try:
                    run(replace(job, groups=(group,)))
                except PrefixbankError as fault:
                    faults[str(fault)] = fault
    return list(faults.values())


def _job(command: Command[Any], overrides: Sequence[str], invocation: Invocation) -> Job:
    """Return a whole command as a job for workers."""
    return Job(
        command=command.name,
        overrides=tuple(overrides),
        store=str(store_root(invocation.store)),
        read_stores=tuple(map(str, read_roots())),
        folder=str(Path.cwd()),
        conf_dir=str(invocation.conf_dir.expanduser().absolute()) if invocation.conf_dir else "",
        defaults=invocation.defaults,
        force=invocation.force,
    )


def _settings_of(
    command: Command[Any], runs: Sequence[Sequence[str]], invocation: Invocation
) -> list[CommandConfig]:
    """Return the settings of each run.

    Raises:
        UsageError: some are wrong; those of all runs are named, each once.
    """
    from prefixbank.config.compose import compose

    found = []
    faults: dict[str, PrefixbankError] = {}
    for overrides in runs:
        try:
            found.append(
                compose(
                    command.settings,
                    overrides,
                    conf_dir=invocation.conf_dir,
                    defaults=invocation.defaults,
                )
            )
        except PrefixbankError as error:
            every = error.faults if isinstance(error, Faults) else (error,)
            faults = {fault.what: fault for fault in every} | faults
    raise_faults([*faults.values()])
    return found
