"""How far the embedding of a corpus is, whoever embeds its shards."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from prefixbank.steps.context import Context
from prefixbank.steps.embed import STEP
from prefixbank.steps.events import Event
from prefixbank.store.artifact import Entry


@dataclass(kw_only=True)
class RowProgress:
    """Tells rows done of all, and how many are embedded in a second."""

    context: Context
    name: str
    total: int
    passed: int = 0
    """Rows of the shards up to the one that is looked at."""
    done: int = 0
    embedded: int = 0
    started: float = field(default_factory=time.monotonic)

    def of_shard(self, rows: int, make: Callable[[Context], Entry]) -> Entry:
        """Make one shard and count its rows as they are embedded; those of a hit at its end."""
        entry = make(self.context.telling(self._move))
        self.passed += rows
        self.begin(max(self.done, self.passed))
        return entry

    def begin(self, done: int) -> None:
        """Take so many rows as done."""
        self.done = done
        self._tell()

    def finish(self, rows: int) -> None:
        """Count rows that were embedded."""
        self.embedded += rows
        self.begin(self.done + rows)

    def _move(self, event: Event) -> None:
        if event.kind == "progress":
            self.finish(self.passed + event.done - self.done)

    def _tell(self) -> None:
        speed = self.embedded / max(1e-9, time.monotonic() - self.started)
        text = f"{speed:,.0f} texts/s" if self.embedded else ""
        self.context.emit(Event(kind="progress", step=STEP, name=self.name, done=self.done, total=self.total, text=text))
