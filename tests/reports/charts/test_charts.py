"""The charts of a report: what they draw, that nothing is cut off, and that they can be read."""

from __future__ import annotations

import itertools
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from prefixbank.reports.cells import MEAN
from prefixbank.reports.charts.costs import update_chart
from prefixbank.reports.charts.curves import curves_chart
from prefixbank.reports.charts.heatmap import heat_map, signed_map
from prefixbank.reports.charts.scores import scores_chart
from prefixbank.reports.charts.style import panels, styled, wrap_label
from prefixbank.reports.charts.text_costs import spread, text_cost_chart
from prefixbank.reports.make import write_report
from prefixbank.reports.study import ReportColumn, Study
from prefixbank.reports.table import CostShares
from tests.reports.studies import (
    RIGHT,
    ROWS,
    made_once,
    put_costs,
    put_probes,
    table_of,
    update_study,
    whole_study,
)

CHARTS = {
    "report.png": scores_chart,
    "heatmap.png": heat_map,
    "cost.png": text_cost_chart,
    "update.png": update_chart,
    "curves.png": curves_chart,
}

TEXTS = ("report.json", "report.md", "report.html")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return made_once(tmp_path_factory.mktemp("store"), whole_study, 100)


@pytest.fixture(scope="module")
def wide_table(tmp_path_factory):
    return made_once(tmp_path_factory.mktemp("store"), wide_study, 100)


def wide_study(put) -> Study:
    """Twelve columns with long titles."""
    shares = {f"column {number}": {0: 0.5 + number / 40, 1: 0.5} for number in range(12)}
    titles = {
        name: ReportColumn(title=f"{name} of a_representation_with a long name", passes=1)
        for name in shares
    }
    return whole_study(
        put,
        columns=titles,
        probes=put_probes(put, shares),
        baselines=("column 0", "column 7"),
        bank="column 3",
        costs=put_costs(put, {name: 1000 + 100 * number for number, name in enumerate(titles)}),
    )


def drawn(chart, table) -> tuple[Figure, FigureCanvasAgg]:
    with styled():
        figure = chart(table)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    return figure, canvas


def dots(figure: Figure) -> list[float]:
    return [
        float(line.get_xdata()[0])
        for axes in figure.axes
        for line in axes.lines
        if line.get_marker() in ("o", "D") and len(line.get_xdata()) == 1
    ]


def test_scores_have_a_dot_for_each_cell(table):
    expected = [table.rows[row].columns[column].value for row in (*ROWS, MEAN) for column in RIGHT]
    assert sorted(dots(scores_chart(table))) == pytest.approx(sorted(expected))


def test_scores_have_an_interval_for_each_cell(table):
    ends = {
        tuple(line.get_xdata())
        for axes in scores_chart(table).axes
        for line in axes.lines
        if len(set(line.get_ydata())) == 1 and len(line.get_xdata()) == 2
    }
    cells = [table.rows[row].columns[column] for row in (*ROWS, MEAN) for column in RIGHT]
    assert ends == {(cell.low, cell.high) for cell in cells}


def test_baselines_differ_from_the_others_in_shape(table):
    axes = scores_chart(table).axes[0]
    assert [line.get_marker() for line in axes.lines if line.get_marker() in ("o", "D")] == [
        "D",
        "o",
        "D",
    ]


def test_heat_map_says_every_difference_with_its_sign(table):
    said = sorted(
        text.get_text().replace("\N{MINUS SIGN}", "-") for text in heat_map(table).axes[0].texts
    )
    differences = [
        of.difference.value for row in table.singles.rows.values() for of in row.values()
    ]
    assert said == sorted(f"{round(value, 3) + 0.0:+.3f}" for value in differences)


def test_heat_map_has_zero_in_the_middle(table):
    low, high = heat_map(table).axes[0].collections[0].get_clim()
    assert low == -high < 0


def luminance(colour) -> float:
    """Source: WCAG 2, relative luminance."""
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in to_rgb(colour)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrasts(axes) -> list[float]:
    """Contrast ratio (WCAG 2) of each number to its cell on a heat map, row by row."""
    axes.figure.canvas.draw()
    mesh = axes.collections[0]
    # A cell without a number is masked, and has no text.
    known = [
        colour
        for colour, masked in zip(
            mesh.get_facecolors(), np.ma.getmaskarray(mesh.get_array()).ravel(), strict=True
        )
        if not masked
    ]
    pairs = zip(axes.texts, known, strict=True)
    ends = (sorted((luminance(text.get_color()), luminance(cell))) for text, cell in pairs)
    return [(light + 0.05) / (dark + 0.05) for dark, light in ends]


@pytest.mark.parametrize("value", [0.0, 0.05, 0.5, 1.0])
def test_numbers_can_be_read_on_every_cell_of_a_heat_map(value):
    figure = signed_map("title", ["one"], ["two", "three"], [[value, -value]])
    FigureCanvasAgg(figure)
    assert min(contrasts(figure.axes[0])) > 4.5


def test_update_chart_says_every_share(table):
    said = [text.get_text() for axes in update_chart(table).axes for text in axes.texts]
    assert said == ["0.111", "0", "0.75", "0", "0.25", "not comparable"]


