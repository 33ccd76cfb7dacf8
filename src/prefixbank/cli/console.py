"""What people see: results on stdout, errors in three lines on stderr."""

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
from rich.table import Table

from prefixbank.commands.amounts import size_text
from prefixbank.errors import PrefixbankError

Format = Literal["table", "json", "csv"]
Row = dict[str, Any]
INTERRUPTED = 130
ONE_LINE = 100_000
"""Width in characters of a table that is not for a terminal, so that no row is folded."""


def chosen_format(form: Format | None) -> Format:
    """Return the format if one is given, else a table on a terminal and JSON elsewhere."""
    return form or ("table" if sys.stdout.isatty() else "json")


def print_rows(rows: Sequence[Row], form: Format, *, single: bool = False) -> None:
    """Print rows to stdout. A column that a row lacks is empty.

    Args:
        rows: what to print.
        form: how.
        single: the only row is one result: a JSON object, or a table of names and values.
    """
    match form:
        case "json":
            typer.echo(
                json.dumps(rows[0] if single and rows else list(rows), indent=1, ensure_ascii=False)
            )
        case "csv":
            typer.echo(_csv(rows), nl=False)
        case "table":
            transposed = single and len(rows) == 1
            _print_table(
                [{"what": name, "value": value} for name, value in rows[0].items()]
                if transposed
                else rows
            )


def _columns(rows: Sequence[Row]) -> list[str]:
    """Return the names of all columns: in a sweep over tasks of several kinds, rows differ."""
    return list(dict.fromkeys(name for row in rows for name in row))


def _csv(rows: Sequence[Row]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=_columns(rows), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    """Return a value as a cell of a CSV file: lists of words with spaces between them."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return " ".join(value)
    return value


def _print_table(rows: Sequence[Row]) -> None:
    table = Table(box=None, pad_edge=False, show_edge=False)
    names = _columns(rows)
    for name in names:
        table.add_column(name.removesuffix("_bytes"), overflow="fold")
    for row in rows:
        table.add_row(*(_shown(row.get(name), name) for name in names))
    if rows:
        Console(
            markup=False, highlight=False, width=None if sys.stdout.isatty() else ONE_LINE
        ).print(table)
    else:
        typer.echo("nothing to show")


def _shown(value: Any, name: str = "") -> str:
    """Return a value as people read it, by its type and by the unit in its name."""
    if isinstance(value, int) and name.endswith("_bytes"):
        return size_text(value)
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(part)}".rstrip() for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(str(part) for part in value)
    return "" if value is None else str(value)


@contextmanager
def reported(*, debug: bool) -> Iterator[None]:
    """Print errors in three lines and exit with their code."""
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
        failure = PrefixbankError(
            f"{error}",
            expected="files and folders that this user may use, and room on the disk",
            fix="--debug    shows where",
        )
        report(failure, debug=debug, cause=error)
        raise typer.Exit(failure.exit_code) from None


def report(error: PrefixbankError, *, debug: bool, cause: Exception | None = None) -> None:
    """Print an error to stderr."""
    if debug:
        traceback.print_exception(cause or error)
    typer.echo(str(error), err=True)
