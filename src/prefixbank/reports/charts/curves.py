"""Chart of learning curves: one panel for each training, one line for each seed."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from prefixbank.reports.charts.style import ACCENT, DARK, panels, put_title, wrap_label
from prefixbank.reports.table import ExperimentReport, Points

PANEL_WIDE_INCHES, PANEL_HIGH_INCHES = 3.2, 2.0
LOOKS = (
    ("-", "o", DARK),
    ("--", "s", ACCENT),
    (":", "^", "#555555"),
    ("-.", "D", "#cc79a7"),
    ("-", "v", "#009e73"),
)
"""Line, marker and colour of each seed; shapes alone tell them apart."""


def has_points(by_seed: dict[int, Points]) -> bool:
    """Return whether a training was evaluated at all."""
    return any(by_seed.values())


def curves_chart(report: ExperimentReport) -> Figure:
    """Return validation scores over the share of training done.

    Each panel has its own scale of scores.
    """
    curves = {name: by_seed for name, by_seed in report.curves.items() if has_points(by_seed)}
    seeds = sorted({seed for by_seed in curves.values() for seed in by_seed})
    looks: dict[int, dict[str, Any]] = {
        seed: {
            **dict(zip(("linestyle", "marker", "color"), LOOKS[index % len(LOOKS)], strict=True)),
            "markersize": 4,
            "linewidth": 1.3,
        }
        for index, seed in enumerate(seeds)
    }
    high, wide = panels(len(curves))
    figure = Figure(
        figsize=(0.6 + PANEL_WIDE_INCHES * wide, 1.1 + PANEL_HIGH_INCHES * high),
        layout="constrained",
    )
    grid = figure.subplots(high, wide, sharex=True, squeeze=False)
    for axes, (name, by_seed) in zip(grid.flat, curves.items(), strict=False):
        _panel(axes, name, by_seed, looks)
    for index, axes in enumerate(grid.flat):
        axes.set_visible(index < len(curves))
        axes.set_xlabel("share of training done" if index < len(curves) <= index + wide else "")
    for axes in grid[:, 0]:
        axes.set_ylabel("validation score")
    put_title(figure, f"{report.experiment}: validation score while training")
    handles = [Line2D([], [], label=f"seed {seed}", **look) for seed, look in looks.items()]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=min(6, len(handles)), frameon=False
    )
    return figure


def _panel(
    axes: Any, name: str, by_seed: dict[int, Points], looks: dict[int, dict[str, Any]]
) -> None:
    for seed, points in by_seed.items():
        axes.plot(*zip(*points, strict=True), **looks[seed])
    axes.set_xlim(0, 1.04)
    axes.margins(y=0.12)
    axes.locator_params(axis="y", nbins=5)
    axes.tick_params(labelbottom=True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(wrap_label(name, 34), loc="left")
