"""Map of all tasks' similarities with each other.

In the order of a hierarchical clustering, whose tree stands beside it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import dendrogram, linkage
from scipy.spatial.distance import squareform

from prefixbank.reports.charts.style import DARK, LABEL_LETTERS, broken, put_title, width_of
from prefixbank.store.key import JSON

COLOURS = "viridis"
CELL_INCHES, TREE_INCHES = 0.46, 1.3
DECIMALS = 2


def similarity_chart(table: JSON) -> Figure:
    """Return the map.

    The diagonal is a task with itself; neither the tree nor the scale of colours depends on it.
    """
    tasks, values = table["between"]["tasks"], np.array(table["between"]["similarity"])
    tree = dendrogram(clusters(values), no_plot=True)
    order = tree["leaves"]
    labels = [_label(table, tasks[place]) for place in order]
    side = CELL_INCHES * len(tasks)
    size = (1.6 + TREE_INCHES + width_of(labels) + side, 1.1 + width_of(labels) + side)
    figure = Figure(figsize=(max(size[0], 5.0), max(size[1], 3.2)), layout="constrained")
    beside, axes = figure.subplots(1, 2, width_ratios=(TREE_INCHES, side + width_of(labels)))
    _draw_tree(beside, tree, len(tasks))
    others = values[~np.eye(len(tasks), dtype=bool)]
    image = axes.imshow(
        values[np.ix_(order, order)],
        cmap=COLOURS,
        vmin=others.min(),
        vmax=others.max(),
        aspect="auto",
    )
    axes.set_xticks(range(len(tasks)), labels, rotation=90)
    axes.set_yticks(range(len(tasks)), labels)
    axes.tick_params(length=0)
    for (row, column), value in np.ndenumerate(values[np.ix_(order, order)]):
        pale = image.norm(value) > 0.6
        axes.text(
            column,
            row,
            _short(value),
            ha="center",
            va="center",
            fontsize="small",
            color="black" if pale else "white",
        )
    put_title(
        figure, f"{table['experiment']}: similarity of tasks ({table['ranked_by']}, all layers)"
    )
    figure.colorbar(image, ax=axes, label="similarity", pad=0.02, extend="max")
    return figure


def clusters(similarity: np.ndarray) -> np.ndarray:
    """Return scipy's linkage of N tasks by similarities [N, N].

    Average linkage on 1 - similarity.
    """
    distance = 1 - (similarity + similarity.T) / 2
    np.fill_diagonal(distance, 0.0)
    found: np.ndarray = linkage(squareform(distance), method="average")
    return found


def _label(table: JSON, task: str) -> str:
    return broken(task if task in table["compared_sources"] else f"{task} (target)", LABEL_LETTERS)


def _short(value: float) -> str:
    """Return `.73`, `−.05` or `1.00`."""
    text = f"{round(value, DECIMALS) + 0.0:.{DECIMALS}f}".replace("-", "\N{MINUS SIGN}")
    return text if abs(value) >= 0.995 else text.replace("0.", ".", 1)


def _draw_tree(axes: Any, tree: Any, count: int) -> None:
    """Draw the tree with its leaves at the right, beside the rows of the map.

    scipy places leaf i at 5 + 10 i.
    """
    for across, along in zip(tree["icoord"], tree["dcoord"], strict=True):
        axes.plot(along, (np.array(across) - 5) / 10, color=DARK, linewidth=1.2)
    axes.set_ylim(count - 0.5, -0.5)
    axes.set_xlim(axes.get_xlim()[1], 0)
    axes.set_yticks([])
    axes.locator_params(axis="x", nbins=3)
    axes.set_xlabel("1 \N{MINUS SIGN} similarity")
    axes.spines[["top", "right", "left"]].set_visible(False)
