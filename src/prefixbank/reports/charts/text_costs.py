"""Chart of the mean score over what one text costs, for 1 to 32 tasks."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from prefixbank.reports.cells import MEAN
from prefixbank.reports.charts.style import ACCENT, DARK, put_title, wrap_label
from prefixbank.reports.table import TASKS, ExperimentReport

INCHES = (8.2, 4.6)
LEAST_ROOM = 0.05
"""Share of the height that a label takes."""
ROW_INCHES = 0.3
"""Added for each representation, so that labels find room."""


def text_cost_chart(report: ExperimentReport) -> Figure:
    """Return one line for each representation, over operations on a logarithmic scale.

    Its points are numbers of tasks. What serves all tasks stays where it is, up to its heads; what
    serves one moves to the right.
    """
    wide, high = INCHES
    figure = Figure(figsize=(wide, high + ROW_INCHES * len(report.costs)), layout="constrained")
    axes = figure.subplots()
    axes.set_xscale("log")
    scores = {name: report.rows[MEAN].columns[name].value for name in report.costs}
    for name, cost in report.costs.items():
        shared = report.column_facts[name].shared
        _line(axes, [cost.by_tasks[tasks] for tasks in TASKS], scores[name], shared=shared)
    _labels(axes, report, scores)
    axes.set_xlabel("operations for one text until all tasks are predicted (log scale)")
    axes.set_ylabel("mean score over targets")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.06, y=0.08)
    put_title(figure, f"{report.experiment}: score and cost of 1 to {TASKS[-1]} tasks")
    return figure


def _line(axes: Any, operations: list[int], score: float, *, shared: bool) -> None:
    """Draw the points of all numbers of tasks at one score; the number stands at single ones."""
    axes.plot(
        operations,
        [score] * len(operations),
        marker="o" if shared else "s",
        markersize=5 if shared else 4,
        color=DARK if shared else ACCENT,
        linewidth=1.2,
    )
    if shared:
        return
    for tasks, place in zip(TASKS, operations, strict=True):
        axes.annotate(
            str(tasks),
            (place, score),
            xytext=(0, 5),
            textcoords="offset points",
            ha="center",
            fontsize="small",
        )


def _labels(axes: Any, report: ExperimentReport, scores: dict[str, float]) -> None:
    """Name each line at the right edge, as near to its score as the other labels leave room."""
    order = sorted(scores, key=lambda name: scores[name])
    low, high = axes.get_ylim()
    wanted = [(scores[name] - low) / (high - low) for name in order]
    for name, height in zip(order, spread(wanted, min(LEAST_ROOM, 1 / len(order))), strict=True):
        axes.annotate(
            wrap_label(f"{report.title(name)} ({scores[name]:.3f})", 60),
            (report.costs[name].by_tasks[TASKS[-1]], scores[name]),
            xytext=(1.03, height),
            textcoords="axes fraction",
            va="center",
            arrowprops={"arrowstyle": "-", "color": "#999999", "linewidth": 0.6},
            annotation_clip=False,
        )
    axes.set_ylim(low, high)


def spread(wanted: list[float], room: float) -> list[float]:
    """Return heights from 0 to 1, each `room` above the last, near the wanted ones.

    Args:
        wanted: ascending.
        room: at most the whole height divided by their number.
    """
    heights: list[float] = []
    for height in wanted:
        heights.append(max([height, *(last + room for last in heights[-1:])]))
    limit = 1.0
    for index in reversed(range(len(heights))):
        heights[index] = min(heights[index], limit)
        limit = heights[index] - room
    return heights