def test_update_chart_is_logarithmic_where_shares_are_far_apart(table):
    shares = CostShares(change="add", examples=0.001, flops=0.5, seconds=20.0)
    other = replace(table, update_ratios=(shares,))
    assert [axes.get_xscale() for axes in update_chart(other).axes] == ["log", "linear", "log"]


def test_cost_chart_has_each_score_over_the_operations_of_every_number_of_tasks(table):
    lines = text_cost_chart(table).axes[0].lines
    assert {(tuple(line.get_xdata()), line.get_ydata()[0]) for line in lines} == {
        (tuple(cost.by_tasks.values()), table.rows[MEAN].columns[name].value)
        for name, cost in table.costs.items()
    }


def test_labels_of_the_cost_chart_do_not_overlap(wide_table):
    figure, canvas = drawn(text_cost_chart, wide_table)
    labels = [text for text in figure.axes[0].texts if text.arrow_patch is not None]
    # An annotation's own extent counts its arrow, too.
    boxes = [Text.get_window_extent(label, canvas.get_renderer()) for label in labels]
    assert len(boxes) == len(wide_table.costs)
    assert not [1 for one, other in itertools.combinations(boxes, 2) if one.overlaps(other)]


@pytest.mark.parametrize("wanted", [[0.0] * 8, [0.9, 1.0, 1.0], [0.1, 0.5, 0.52, 0.53], [0.5]])
def test_spread_heights_keep_their_order_their_distance_and_the_edges(wanted):
    room = 1 / 10
    heights = spread(wanted, room)
    assert all(b - a >= room - 1e-9 for a, b in itertools.pairwise(heights))
    assert min(heights) >= -1e-9 and max(heights) <= 1.0
    assert spread([0.1, 0.6], room) == [0.1, 0.6]


def test_curves_have_a_line_for_each_seed(table):
    (axes,) = (axes for axes in curves_chart(table).axes if axes.get_visible())
    drawn_points = [tuple(map(tuple, np.transpose(line.get_data()))) for line in axes.lines]
    assert drawn_points == list(table.curves["alpha"].values())


def test_seeds_differ_in_line_and_marker(table):
    axes = curves_chart(table).axes[0]
    assert len({(line.get_linestyle(), line.get_marker()) for line in axes.lines}) == 2


@pytest.mark.parametrize("name", CHARTS)
@pytest.mark.parametrize("size", ["table", "wide_table"])
def test_nothing_is_cut_off(request, name, size):
    figure, canvas = drawn(CHARTS[name], request.getfixturevalue(size))
    inside = figure.get_tightbbox(canvas.get_renderer())
    width, height = figure.get_size_inches()
    assert inside.x0 >= 0 and inside.y0 >= 0 and inside.x1 <= width and inside.y1 <= height


@pytest.mark.parametrize("name", CHARTS)
def test_labels_of_rows_do_not_overlap(wide_table, name):
    figure, canvas = drawn(CHARTS[name], wide_table)
    for axes in figure.axes:
        boxes = [
            label.get_window_extent(canvas.get_renderer())
            for label in axes.get_yticklabels()
            if label.get_text() and axes.get_visible()
        ]
        boxes = [box for box in boxes if box.width]
        assert not [1 for one, other in itertools.combinations(boxes, 2) if one.overlaps(other)]


def size_of(png: bytes) -> tuple[int, int]:
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", png[16:24])


def test_pngs_are_images_with_something_on_them(table, tmp_path):
    from matplotlib.image import imread

    write_report(tmp_path, table)
    for name in CHARTS:
        width, height = size_of((tmp_path / name).read_bytes())
        pixels = imread(tmp_path / name)
        assert 300 < width < 1500 and 200 < height < 1500
        assert (
            pixels.shape[:2] == (height, width)
            and 0.005 < (pixels[..., :3].min(axis=2) < 0.7).mean() < 0.6
        )


def test_same_table_gives_the_same_bytes(table, tmp_path):
    files = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        write_report(tmp_path / name, table)
        files.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert files[0] == files[1] and set(files[0]) == {*TEXTS, *CHARTS}


def test_charts_ignore_the_settings_of_the_user(table, tmp_path: Path):
    import matplotlib

    for name, size in (("one", 8), ("other", 20)):
        (tmp_path / name).mkdir()
        with matplotlib.rc_context({"font.size": size}):
            write_report(tmp_path / name, table)
    assert all(
        (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()
        for name in CHARTS
    )


def test_report_names_and_draws_only_charts_that_have_something(put, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    write_report(out, table_of(update_study(put)))
    assert {path.name for path in out.iterdir()} == {*TEXTS, "update.png"}
    assert [
        line
        for line in (out / "report.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("![")
    ] == ["![Cost of a change by prefixes as a share of multi-task training](update.png)"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("short", "short"),
        ("two words", "two\nwords"),
        ("tweet_sentiment", "tweet_\nsentiment"),
        ("unbreakable", "unbreakable"),
        ("a b c", "a b c"),
    ],
)
def test_labels_break_where_parts_of_names_end(text, expected):
    assert wrap_label(text, 8) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, (1, 1)), (2, (1, 2)), (3, (1, 3)), (4, (2, 3)), (9, (3, 3)), (10, (4, 3))],
)
def test_panels_stand_in_rows_of_three(count, expected):
    assert panels(count) == expected
