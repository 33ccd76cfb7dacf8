"""The charts of the report on a transfer map.

What they draw, that nothing is cut off, and that labels can be read.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from matplotlib.text import Text
from scipy.cluster.hierarchy import leaves_list, linkage

from prefixbank.reports.charts.clusters import clusters, similarity_chart
from prefixbank.reports.charts.scatter import scatter_chart
from prefixbank.reports.transfer_map.make import gains_chart
from tests.reports.charts.test_charts import drawn
from tests.reports.transfer_map.maps import ROWS, SOURCES, made_map, sources_of

CHARTS = {"gains": gains_chart, "similarity": similarity_chart, "scatter": scatter_chart}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return made_map(tmp_path_factory.mktemp("store"), bootstrap_samples=10)


@pytest.fixture(scope="module")
def wide_table(table):
    """Sixteen sources with long names on seven targets, two of them nearly one point."""
    generator = np.random.default_rng(0)
    sources, targets = (
        [f"source_task_{number}" for number in range(16)],
        [f"target {number}" for number in range(7)],
    )
    values = generator.normal(size=(2, 16, 8)) / 10
    values[:, 1] = values[:, 0] + 0.001
    gains, similarity = (
        {
            source: dict(zip([*targets, "mean"], row, strict=True))
            for source, row in zip(sources, one.tolist(), strict=True)
        }
        for one in values
    )
    vectors = generator.normal(size=(23, 5))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    undefined = {kind: dict.fromkeys(targets) for kind in ("pearson", "spearman")}
    return {
        **table,
        "compared_sources": sources,
        "targets": targets,
        "gains": gains,
        "similarity": similarity,
        "between": {"tasks": [*sources, *targets], "similarity": (unit @ unit.T).tolist()},
        "correlations": [{**table["correlations"][0], "within": {"by_target": undefined}}],
    }


def test_gains_chart_says_every_gain_and_leaves_blank_what_was_not_trained(table):
    said = [
        text.get_text().replace("\N{MINUS SIGN}", "-") for text in gains_chart(table).axes[0].texts
    ]
    gains = [value for row in table["gains"].values() for value in row.values()]
    assert said == [f"{round(value, 3) + 0.0:+.3f}" for value in gains if value is not None]
    assert len(said) == len(gains) - 1


def test_similarity_chart_is_ordered_by_average_linkage(table):
    values = np.array(table["between"]["similarity"])
    above = 1 - values[np.triu_indices(len(values), 1)]
    order = leaves_list(linkage(above, method="average"))
    _, axes, _ = similarity_chart(table).axes
    labels = [label.get_text().removesuffix(" (target)") for label in axes.get_yticklabels()]
    assert labels == [table["between"]["tasks"][place] for place in order]
    np.testing.assert_allclose(axes.images[0].get_array(), values[np.ix_(order, order)])


def test_clusters_do_not_depend_on_the_diagonal(table):
    values = np.array(table["between"]["similarity"])
    np.testing.assert_array_equal(clusters(values), clusters(values - 0.5 * np.eye(len(values))))


def test_tree_joins_tasks_at_their_distance(table):
    beside = similarity_chart(table).axes[0]
    heights = sorted(max(line.get_xdata()) for line in beside.lines)
    assert heights == pytest.approx(
        sorted(clusters(np.array(table["between"]["similarity"]))[:, 2])
    )


def test_similarity_chart_marks_targets(table):
    labels = [label.get_text() for label in similarity_chart(table).axes[1].get_yticklabels()]
    assert sorted(labels) == sorted([*SOURCES, "mood (target)", "topic (target)"])


def test_scatter_has_a_named_point_for_each_source(table):
    for axes, target in zip(scatter_chart(table).axes, ROWS, strict=True):
        found = {text.get_text(): text.xy for text in axes.texts}
        assert found == {
            source: (table["similarity"][source][target], table["gains"][source][target])
            for source in sources_of(target)
        }


def test_scatter_says_correlations_of_each_target(table):
    by_target = table["correlations"][0]["within"]["by_target"]
    titles = [
        axes.get_title(loc="left").replace("\N{MINUS SIGN}", "-")
        for axes in scatter_chart(table).axes
    ]
    assert titles == [
        f"{target}\n"
        f"Pearson {by_target['pearson'][target]:+.3f}, Spearman "
        f"{by_target['spearman'][target]:+.3f}"
        for target in ROWS
    ]


def test_scatter_says_where_a_correlation_is_undefined(wide_table):
    assert (
        scatter_chart(wide_table).axes[0].get_title(loc="left")
        == "target 0\nPearson undefined, Spearman undefined"
    )


@pytest.mark.parametrize("size", ["table", "wide_table"])
def test_names_of_points_do_not_overlap_and_stay_inside(request, size):
    figure, canvas = drawn(scatter_chart, request.getfixturevalue(size))
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
def test_nothing_is_cut_off(request, name, size):
    figure, canvas = drawn(CHARTS[name], request.getfixturevalue(size))
    inside = figure.get_tightbbox(canvas.get_renderer())
    width, height = figure.get_size_inches()
    assert inside.x0 >= 0 and inside.y0 >= 0 and inside.x1 <= width and inside.y1 <= height
