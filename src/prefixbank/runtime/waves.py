"""Plan all units of a command, report how many are hits, and run the rest, here or by workers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from math import nan
from statistics import mean

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
        steps = [event.step for event in units if event.kind != "hit"]
        context = context.with_listener(_counted(context.emit, name, steps))
    if context.workers is not None:
        _make_in_waves(context, context.workers, ensure_all, missing)
    return ensure_all(context)


def _counted(emit: Emit, name: str, steps: Sequence[str]) -> Emit:
    """Return a listener that passes events on, and reports how many units are made.

    Args:
        emit: gets every event.
        name: what messages call the command.
        steps: of each unit to make.
    """
    left, seconds = Counter(steps), defaultdict[str, list[float]](list)

    def listen(event: Event) -> None:
        emit(event)
        if event.kind == "done":
            left[event.step] -= 1
            seconds[event.step].append(event.seconds)
            report()

    def report() -> None:
        emit(
            Event(
                kind="progress",
                step="run",
                name=name,
                done=sum(map(len, seconds.values())),
                total=len(steps),
                unit="units",
                to_do=work_to_do(left, seconds),
            )
        )

    if steps:
        report()
    return listen


def work_to_do(left: Mapping[str, int], seconds: Mapping[str, Sequence[float]]) -> float:
    """Return how much work is left, over that which is done.

    A unit takes as long as those of its step did. One of a step that was not met yet counts nothing
    beside a training; if it is a training itself, nothing can be said.

    Args:
        left: units left, by step.
        seconds: what each finished unit took, by step.
    Returns:
        The ratio; NaN if it is not known.
    """
    unmet = {step for step, number in left.items() if number > 0 and not seconds.get(step)}
    done = sum(map(sum, seconds.values()))
    if done <= 0 or any(step.startswith("train-") for step in unmet):
        return nan
    return sum(max(left.get(step, 0), 0) * mean(of) for step, of in seconds.items() if of) / done


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
