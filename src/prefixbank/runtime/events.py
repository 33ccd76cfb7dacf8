"""What a step tells whoever is listening. Steps never print."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that happened.

    Args:
        kind: `hit` and `done` end a unit, `miss` starts one, `waits` stands for one whose inputs
            are still to be made, `progress` moves one on, `note` says something that the user
            should know.
        step: command-like name of the step, `train-prefix`.
        name: what it works on, `snli`.
        text: reason of a miss, summary of a result, or the note.
        key: of the artifact, once it is known.
        seconds: time spent, for `done` and `hit`.
        size_bytes: size of the artifact.
        done: for `progress`, steps or rows so far.
        total: for `progress`, all of them.
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


Emit = Callable[[Event], None]


def silent(event: Event) -> None:
    """Listen to nothing."""
