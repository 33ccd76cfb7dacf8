"""Chart of update cost.

Each change's cost by prefixes as a share of what multi-task training costs.
"""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from prefixbank.reports.charts.style import DARK, put_title, width_of, wrap_label
from prefixbank.reports.table import COSTS, Cost, ExperimentReport

PANEL_INCHES, ROW_INCHES = 2.9, 0.42
LOG_BELOW, LOG_ABOVE = 0.03, 10.0
"""A share outside these makes its panel logarithmic."""
TITLES: dict[Cost, str] = {
    "examples": "examples processed",
    "flops": "training FLOPs",
    "seconds": "wall time",
}


def update_chart(report: ExperimentReport) -> Figure:
    """Return one panel for each cost, one bar for each change.

    A line at 1, where both methods cost the same.
    """
    rows = report.update_ratios
    labels = [wrap_label(row.change) for row in rows]
    size = (
        0.5 + width_of(labels) + PANEL_INCHES * len(COSTS),
        1.5 + ROW_INCHES * max(2, len(rows)),
    )
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(1, len(COSTS), sharey=True)
    for axes, cost in zip(grid, COSTS, strict=True):
        _panel(axes, [getattr(row, cost) for row in rows], TITLES[cost])
    grid[0].set_yticks(range(len(rows)), labels)
    put_title(figure, f"{report.experiment}: cost of a change, prefixes / multi-task training")
    return figure


def _panel(axes: Any, shares: list[float | None], title: str) -> None:
    """Draw a bar for each share, from 0, or on a logarithmic scale from below the smallest."""
    known = [share for share in shares if share]
    low, high = min([1.0, *known]), max([1.0, *known])
    logarithmic = low < LOG_BELOW or high > LOG_ABOVE
    start = low / 3 if logarithmic else 0.0
    if logarithmic:
        axes.set_xscale("log")
        axes.set_xlim(start, high * (high / start) ** 0.35)
    else:
        axes.set_xlim(0, high * 1.45)
    for index, share in enumerate(shares):
        end = share or start
        axes.barh(
            index, end - start, left=start, height=0.6, color=DARK, edgecolor="black", linewidth=0.6
        )
        text = "not comparable" if share is None else "0" if share == 0 else f"{share:.3g}"
        behind = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        axes.annotate(
            text, (end, index), xytext=(4, 0), textcoords="offset points", va="center", bbox=behind
        )
    axes.axvline(1.0, color="black", linewidth=0.9, linestyle="--", zorder=0)
    axes.set_ylim(len(shares) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, loc="left")
    axes.set_xlabel("share of multi-task" + (" (log scale)" if logarithmic else ""))
