"""The charts of the report on a transfer map.

What they draw, that nothing is cut off, and that labels can be read.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import cache

import matplotlib
import numpy as np
import pytest
from matplotlib.text import Text
from scipy.cluster.hierarchy import leaves_list, linkage

from prefixbank.reports.charts.clusters import clusters, similarity_chart
from prefixbank.reports.charts.heatmap import gains_map
from prefixbank.reports.charts.scatter import scatter_chart
from prefixbank.reports.charts.style import save, styled
from prefixbank.reports.transfer_map.similarity import CorrelationsByTarget, TaskSimilarities
from prefixbank.reports.transfer_map.table import MapReport
from tests.reports.charts.test_charts import contrasts, drawn
from tests.reports.transfer_map.maps import ROWS, SOURCES, made_map, sources_of

CHARTS = {"gains": gains_map, "similarity": similarity_chart, "scatter": scatter_chart}
NEAR_PIXELS = 40
"""A label in a panel with few points stands beside its point."""


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return made_map(tmp_path_factory.mktemp("store"), bootstrap_samples=10)


@pytest.fixture(scope="module")
def wide_table(table):
    return wide_of(table)


@pytest.fixture(scope="module")
def chart_of(table, wide_table):
    """Draw a chart of one of the tables, each once: placing labels takes seconds."""
    tables = {"table": table, "wide_table": wide_table}
    return cache(lambda name, size: drawn(CHARTS[name], tables[size]))


def wide_of(table: MapReport) -> MapReport:
    """Sixteen sources with long names on four targets, two of them nearly one point."""
    generator = np.random.default_rng(0)
    sources, targets = (
        tuple(f"source_task_{number}" for number in range(16)),
        tuple(f"target {number}" for number in range(4)),
    )
    values = generator.normal(size=(2, 16, 8))[..., :5] / 10
    values[:, 1] = values[:, 0] + 0.001
    gains, similarity = (
        {
            source: dict(zip([*targets, "mean"], row, strict=True))
            for source, row in zip(sources, one.tolist(), strict=True)
        }
        for one in values
    )
    vectors = generator.normal(size=(20, 5))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    ranking = table.ranking_row
    undefined = CorrelationsByTarget(
        pearson=dict.fromkeys(targets), spearman=dict.fromkeys(targets)
    )
    return replace(
        table,
        compared_sources=sources,
        targets=targets,
        gains=gains,
        similarity=similarity,
        between=TaskSimilarities(
            tasks=(*sources, *targets), similarity=tuple(map(tuple, (unit @ unit.T).tolist()))
        ),
        correlations=(replace(ranking, within=replace(ranking.within, by_target=undefined)),),
    )


def test_gains_map_says_every_gain_and_leaves_blank_what_was_not_trained(table):
    said = [
        text.get_text().replace("\N{MINUS SIGN}", "-") for text in gains_map(table).axes[0].texts
    ]
    gains = [value for row in table.gains.values() for value in row.values()]
    assert said == [f"{round(value, 3) + 0.0:+.3f}" for value in gains if value is not None]
    assert len(said) == len(gains) - 1


def test_similarity_chart_is_ordered_by_average_linkage(table):
    values = np.array(table.between.similarity)
    above = 1 - values[np.triu_indices(len(values), 1)]
    order = leaves_list(linkage(above, method="average"))
    _, axes, _ = similarity_chart(table).axes
    labels = [label.get_text().removesuffix(" (target)") for label in axes.get_yticklabels()]
    assert labels == [table.between.tasks[index] for index in order]
    drawn_values = axes.collections[0].get_array().reshape(values.shape)
    np.testing.assert_allclose(drawn_values, values[np.ix_(order, order)])


def test_clusters_do_not_depend_on_the_diagonal(table):
    values = np.array(table.between.similarity)
    np.testing.assert_array_equal(clusters(values), clusters(values - 0.5 * np.eye(len(values))))


def test_tree_joins_tasks_at_their_distance(table):
    beside = similarity_chart(table).axes[0]
    (tree,) = beside.collections
    heights = sorted(branch[:, 0].max() for branch in tree.get_segments())
    assert heights == pytest.approx(sorted(clusters(np.array(table.between.similarity))[:, 2]))


def test_similarity_chart_marks_targets(table):
    labels = [label.get_text() for label in similarity_chart(table).axes[1].get_yticklabels()]
    assert sorted(labels) == sorted([*SOURCES, "mood (target)", "topic (target)"])


def test_scatter_has_a_named_point_for_each_source(table):
    for axes, target in zip(scatter_chart(table).axes, ROWS, strict=True):
        points = [
            (table.similarity[source][target], table.gains[source][target])
            for source in sources_of(target)
        ]
        assert axes.collections[0].get_offsets().tolist() == list(map(list, points))
        for text, source, point in zip(axes.texts, sources_of(target), points, strict=True):
            assert text.get_text() == source
            to_label = axes.transData.transform(text.get_position())
            assert np.abs(to_label - axes.transData.transform(point)).max() < NEAR_PIXELS


def test_scatter_says_correlations_of_each_target(table):
    by_target = table.correlations[0].within.by_target
    titles = [
        axes.get_title(loc="left").replace("\N{MINUS SIGN}", "-")
        for axes in scatter_chart(table).axes
    ]
    assert titles == [
        f"{target}\n"
        f"Pearson {by_target.pearson[target]:+.3f}, Spearman {by_target.spearman[target]:+.3f}"
        for target in ROWS
    ]


def test_scatter_says_where_a_correlation_is_undefined(chart_of):
    figure, _ = chart_of("scatter", "wide_table")
    assert figure.axes[0].get_title(loc="left") == "target 0\nPearson undefined, Spearman undefined"


@pytest.mark.parametrize("size", ["table", "wide_table"])
def test_names_of_points_do_not_overlap_and_stay_inside(chart_of, size):
    figure, canvas = chart_of("scatter", size)
    renderer = canvas.get_renderer()
    for axes in figure.axes:
        boxes = [Text.get_window_extent(text, renderer) for text in axes.texts]
        inside = axes.get_window_extent(renderer)
        assert all(
            inside.x0 <= box.x0
            and box.x1 <= inside.x1
            and inside.y0 <= box.y0
            and box.y1 <= inside.y1
            for box in boxes
        )
        assert not [1 for one, other in itertools.combinations(boxes, 2) if one.overlaps(other)]


@pytest.mark.parametrize("name", CHARTS)
@pytest.mark.parametrize("size", ["table", "wide_table"])
def test_nothing_is_cut_off(chart_of, name, size):
    figure, canvas = chart_of(name, size)
    inside = figure.get_tightbbox(canvas.get_renderer())
    width, height = figure.get_size_inches()
    assert inside.x0 >= 0 and inside.y0 >= 0 and inside.x1 <= width and inside.y1 <= height


def test_numbers_can_be_read_on_every_cell_of_the_similarity_chart(chart_of):
    figure, _ = chart_of("similarity", "wide_table")
    assert min(contrasts(figure.axes[1])) > 4.5


def test_similarity_chart_leaves_pyplot_as_it_was(table, monkeypatch):
    from matplotlib import pyplot

    monkeypatch.setitem(matplotlib.rcParams, "backend", "svg")
    before = pyplot.get_fignums()
    similarity_chart(table)
    assert (matplotlib.get_backend(), pyplot.get_fignums()) == ("svg", before)


@pytest.mark.parametrize("name", CHARTS)
def test_same_map_draws_the_same_bytes(table, tmp_path, name):
    with styled():
        for out in ("one", "other"):
            save(CHARTS[name](table), tmp_path / out)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
