"""Chart of learning curves: one panel for each training, one line for each seed."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from prefixbank.reports.charts.style import ACCENT, DARK, broken, panels, put_title
from prefixbank.store.key import JSON

PANEL_WIDE_INCHES, PANEL_HIGH_INCHES = 3.2, 2.0
LOOKS = (
    ("-", "o", DARK),
    ("--", "s", ACCENT),
    (":", "^", "#555555"),
    ("-.", "D", "#cc79a7"),
    ("-", "v", "#009e73"),
)
"""Line, marker and colour of each seed; shapes alone tell them apart."""


def has_points(by_seed: dict[str, list[list[float]]]) -> bool:
    """Say whether a training was evaluated at all."""
    return any(by_seed.values())


def curves_chart(table: JSON) -> Figure:
    """Return validation scores over the share of training done.

    Each panel has its own scale of scores.
    """
    curves = {name: by_seed for name, by_seed in table["curves"].items() if has_points(by_seed)}
    seeds = sorted({seed for by_seed in curves.values() for seed in by_seed}, key=int)
    looks: dict[str, dict[str, Any]] = {
        seed: {
            **dict(zip(("linestyle", "marker", "color"), LOOKS[place % len(LOOKS)], strict=True)),
            "markersize": 4,
            "linewidth": 1.3,
        }
        for place, seed in enumerate(seeds)
    }
    high, wide = panels(len(curves))
    figure = Figure(
        figsize=(0.6 + PANEL_WIDE_INCHES * wide, 1.1 + PANEL_HIGH_INCHES * high),
        layout="constrained",
    )
    grid = figure.subplots(high, wide, sharex=True, squeeze=False)
    for axes, (name, by_seed) in zip(grid.flat, curves.items(), strict=False):
        _panel(axes, name, by_seed, looks)
    for place, axes in enumerate(grid.flat):
        axes.set_visible(place < len(curves))
        axes.set_xlabel("share of training done" if place < len(curves) <= place + wide else "")
    for axes in grid[:, 0]:
        axes.set_ylabel("validation score")
    put_title(figure, f"{table['experiment']}: validation score while training")
    handles = [Line2D([], [], label=f"seed {seed}", **look) for seed, look in looks.items()]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=min(6, len(handles)), frameon=False
    )
    return figure


def _panel(
    axes: Any, name: str, by_seed: dict[str, list[list[float]]], looks: dict[str, dict[str, Any]]
) -> None:
    for seed, points in by_seed.items():
        axes.plot(*zip(*points, strict=True), **looks[seed])
    axes.set_xlim(0, 1.04)
    axes.margins(y=0.12)
    axes.locator_params(axis="y", nbins=5)
    axes.tick_params(labelbottom=True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(broken(name, 34), loc="left")
