"""Result files as tables of Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def read(path: str) -> Any:
    """Return what a JSON file of the repository holds.

    Args:
        path: from the repository's root.
    """
    return json.loads((ROOT / path).read_text(encoding="utf-8"))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def interval(found: dict[str, float]) -> str:
    """Return a score with its interval, from `value`, `low` and `high`."""
    return f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


def difference(found: dict[str, float]) -> str:
    """Return a difference with its interval, from `value`, `low` and `high`."""
    return f"{found['value']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]"


def report_table(
    path: str,
    heading: str = "",
    columns: Sequence[str] | None = None,
    rows: Sequence[str] | None = None,
    table_number: int = 1,
) -> str:
    """Return a table of a report that a command wrote.

    Args:
        path: the report, from the repository's root.
        heading: start of the heading that the table stands under; "": the first one of the file.
        columns: names of those to show; None shows all.
        rows: first cells of those to show; None shows all.
        table_number: which table below the heading, counted from 1.
    """
    head, found = _parsed(path, heading, table_number)
    kept = [head.index(name) for name in columns or head]
    shown = [row for row in found if rows is None or row[0] in rows]
    if rows is not None and [row[0] for row in shown] != list(rows):
        raise KeyError(f"{path} has no such rows in this order: {rows}")
    return table([head[at] for at in kept], [[row[at] for at in kept] for row in shown])


def cell(path: str, heading: str, row: str, column: str) -> str:
    """Return one cell of a table of a report: a score with its interval."""
    head, found = _parsed(path, heading)
    return next(line for line in found if line[0] == row)[head.index(column)]


def value(path: str, heading: str, row: str, column: str) -> str:
    """Return the number at the start of a cell, without its interval."""
    return cell(path, heading, row, column).split(" [")[0]


def _parsed(path: str, heading: str, table_number: int = 1) -> tuple[list[str], list[list[str]]]:
    text = (ROOT / path).read_text(encoding="utf-8")
    if heading:
        text = re.split(rf"^#+ {re.escape(heading)}.*$", text, maxsplit=1, flags=re.MULTILINE)[1]
    found = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)[table_number - 1]
    cells = [line.strip().removeprefix("|").removesuffix("|") for line in found.splitlines()]
    head, _, *rows = [[part.strip() for part in line.split("|")] for line in cells]
    return head, rows
