"""A line on stderr for each step; how far it is as a bar on a terminal, else as a line at times."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import isnan
from types import TracebackType
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from prefixbank.commands.amounts import duration_text, estimate_text, size_text
from prefixbank.runtime.events import Event

LINE_EVERY_S = 30.0
"""Least time between two lines of progress where there is no terminal."""
MEASURED_S = 3.0
"""Least time after which the time left is estimated."""


Level = Literal["command", "step"]
"""What goes on: the whole command, and its current step."""


@dataclass(kw_only=True)
class _Pace:
    """How fast something moves.

    Args:
        of: step, name and unit of its events.
        started: when its first event came.
        first: how many were done then: some, if a training resumes.
        shown: when its last line was printed, or when it started.
        bar: of the terminal.
    """

    of: tuple[str, str, str]
    started: float
    first: int
    shown: float
    bar: TaskID

    def left(self, event: Event, now: float) -> str:
        """Return about how much time is left, empty if that cannot be known."""
        passed, moved = now - self.started, event.done - self.first
        if passed < MEASURED_S or moved <= 0 or event.done >= event.total:
            return ""
        to_do = (event.total - event.done) / moved if event.to_do is None else event.to_do
        return "" if isnan(to_do) else f"{estimate_text(passed * to_do)} left"


class StepLines:
    """Listens to events and prints a line for each, and how far the command and its step are.

    Args:
        quiet: print nothing.
        clock: seconds that have passed.
    """

    def __init__(self, *, quiet: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self.quiet, self.clock = quiet, clock
        self.console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[text]}"),
            console=self.console,
            transient=True,
            disable=quiet or not self.console.is_terminal,
        )
        self.paces: dict[Level, _Pace] = {}

    def __enter__(self) -> StepLines:
        """Start drawing."""
        self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop drawing."""
        self.progress.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if self.quiet:
            return
        if event.kind == "progress":
            self._move(event)
            return
        self._end("step")
        self.console.print(line_of(event))

    def _move(self, event: Event) -> None:
        now, pace = self.clock(), self._pace(event)
        text = progress_text(event, pace.left(event, now))
        if self.console.is_terminal:
            self.progress.update(
                pace.bar, completed=event.done, total=max(event.total, event.done), text=text
            )
        elif now - pace.shown >= LINE_EVERY_S:
            pace.shown = now
            self.console.print(f"{_head(event)} {text}")

    def _pace(self, event: Event) -> _Pace:
        """Return the pace of what an event is about; what was there before it has ended."""
        level: Level = "command" if event.step == "run" else "step"
        of = (event.step, event.name, event.unit)
        if level not in self.paces or self.paces[level].of != of:
            self._end(level)
            now = self.clock()
            bar = self.progress.add_task(f"{event.step} {event.name}", total=event.total, text="")
            self.paces[level] = _Pace(of=of, started=now, first=event.done, shown=now, bar=bar)
        return self.paces[level]

    def _end(self, level: Level) -> None:
        pace = self.paces.pop(level, None)
        if pace is not None:
            self.progress.remove_task(pace.bar)


def line_of(event: Event) -> str:
    """Return the line for an event: step, name, what happened, key, size, time, text."""
    match event.kind:
        case "hit" | "done":
            return (
                f"{_head(event)} {event.kind:<5} {event.key[:8]}  "
                f"{size_text(event.size_bytes):>9}  {duration_text(event.seconds):>11}  "
                f"{event.text}".rstrip()
            )
        case "miss" | "waits":
            return f"{_head(event)} MISS  {event.text}"
        case _:
            return f"{_head(event)} note  {event.text}"


def progress_text(event: Event, left: str) -> str:
    """Return how far something is: `5 of 23 units, about 7 min left`."""
    total = max(event.total, event.done)
    counted = f"{event.done:,} of {total:,} {event.unit}".rstrip()
    return ", ".join(part for part in (counted, left, event.text) if part)


def _head(event: Event) -> str:
    return f"{event.step:<15} {event.name:<30}"
