"""Go through a graph of units.

Plan all of it, say how much is there, and make the rest, here or by workers.
"""

from __future__ import annotations

from collections.abc import Callable

from prefixbank.runtime.context import Context
from prefixbank.runtime.events import Event, silent
from prefixbank.runtime.unit import Planned, Unit
from prefixbank.runtime.workers import WorkerPool, make_units
from prefixbank.store.key import key_of

Walk = Callable[[Context], Planned]
"""Gives a context every unit in order, an input before what is made of it; a context that plans
makes none of them."""


def run_walk(context: Context, name: str, walk: Walk) -> Planned:
    """Return what the walk comes to.

    Args:
        context: how to run. One that plans gets the whole plan; a worker's makes its share in
            silence.
        name: what messages call it.
        walk: the graph.
    """
    if context.is_share:
        return walk(context)
    planned: list[Event] = []
    missing: list[Unit] = []
    outcome = walk(context.dry(planned.append, missing))
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
        return outcome
    if context.workers is not None:
        _make_in_waves(context, context.workers, name, walk, missing)
    return walk(context)


def _make_in_waves(
    context: Context, workers: WorkerPool, name: str, walk: Walk, missing: list[Unit]
) -> None:
    """Have workers make what is missing.

    Whatever has all its inputs, and then what that makes possible.

    Args:
        context: how to run.
        workers: the workers; without any, nothing is made here.
        name: what messages call it.
        walk: the graph.
        missing: units that have all their inputs.
    """
    while missing:
        own = [unit for unit in missing if unit.here]
        if not own and not workers.should_dispatch(2):
            return
        keys = [key_of(unit.document) for unit in own or missing]
        if own or not workers.should_dispatch(len(keys)):
            walk(context.restricted_to(keys, context.emit))
        else:
            make_units(workers, keys, name, context.store, context.emit)
            context.mark_made(keys)
        missing = []
        walk(context.dry(silent, missing))
