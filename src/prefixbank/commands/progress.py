"""A line on stderr for each step, and a progress bar on a terminal."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from prefixbank.runtime.events import Event


class StepLines:
    """Listens to events and prints a line for each; progress moves a bar.

    Args:
        quiet: print nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed}/{task.total} {task.fields[text]}"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=quiet or not self.console.is_terminal,
        )
        self.task: TaskID | None = None

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
        if event.kind == "progress":
            self._move(event)
            return
        if self.task is not None:
            self.progress.remove_task(self.task)
            self.task = None
        if not self.quiet:
            self.console.print(line_of(event))

    def _move(self, event: Event) -> None:
        if self.task is None:
            self.task = self.progress.add_task(
                f"{event.step} {event.name}", total=event.total, text=""
            )
        self.progress.update(
            self.task, completed=event.done, total=max(event.total, event.done), text=event.text
        )


def line_of(event: Event) -> str:
    """Return the line for an event: step, name, what happened, key, size, time, text."""
    head = f"{event.step:<15} {event.name:<30}"
    match event.kind:
        case "hit" | "done":
            return (
                f"{head} {event.kind:<5} {event.key[:8]}  {_size(event.size_bytes):>9}  "
                f"{event.seconds:7.1f} s  {event.text}".rstrip()
            )
        case "miss" | "waits":
            return f"{head} MISS  {event.text}"
        case _:
            return f"{head} note  {event.text}"


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 100_000 else f"{size_bytes / 1e3:.1f} kB"
