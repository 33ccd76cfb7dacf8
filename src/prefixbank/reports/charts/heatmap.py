"""Heat map: what the bank of each single prefix gains or loses on each target."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from prefixbank.reports.charts.style import broken, put_title, width_of
from prefixbank.reports.text import MEAN, number, title_of
from prefixbank.store.key import JSON

COLOURS = "PuOr"
"""Diverging, told apart by colour-blind readers; in grey both ends are dark, so every number has
its sign."""
CELL_WIDE_INCHES, CELL_HIGH_INCHES, LABEL_LETTERS = 0.85, 0.42, 11


def heat_map(table: JSON) -> Figure:
    """Return the map of single prefixes, sources by targets and their mean."""
    singles = table["singles"]
    targets = [*table["targets"], MEAN]
    values = [
        [_value(singles["rows"][source][target]) for target in targets]
        for source in singles["sources"]
    ]
    title = (
        f"{table['experiment']}: one prefix alone, score minus "
        f"{title_of(table, singles['compared_with'])}"
    )
    return signed_map(title, singles["sources"], targets, values)


def signed_map(
    title: str,
    sources: Sequence[str],
    targets: Sequence[str],
    differences: Sequence[Sequence[float | None]],
) -> Figure:
    """Return a map of differences, sources by targets of which the last is their mean.

    White is no difference, or none that is known.

    Args:
        title: of the chart.
        sources: S names.
        targets: T names.
        differences: [S][T], None where there is none.
    """
    values = np.array(differences, dtype=np.float64)
    limit = max(float(np.nanmax(np.abs(values), initial=0.0)), 0.001)
    labels = [broken(target, LABEL_LETTERS) for target in targets]
    size = (
        1.9 + width_of(sources) + CELL_WIDE_INCHES * len(targets),
        1.5 + CELL_HIGH_INCHES * len(sources),
    )
    figure = Figure(figsize=(max(size[0], 5.0), max(size[1], 2.6)), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(values, cmap=COLOURS, vmin=-limit, vmax=limit, aspect="auto")
    axes.set_xticks(range(len(targets)), labels)
    axes.set_yticks(range(len(sources)), sources)
    axes.set_xlabel("target")
    axes.set_ylabel("prefix of")
    axes.tick_params(length=0)
    axes.axvline(len(targets) - 1.5, color="black", linewidth=1.5)
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            text = number(value, signed=True).replace("-", "\N{MINUS SIGN}")
            axes.text(column, row, text, ha="center", va="center", color=ink(value, limit))
    put_title(figure, title)
    figure.colorbar(image, ax=axes, label="difference of scores", pad=0.02)
    return figure


def _value(by_target: JSON) -> float | None:
    return by_target["difference"]["value"] if by_target["difference"] else None


def ink(value: float, limit: float) -> str:
    """Return black or white, whichever has the higher contrast to a value's colour.

    The value lies between -limit and limit.

    Source: WCAG 2, relative luminance and contrast ratio.
    """
    red, green, blue, _ = matplotlib.colormaps[COLOURS](Normalize(-limit, limit)(value))
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (red, green, blue)
    ]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "black" if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else "white"
