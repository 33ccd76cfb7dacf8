"""Chart of similarity and gain: one panel for each target, one point for each source."""

from __future__ import annotations

from typing import Any

from adjustText import adjust_text
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from prefixbank.reports.charts.style import DARK, panels, put_title, wrap_label
from prefixbank.reports.grid import number
from prefixbank.reports.transfer_map.table import MapReport

PANEL_WIDE_INCHES, PANEL_HIGH_INCHES = 3.6, 3.0
TITLE_LETTERS = 38
POINT_AREA = 20
"""In square points."""
LABEL_STEPS = 500
"""Iterations that move labels apart. A limit of time would give other bytes on a busy machine."""


def scatter_chart(report: MapReport) -> Figure:
    """Return the chart.

    Each panel has its own scales: targets differ in how similar sources are and in how much there
    is to gain.
    """
    targets = report.targets
    high, wide = panels(len(targets))
    figure = Figure(
        figsize=(0.6 + PANEL_WIDE_INCHES * max(wide, 1.4), 0.7 + PANEL_HIGH_INCHES * high),
        layout="constrained",
    )
    grid = figure.subplots(high, wide, squeeze=False)
    labels = [
        (axes, _panel(axes, report, target))
        for axes, target in zip(grid.flat, targets, strict=False)
    ]
    for index, axes in enumerate(grid.flat):
        axes.set_visible(index < len(targets))
        axes.set_xlabel("similarity" if index < len(targets) <= index + wide else "")
    for axes in grid[:, 0]:
        axes.set_ylabel("gain over cold start")
    put_title(
        figure,
        f"{report.experiment}: similarity ({report.ranked_by}) and gain of each source, mean "
        "over seeds",
    )
    FigureCanvasAgg(figure).draw()  # labels are placed on the final layout
    figure.set_layout_engine("none")
    for axes, texts in labels:
        adjust_text(
            texts,
            objects=axes.collections[0],
            ax=axes,
            expand=(1.1, 1.25),
            force_text=(0.3, 0.5),
            iter_lim=LABEL_STEPS,
            min_arrow_len=6,
            arrowprops={"arrowstyle": "-", "linewidth": 0.5, "color": "#777777"},
        )
    return figure


def _panel(axes: Any, report: MapReport, target: str) -> list[Any]:
    """Draw one target; return the labels of its points, each on its point."""
    points = {
        source: (report.similarity[source][target], by_target[target])
        for source, by_target in report.gains.items()
        if by_target[target] is not None
    }
    axes.axhline(0.0, color="black", linewidth=0.8, linestyle="--", zorder=0)
    axes.scatter(*zip(*points.values(), strict=True), s=POINT_AREA, color=DARK, zorder=4)
    axes.margins(x=0.22, y=0.14)
    axes.locator_params(nbins=5)
    axes.spines[["top", "right"]].set_visible(False)
    by_target = report.ranking_row.within.by_target
    axes.set_title(
        f"{wrap_label(target, TITLE_LETTERS)}\n"
        f"Pearson {_signed(by_target.pearson[target])}, "
        f"Spearman {_signed(by_target.spearman[target])}",
        loc="left",
    )
    halo = [withStroke(linewidth=2, foreground="white")]
    return [
        axes.text(*point, source, fontsize="small", path_effects=halo)
        for source, point in points.items()
    ]


def _signed(value: float | None) -> str:
    return (
        "undefined" if value is None else number(value, signed=True).replace("-", "\N{MINUS SIGN}")
    )
