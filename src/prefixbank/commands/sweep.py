"""What the names of a sweep lead to in the end: of several runs of one name, the best."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from prefixbank.commands.results import Artifact
from prefixbank.errors import StoreError
from prefixbank.runtime.events import Event
from prefixbank.store.key import shorten
from prefixbank.store.store import Store

SCORED = {
    "train-prefix": "prefix",
    "train-multitask": "multitask",
    "train-student": "student",
    "probe": "probe",
}
"""Steps whose results have a score on validation rows, and the kind of their refs."""


class SweepRun(NamedTuple):
    """A run of a sweep that succeeded: its `KEY=VALUE` settings, and what it made."""

    settings: Sequence[str]
    artifact: Artifact


def keep_best(store: Store, runs: Sequence[SweepRun]) -> Iterator[Event]:
    """Point each name that several artifacts have to the best of them on validation rows.

    Of several that are equally good it is the first. Where they cannot be compared, the name stays
    with the last one. There is a note in each case.
    """
    by_name: dict[tuple[str, str], dict[str, SweepRun]] = {}
    for run in runs:
        named = by_name.setdefault((run.artifact.step, run.artifact.name), {})
        named.pop(run.artifact.key, None)
        named[run.artifact.key] = run
    for (step, name), named in by_name.items():
        if len(named) > 1:
            yield Event(kind="note", step=step, name=name, text=_settle(store, [*named.values()]))


def _settle(store: Store, runs: Sequence[SweepRun]) -> str:
    """Set the ref of runs of one name, and return what it leads to."""
    kind = SCORED.get(runs[0].artifact.step)
    scores: list[float] = [
        run.artifact.facts["validation"]
        for run in runs
        if run.artifact.facts.get("validation") is not None
    ]
    compared = {_measured(run.artifact.facts) for run in runs}
    if kind is None or len(scores) < len(runs) or len(compared) > 1:
        last = shorten(runs[-1].artifact.key)
        return f"{len(runs)} results of one name: it is that of the last, {last}"
    best = scores.index(max(scores))
    artifact = runs[best].artifact
    try:
        ref = store.set_ref(kind, artifact.name, artifact.key)
    except StoreError as error:  # all of them were hits
        return f"{kind}/{artifact.name} is not set to {shorten(artifact.key)}: {error.what}"
    equal = scores.count(scores[best])  # calibration and thresholds, for one, leave it as it is
    rank = "the best" if equal == 1 else f"the first of {equal} equally good ones"
    return (
        f"{ref} is {shorten(ref.key)}, {rank} of {len(runs)} on validation, "
        f"{scores[best]:.3f}: {_difference(runs, best)}"
    )


def _measured(facts: dict[str, Any]) -> tuple[str, ...]:
    """Return what a score measures: only scores of one task and metric can be compared."""
    return tuple(str(facts.get(name)) for name in ("task", "tasks", "metric"))


def _difference(runs: Sequence[SweepRun], index: int) -> str:
    """Return the settings of one run in which the runs differ."""
    columns = zip(*(run.settings for run in runs), strict=True)
    return " ".join(column[index] for column in columns if len(set(column)) > 1)
