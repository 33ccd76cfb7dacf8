"""What people see: one line for each step on stderr, results on stdout, errors in three lines."""

from __future__ import annotations

import csv
import io
import json
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from prefixbank.errors import PrefixbankError
from prefixbank.runtime.events import Event

Format = Literal["table", "json", "csv"]
Row = dict[str, Any]
INTERRUPTED = 130
ONE_LINE = 100_000
"""Width in characters of a table that is not for a terminal: no row is folded."""


def chosen_format(asked: Format | None) -> Format:
    """Return the format asked for; else a table on a terminal and JSON elsewhere."""
    return asked or ("table" if sys.stdout.isatty() else "json")


def print_rows(rows: Sequence[Row], form: Format, *, single: bool = False) -> None:
    """Print rows to stdout, empty where a row lacks a column.

    `single` means one result: a JSON object, or a table of names and values.
    """
    match form:
        case "json":
            typer.echo(
                json.dumps(rows[0] if single and rows else list(rows), indent=1, ensure_ascii=False)
            )
        case "csv":
            typer.echo(_csv(rows), nl=False)
        case "table":
            upright = single and len(rows) == 1
            _print_table(
                [{"what": name, "value": value} for name, value in rows[0].items()]
                if upright
                else rows
            )


def _columns(rows: Sequence[Row]) -> list[str]:
    """Return the names of all columns.

    A sweep over tasks of several kinds has rows of several forms.
    """
    return list(dict.fromkeys(name for row in rows for name in row))


def _csv(rows: Sequence[Row]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=_columns(rows), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _print_table(rows: Sequence[Row]) -> None:
    table = Table(box=None, pad_edge=False, show_edge=False)
    names = _columns(rows)
    for name in names:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(_shown(row.get(name)) for name in names))
    if rows:
        Console(
            markup=False, highlight=False, width=None if sys.stdout.isatty() else ONE_LINE
        ).print(table)
    else:
        typer.echo("nothing to show")


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, list | tuple):
        return ", ".join(str(part) for part in value)
    return "" if value is None else str(value)


class Steps:
    """Listens to steps.

    A line for each on stderr, and a progress bar where stderr is a terminal.
    """

    def __init__(self, *, quiet: bool) -> None:
        """Say everything, or with `quiet` nothing."""
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

    def __enter__(self) -> Steps:
        """Start drawing."""
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
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
    """Return the line for an event: step, name, what happened, key, text, time."""
    head = f"{event.step:<15} {event.name:<30}"
    match event.kind:
        case "hit" | "done":
            return (
                f"{head} {event.kind:<5} {event.key[:8]}  {_size(event.size_bytes):>9}  "
                f"{event.seconds:7.1f} s  {event.text}".rstrip()
            )
        case "miss":
            return f"{head} MISS  {event.text}"
        case "waits":
            return f"{head} MISS  {event.text}"
        case _:
            return f"{head} note  {event.text}"


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 100_000 else f"{size_bytes / 1e3:.1f} kB"


@contextmanager
def reported(*, debug: bool) -> Iterator[None]:
    """Turn errors into three lines and an exit code."""
    try:
        yield
    except PrefixbankError as error:
        report(error, debug=debug)
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        typer.echo(
            "error: interrupted\nexpected: the command to run to its end\n"
            "fix: run it again; what is finished is kept, training resumes",
            err=True,
        )
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        raise typer.Exit(1) from None
    except OSError as error:
        failed = PrefixbankError(
            f"{error}",
            expected="files and folders that this user may use, and room",
            fix="see where: --debug",
        )
        report(failed, debug=debug, cause=error)
        raise typer.Exit(failed.exit_code) from None


def report(error: PrefixbankError, *, debug: bool, cause: Exception | None = None) -> None:
    """Print an error to stderr."""
    if debug:
        traceback.print_exception(cause or error)
    typer.echo(str(error), err=True)
