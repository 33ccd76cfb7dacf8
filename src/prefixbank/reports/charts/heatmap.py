"""Heat maps of differences: what each source's prefix gains or loses on each target."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import seaborn
from matplotlib.figure import Figure

from prefixbank.reports.cells import MEAN
from prefixbank.reports.charts.style import put_title, width_of, wrap_label
from prefixbank.reports.grid import number
from prefixbank.reports.table import ExperimentReport, SourceScore
from prefixbank.reports.transfer_map.table import MapReport

PURPLE, ORANGE = 280, 45
"""Hues of both ends, in degrees. Colour-blind readers can tell them apart."""
LIGHTNESS = 68
"""Of both ends, so that black numbers can be read on every cell. In grey both ends look alike, so
every number has its sign."""
CELL_WIDE_INCHES, CELL_HIGH_INCHES, LABEL_LETTERS = 0.85, 0.42, 11


def heat_map(report: ExperimentReport) -> Figure:
    """Return the map of single prefixes, sources by targets and their mean."""
    singles = report.singles
    return signed_map(
        f"{report.experiment}: one prefix alone, score minus "
        f"{report.title(singles.compared_with or '')}",
        singles.sources,
        (*report.targets, MEAN),
        [
            [_value(singles.rows[source][target]) for target in (*report.targets, MEAN)]
            for source in singles.sources
        ],
    )


def gains_map(report: MapReport) -> Figure:
    """Return the map of gains, sources by targets and their mean."""
    targets = (*report.targets, MEAN)
    return signed_map(
        f"{report.experiment}: score from a source's prefix minus cold start",
        tuple(report.gains),
        targets,
        [[by_target[target] for target in targets] for by_target in report.gains.values()],
    )


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
    numbers = [[_signed(value) for value in row] for row in differences]
    size = (
        1.9 + width_of(sources) + CELL_WIDE_INCHES * len(targets),
        1.5 + CELL_HIGH_INCHES * len(sources),
    )
    figure = Figure(figsize=(max(size[0], 5.0), max(size[1], 2.6)), layout="constrained")
    axes = figure.subplots()
    seaborn.heatmap(
        values,
        ax=axes,
        cmap=seaborn.diverging_palette(PURPLE, ORANGE, s=85, l=LIGHTNESS, as_cmap=True),
        vmin=-limit,
        vmax=limit,
        annot=np.array(numbers),
        fmt="",
        annot_kws={"color": "black"},
        linewidths=0.5,
        xticklabels=[wrap_label(target, LABEL_LETTERS) for target in targets],
        yticklabels=list(sources),
        cbar_kws={"label": "difference of scores", "pad": 0.02},
    )
    axes.set_xlabel("target")
    axes.set_ylabel("prefix of")
    axes.tick_params(length=0, labelrotation=0)
    axes.axvline(len(targets) - 1, color="black", linewidth=1.5)
    put_title(figure, title)
    return figure


def _value(score: SourceScore) -> float | None:
    return score.difference.value if score.difference else None


def _signed(value: float | None) -> str:
    return "" if value is None else number(value, signed=True).replace("-", "\N{MINUS SIGN}")
