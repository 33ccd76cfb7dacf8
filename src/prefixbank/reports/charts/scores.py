"""Chart of scores.

One panel for the mean and for each target, one row for each representation, a dot and its interval.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from prefixbank.reports.cells import MEAN
from prefixbank.reports.charts.style import (
    ACCENT,
    DARK,
    PALE,
    panels,
    put_title,
    width_of,
    wrap_label,
)
from prefixbank.reports.table import ExperimentReport, TargetRow

PANEL_INCHES, LINE_INCHES, AROUND_PANEL_INCHES, AROUND_INCHES = 2.9, 0.15, 0.8, 1.0
MARK_INCHES = 0.7
"""Of an item of the legend, what stands in front of its label."""
LINES = ("--", ":", "-.")
"""Of the reference line at each baseline."""


def scores_chart(report: ExperimentReport) -> Figure:
    """Return the chart; panels share their rows, each has its own scale."""
    columns, groups = report.columns, [MEAN, *report.targets]
    labels = [wrap_label(report.title(column)) for column in columns]
    high, wide = panels(len(groups))
    lines = [label.count("\n") + 1 for label in labels]
    row_inches = 0.05 + LINE_INCHES * max(
        (above + below) / 2 for above, below in pairwise([*lines, 1])
    )
    panel_inches = AROUND_PANEL_INCHES + row_inches * max(len(columns), 3)
    size = (0.5 + width_of(labels) + PANEL_INCHES * wide, AROUND_INCHES + panel_inches * high)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(high, wide, sharey=True, squeeze=False)
    for axes, group in zip(grid.flat, groups, strict=False):
        _panel(axes, report, group)
    for axes in list(grid.flat)[len(groups) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_yticks(range(len(columns)), labels)
    put_title(figure, f"{report.experiment}: test scores of probes on {report.encoder}")
    items = _legend(report)
    beside = int(size[0] / (MARK_INCHES + width_of([str(item.get_label()) for item in items])))
    figure.legend(
        handles=items,
        loc="outside lower center",
        ncols=min(max(beside, 1), len(items)),
        frameon=False,
    )
    return figure


def _panel(axes: Any, report: ExperimentReport, group: str) -> None:
    """Draw one target, or the mean.

    Dots with intervals from top to bottom, and a line at each baseline.
    """
    row, columns = report.rows[group], report.columns
    for index in range(0, len(columns), 2):
        axes.axhspan(index - 0.5, index + 0.5, color=PALE, zorder=0)
    for number, baseline in enumerate(report.baselines):
        axes.axvline(row.columns[baseline].value, zorder=1, **_reference(number))
    for index, column in enumerate(columns):
        cell = row.columns[column]
        axes.plot(
            [cell.low, cell.high],
            [index, index],
            color="black",
            linewidth=1.1,
            solid_capstyle="butt",
            zorder=2,
        )
        axes.plot([cell.value], [index], **_mark(column in report.baselines), zorder=3)
    axes.set_ylim(len(columns) - 0.5, -0.5)
    axes.margins(x=0.06)
    axes.locator_params(axis="x", nbins=5)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right"]].set_visible(False)
    below = (
        f"{row.metric}, {row.test_rows:,} rows"
        if isinstance(row, TargetRow)
        else f"of {len(report.targets)} targets"
    )
    axes.set_title(
        f"{wrap_label(group)}\n{below}",
        loc="left",
        fontweight="bold" if group == MEAN else "normal",
    )


def _mark(is_baseline: bool) -> dict[str, Any]:
    """Return the look of a dot: baselines are pale diamonds, the others dark circles."""
    shape, colour = ("D", ACCENT) if is_baseline else ("o", DARK)
    return {
        "marker": shape,
        "color": colour,
        "markeredgecolor": "black",
        "markeredgewidth": 0.8,
        "markersize": 5.5,
        "linestyle": "none",
    }


def _reference(number: int) -> dict[str, Any]:
    """Return the look of the line at a baseline."""
    return {"color": "black", "linewidth": 0.9, "linestyle": LINES[number % len(LINES)]}


def _legend(report: ExperimentReport) -> list[Line2D]:
    lines = [
        Line2D([], [], label=wrap_label(f"at {report.title(baseline)}"), **_reference(number))
        for number, baseline in enumerate(report.baselines)
    ]
    return [
        Line2D([], [], **_mark(True), label="compared with"),
        Line2D([], [], color="black", linewidth=1.1, label="95 % interval"),
        *lines,
    ]
