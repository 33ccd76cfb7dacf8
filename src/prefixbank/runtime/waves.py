"""Plan all units of a command, report how many are hits, and run the rest, here or by workers."""

from __future__ import annotations

from collections.abc import Callable

from prefixbank.runtime.context import Context
from prefixbank.runtime.events import Emit, Event, silent
from prefixbank.runtime.unit import Planned, Unit, grouped
from prefixbank.runtime.workers import WorkerPool, make_units

EnsureAll = Callable[[Context], Planned]
"""Ensures every unit of a command, inputs before what depends on them, and returns the last."""


def plan_and_run(context: Context, name: str, ensure_all: EnsureAll) -> Planned:
    """Return the last unit of a command, after planning and running all of them.

    Args:
        context: how to run. A dry run stops after the plan. A restricted context, in a worker,
            makes its units without a plan.
        name: what messages call the command.
        ensure_all: ensures the units.
    """
    if context.is_restricted:
        return ensure_all(context)
    planned: list[Event] = []
    missing: list[Unit] = []
    last = ensure_all(context.dry(planned.append, missing))
    units = [event for event in planned if event.kind in ("hit", "miss", "waits")]
    hits = sum(event.kind == "hit" for event in units)
    context.emit(
        Event(
            kind="note",
            step="run",
            name=name,
            text=f"{len(units)} units: {hits} hits, {len(units) - hits} to run",
        )
    )
    if context.dry_run:
        for event in units:
            context.emit(event)
        return last
    if context.emit is not silent:
        context = context.with_listener(_counted(context.emit, name, len(units) - hits))
    if context.workers is not None:
        _make_in_waves(context, context.workers, ensure_all, missing)
    return ensure_all(context)


def _counted(emit: Emit, name: str, total: int) -> Emit:
    """Return a listener that passes events on, and reports how many units are made.

    Args:
        emit: gets every event.
        name: what messages call the command.
        total: units to make.
    """
    done = 0

    def listen(event: Event) -> None:
        nonlocal done
        emit(event)
        if event.kind == "done":
            done += 1
            report()

    def report() -> None:
        emit(Event(kind="progress", step="run", name=name, done=done, total=total, unit="units"))

    if total:
        report()
    return listen


def _make_in_waves(
    context: Context, workers: WorkerPool, ensure_all: EnsureAll, missing: list[Unit]
) -> None:
    """Have workers make the missing units: those with all inputs, then those that now have them.

    Args:
        context: how to run.
        workers: the workers; if they are not worth using, this returns at once.
        ensure_all: ensures the units.
        missing: units that have all their inputs.
    """
    while missing:
        cheap = [unit for unit in missing if unit.cheap]
        if not cheap and not workers.should_dispatch(2):
            return
        groups = grouped(cheap or missing)
        keys = [key for group in groups for key in group]
        if cheap or not workers.should_dispatch(len(groups)):
            ensure_all(context.restricted_to(keys, context.emit))
        else:
            make_units(workers, groups, context.store, context.emit)
            context.mark_made(keys)
        missing = []
        ensure_all(context.dry(silent, missing))
