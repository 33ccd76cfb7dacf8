"""Map of all tasks' similarities with each other, in the order of a hierarchical clustering."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
import seaborn
from matplotlib import pyplot
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, ScalarFormatter
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform

from prefixbank.reports.charts.style import DARK, LABEL_LETTERS, put_title, width_of, wrap_label
from prefixbank.reports.transfer_map.table import MapReport

CELL_INCHES, TREE_INCHES = 0.46, 1.4
DECIMALS = 2
BLUE = (250, 75, 65)
"""Hue, saturation and lightness of the most similar pair: black numbers can be read on it."""


def similarity_chart(report: MapReport) -> Figure:
    """Return the map, with the clustering's tree beside its rows.

    The diagonal is a task with itself; neither the tree nor the scale of colours depends on it.
    """
    tasks, values = report.between.tasks, np.array(report.between.similarity)
    labels = [_label(report, task) for task in tasks]
    others = values[~np.eye(len(tasks), dtype=bool)]
    side, label_inches = CELL_INCHES * len(tasks), width_of(labels)
    wide, high = 1.8 + TREE_INCHES + label_inches + side, 1.2 + label_inches + side
    tree = clusters(values)
    with _agg_pyplot():
        grid = seaborn.clustermap(
            values,
            row_linkage=tree,
            col_linkage=tree,
            cmap=seaborn.light_palette(BLUE, input="husl", as_cmap=True),
            vmin=others.min(),
            vmax=others.max(),
            annot=np.array([[_short(value) for value in row] for row in values]),
            fmt="",
            annot_kws={"color": "black", "fontsize": "small"},
            xticklabels=labels,
            yticklabels=labels,
            figsize=(max(wide, 5.0), max(high, 3.2)),
            dendrogram_ratio=(TREE_INCHES / max(wide, 5.0), 0.01),
            cbar_pos=None,
            tree_kws={"colors": DARK, "linewidths": 1.2},
        )
    return _laid_out(grid, report)


def _laid_out(grid: Any, report: MapReport) -> Figure:
    """Return the figure of a cluster map with titles, its tree's scale, and a scale of colours."""
    figure: Figure = grid.figure
    grid.gs.figure = figure  # seaborn leaves it out, and the layout needs it
    figure.set_layout_engine("constrained")
    figure.delaxes(grid.ax_col_dendrogram)  # the same tree as beside the rows
    axes, tree = grid.ax_heatmap, grid.ax_row_dendrogram
    axes.tick_params(length=0)
    tree.set_axis_on()
    tree.xaxis.set_major_locator(MaxNLocator(1))
    tree.xaxis.set_major_formatter(ScalarFormatter())
    tree.tick_params(axis="x", bottom=True, labelbottom=True, labelrotation=0)
    tree.set_xlabel("1 \N{MINUS SIGN} similarity")
    tree.spines["bottom"].set_visible(True)
    figure.colorbar(axes.collections[0], ax=axes, label="similarity", pad=0.02, extend="max")
    put_title(figure, f"{report.experiment}: similarity of tasks ({report.ranked_by}, all layers)")
    return figure


@contextmanager
def _agg_pyplot() -> Iterator[None]:
    """Let seaborn take a figure from pyplot that opens no window and that pyplot then forgets."""
    chosen = matplotlib.rcParams.copy()["backend"]
    before = pyplot.get_fignums()
    pyplot.switch_backend("agg")
    try:
        yield
    finally:
        for number in set(pyplot.get_fignums()) - set(before):
            pyplot.close(number)
        pyplot.switch_backend(chosen)


def clusters(similarity: np.ndarray) -> np.ndarray:
    """Return scipy's linkage of N tasks by similarities [N, N].

    Average linkage on 1 - similarity.
    """
    distance = 1 - (similarity + similarity.T) / 2
    np.fill_diagonal(distance, 0.0)
    tree: np.ndarray = linkage(squareform(distance), method="average")
    return tree


def _label(report: MapReport, task: str) -> str:
    return wrap_label(
        task if task in report.compared_sources else f"{task} (target)", LABEL_LETTERS
    )


def _short(value: float) -> str:
    """Return `.73`, `−.05` or `1.00`."""
    text = f"{round(value, DECIMALS) + 0.0:.{DECIMALS}f}".replace("-", "\N{MINUS SIGN}")
    return text if abs(value) >= 0.995 else text.replace("0.", ".", 1)
