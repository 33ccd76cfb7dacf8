"""Events: what steps report to a listener. Steps never print."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that happened.

    Args:
        kind: `miss` starts a unit, `hit` and `done` end it, `progress` says how far it is. `waits`
            is a unit that cannot be planned because an input is not made yet. `note` is anything
            else that the user should know.
        step: command-like name of the step, `train-prefix`.
        name: what the step works on, `snli`.
        text: reason of a miss, summary of a result, or the note.
        key: of the artifact, once it is known.
        seconds: time spent, for `done` and `hit`.
        size_bytes: size of the artifact.
        done: for `progress`, how many are done so far.
        total: for `progress`, how many there are.
        unit: for `progress`, what is counted: `steps`, `rows`, `texts`, `units`.
        to_do: for `progress`, the work that is left over the work done since the first such event;
            None: as many of what is counted, NaN: not known yet.
    """

    kind: Literal["hit", "miss", "waits", "done", "progress", "note"]
    step: str
    name: str
    text: str = ""
    key: str = ""
    seconds: float = 0.0
    size_bytes: int = 0
    done: int = 0
    total: int = 0
    unit: str = ""
    to_do: float | None = None


Emit = Callable[[Event], None]


def silent(event: Event) -> None:
    """Ignore an event."""
