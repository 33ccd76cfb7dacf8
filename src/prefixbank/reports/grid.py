"""Printed tables, and how a report formats numbers.

A printed cell has a text, and where that shows a number, the number itself, so that a page can sort
by it.
"""

from __future__ import annotations

from dataclasses import dataclass

from prefixbank.reports.cells import CorrectedDifference, Interval

MARK = "*"
"""Marks a significant difference."""


@dataclass(frozen=True, kw_only=True)
class GridCell:
    """A cell of a printed table.

    Args:
        text: what is printed.
        value: the number that the text shows first; None if it shows none.
        significant: whether the number is a significant difference.
    """

    text: str
    value: float | None = None
    significant: bool = False


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table to print.

    Args:
        header: C titles.
        rows: of C cells each.
        has_total: whether the last row sums up the others.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[GridCell, ...], ...]
    has_total: bool = False


MISSING = GridCell(text="-")
"""Stands for a number that there is none of."""


def text_cell(text: str) -> GridCell:
    """Return a cell of words."""
    return GridCell(text=text)


def count_cell(count: int) -> GridCell:
    """Return a cell with a count, thousands marked."""
    return GridCell(text=f"{count:,}", value=count)


def score_cell(score: Interval) -> GridCell:
    """Return a cell with a score and its interval."""
    return GridCell(text=interval(score), value=score.value)


def mean_cell(mean: float | None) -> GridCell:
    """Return a cell with a score alone, without its interval."""
    return MISSING if mean is None else GridCell(text=number(mean), value=mean)


def change_cell(change: Interval | float | None) -> GridCell:
    """Return a cell with a difference alone, without interval and p-value."""
    if change is None:
        return MISSING
    value = change.value if isinstance(change, Interval) else change
    return GridCell(text=number(value, signed=True), value=value)


def difference_cell(difference: Interval | None) -> GridCell:
    """Return a cell with a difference and its interval; with its p-value if it was corrected."""
    if difference is None:
        return MISSING
    if not isinstance(difference, CorrectedDifference):
        return GridCell(text=interval(difference, signed=True), value=difference.value)
    return GridCell(
        text=with_p_value(difference), value=difference.value, significant=difference.significant
    )


def percent_cell(value: float | None, *, decimals: int = 1) -> GridCell:
    """Return a cell with a share in percent."""
    if value is None:
        return MISSING
    return GridCell(text=f"{100 * value + 0.0:.{decimals}f} %", value=value)


def share_cell(value: float | None) -> GridCell:
    """Return a cell with a share of 1."""
    return MISSING if value is None else GridCell(text=f"{value:.4f}", value=value)


def amount_cell(value: float | None) -> GridCell:
    """Return a cell with a count or a measured amount."""
    return MISSING if value is None else GridCell(text=amount(value), value=value)


def number(value: float, *, signed: bool = False) -> str:
    """Return three decimals, with a sign for a difference.

    What rounds to zero is never negative.
    """
    rounded = round(value, 3) + 0.0
    return f"{rounded:+.3f}" if signed else f"{rounded:.3f}"


def interval(score: Interval, *, signed: bool = False) -> str:
    """Return `0.812 [0.790, 0.833]`, with signs for a difference."""
    middle, low, high = (
        number(value, signed=signed) for value in (score.value, score.low, score.high)
    )
    return f"{middle} [{low}, {high}]"


def with_p_value(difference: CorrectedDifference) -> str:
    """Return `+0.012 [+0.001, +0.023] p 0.031 *`, the p-value corrected."""
    p_value = "p <0.001" if difference.p_holm < 0.0005 else f"p {difference.p_holm:.3f}"
    mark = f" {MARK}" if difference.significant else ""
    return f"{interval(difference, signed=True)} {p_value}{mark}"


def amount(value: float) -> str:
    """Return a count with thousands marked, a large or measured amount with three digits."""
    if isinstance(value, int) and value < 1e9:
        return f"{value:,}"
    return f"{value:.1f}" if 0.1 <= abs(value) < 1e5 else f"{value:.3g}"


def width_share(seeds: int) -> float:
    """Return which share of their proper width intervals over so few seeds have.

    The bootstrap divides a variance by the number of seeds, not by one less.
    """
    return (1 - 1 / seeds) ** 0.5 if seeds else 1.0


def markdown_table(grid: Grid) -> str:
    """Return a table in Markdown."""
    lines = [
        "| " + " | ".join(map(_escaped, grid.header)) + " |",
        "|" + "---|" * len(grid.header),
        *("| " + " | ".join(_escaped(cell.text) for cell in row) + " |" for row in grid.rows),
    ]
    return "\n".join(lines)


def _escaped(text: str) -> str:
    return text.replace("|", r"\|")
