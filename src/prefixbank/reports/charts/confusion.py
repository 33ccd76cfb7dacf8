"""Confusion matrix: which classes a probe takes for which."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import seaborn
from matplotlib.figure import Figure

from prefixbank.reports.charts.style import put_title, width_of, wrap_label

FULL = "#6baed6"
"""Blue of a share of 1, light enough for black numbers."""
CELL_WIDE_INCHES, CELL_HIGH_INCHES, SMALL_INCHES, LABEL_LETTERS = 0.75, 0.42, 0.22, 11
MOST_NUMBERED = 30
"""Classes of a matrix whose cells have their counts written into them; others have small cells."""


def confusion_chart(title: str, names: Sequence[str], counts: np.ndarray) -> Figure:
    """Return the chart of counts [C, C], true classes by predicted ones.

    The colour of a cell is its share of the rows of the true class, so that rare classes can be
    read as well as frequent ones.
    """
    rows = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, rows, out=np.zeros(counts.shape), where=rows > 0)
    numbered = len(names) <= MOST_NUMBERED
    below = 0.6 if numbered else width_of(names)
    wide, high = (CELL_WIDE_INCHES, CELL_HIGH_INCHES) if numbered else (SMALL_INCHES, SMALL_INCHES)
    size = (1.9 + width_of(names) + wide * len(names), 1.0 + below + high * len(names))
    figure = Figure(figsize=(max(size[0], 4.2), max(size[1], 2.8)), layout="constrained")
    axes = figure.subplots()
    seaborn.heatmap(
        shares,
        ax=axes,
        cmap=seaborn.light_palette(FULL, as_cmap=True),
        vmin=0,
        vmax=1,
        annot=counts if numbered else None,
        fmt="d",
        annot_kws={"color": "black"},
        linewidths=0.5,
        xticklabels=[wrap_label(name, LABEL_LETTERS) if numbered else name for name in names],
        yticklabels=list(names),
        cbar_kws={"label": "share of the true class", "pad": 0.02},
    )
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.tick_params(length=0)
    axes.tick_params(axis="x", labelrotation=0 if numbered else 90)
    axes.tick_params(axis="y", labelrotation=0)
    put_title(figure, title)
    return figure
