"""Chart of similarity and gain: one panel for each target, one point for each source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from prefixbank.reports.charts.style import DARK, broken, panels, put_title
from prefixbank.reports.text import number
from prefixbank.reports.transfer_map.similarity import ranking_row
from prefixbank.store.key import JSON

PANEL_WIDE_INCHES, PANEL_HIGH_INCHES = 3.6, 3.0
TITLE_LETTERS = 38
POINT_PIXELS, LINE_PIXELS = 3, 2
"""Of a point and of the line at 0, half of what labels keep clear of."""
Place = tuple[int, int, int]
"""Where a label may stand: its distance from the point in points, and the side across and along:
-1, 0 or 1."""
PLACES: tuple[Place, ...] = tuple(
    (reach, *side)
    for reach in (5, 10, 16, 24, 34)
    for side in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
)
"""The first that covers least is taken."""
ACROSS, ALONG = {-1: "right", 0: "center", 1: "left"}, {-1: "top", 0: "center", 1: "bottom"}


def scatter_chart(table: JSON) -> Figure:
    """Return the chart.

    Each panel has its own scales: targets differ in how near sources are and in how much there is
    to gain.
    """
    targets = table["targets"]
    within = ranking_row(table)["within"]
    high, wide = panels(len(targets))
    figure = Figure(
        figsize=(0.6 + PANEL_WIDE_INCHES * max(wide, 1.4), 0.7 + PANEL_HIGH_INCHES * high),
        layout="constrained",
    )
    grid = figure.subplots(high, wide, squeeze=False)
    drawn = [
        (axes, _panel(axes, table, target, within["by_target"]))
        for axes, target in zip(grid.flat, targets, strict=False)
    ]
    for place, axes in enumerate(grid.flat):
        axes.set_visible(place < len(targets))
        axes.set_xlabel("similarity" if place < len(targets) <= place + wide else "")
    for axes in grid[:, 0]:
        axes.set_ylabel("gain over cold start")
    put_title(
        figure,
        f"{table['experiment']}: similarity ({table['ranked_by']}) and gain of each source, mean "
        "over seeds",
    )
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    for axes, points in drawn:
        _name_points(axes, canvas.get_renderer(), points)
    return figure


def _panel(axes: Any, table: JSON, target: str, by_target: JSON) -> dict[str, tuple[float, float]]:
    """Draw one target; return its sources' points."""
    points = {
        source: (table["similarity"][source][target], by_target[target])
        for source, by_target in table["gains"].items()
        if by_target[target] is not None
    }
    axes.axhline(0.0, color="black", linewidth=0.8, linestyle="--", zorder=0)
    axes.plot(
        *zip(*points.values(), strict=True),
        marker="o",
        color=DARK,
        markersize=4.5,
        linestyle="none",
    )
    axes.margins(x=0.22, y=0.14)
    axes.locator_params(nbins=5)
    axes.spines[["top", "right"]].set_visible(False)
    said = ", ".join(
        f"{kind.title()} {_signed(by_target[kind][target])}" for kind in ("pearson", "spearman")
    )
    axes.set_title(f"{broken(target, TITLE_LETTERS)}\n{said}", loc="left")
    return points


def _signed(value: float | None) -> str:
    return (
        "undefined" if value is None else number(value, signed=True).replace("-", "\N{MINUS SIGN}")
    )


def _name_points(axes: Any, renderer: Any, points: dict[str, tuple[float, float]]) -> None:
    """Write each source beside its point, where it covers least.

    What counts: points, the line at 0, other labels, and what is outside.
    """
    inside = axes.get_window_extent(renderer).extents
    spots = axes.transData.transform(list(points.values()))
    zero = axes.transData.transform((0.0, 0.0))[1]
    taken = [np.array([inside[0], zero - LINE_PIXELS, inside[2], zero + LINE_PIXELS])]
    taken += [np.concatenate([spot - POINT_PIXELS, spot + POINT_PIXELS]) for spot in spots]
    line = {"arrowstyle": "-", "linewidth": 0.5, "color": "#777777", "shrinkA": 0, "shrinkB": 2}
    for (source, point), spot in zip(points.items(), spots, strict=True):
        label = axes.annotate(
            source,
            point,
            xytext=(0, 0),
            textcoords="offset points",
            fontsize="small",
            arrowprops=line,
        )
        label.set_in_layout(False)
        boxes = _boxes(
            spot,
            np.array(Text.get_window_extent(label, renderer).size),
            renderer.points_to_pixels(1),
        )
        outside = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) - _shared(boxes, [inside])
        best = int((outside + _shared(boxes, taken)).round(3).argmin())
        reach, across, along = PLACES[best]
        label.set_position((reach * across, reach * along))
        label.set_horizontalalignment(ACROSS[across])
        label.set_verticalalignment(ALONG[along])
        taken.append(boxes[best])


def _boxes(spot: np.ndarray, size: np.ndarray, pixels: float) -> np.ndarray:
    """Return what a label covers at each of its places beside a spot [2], [places, 4].

    Left, bottom, right and top.

    Args:
        spot: in pixels.
        size: [2], width and height of the label in pixels.
        pixels: of a point of reach.
    """
    places = np.array(PLACES)
    sides = places[:, 1:]
    corners = spot + pixels * places[:, :1] * sides + size * (sides - 1) / 2
    return np.concatenate([corners, corners + size], axis=1)


def _shared(boxes: np.ndarray, others: Sequence[np.ndarray]) -> np.ndarray:
    """Return [B], the areas that boxes [B, 4] share with other boxes."""
    other = np.array(others)
    low, high = (
        np.maximum(boxes[:, None, :2], other[:, :2]),
        np.minimum(boxes[:, None, 2:], other[:, 2:]),
    )
    shared: np.ndarray = (high - low).clip(min=0).prod(axis=2).sum(axis=1)
    return shared
