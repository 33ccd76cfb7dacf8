"""The confusion matrix: what it draws, that nothing is cut off, and that it can be read."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from prefixbank.reports.charts.confusion import MOST_NUMBERED, confusion_chart
from prefixbank.reports.charts.style import styled
from tests.reports.charts.test_charts import contrasts

NAMES = ("joy", "a long_name of a class", "fear", "never there")
COUNTS = np.array([[30, 0, 3, 0], [2, 500, 8, 0], [1, 1, 2, 0], [0, 0, 0, 0]])


def chart_of(names: tuple[str, ...] = NAMES, counts: np.ndarray = COUNTS) -> Figure:
    with styled():
        figure = confusion_chart("mood: 547 test rows", names, counts)
        FigureCanvasAgg(figure).draw()
    return figure


def test_cells_have_their_counts():
    said = [int(text.get_text()) for text in chart_of().axes[0].texts]
    assert said == COUNTS.ravel().tolist()


def test_colours_are_shares_of_the_true_class():
    values = np.asarray(chart_of().axes[0].collections[0].get_array()).reshape(4, 4)
    expected = COUNTS / np.maximum(COUNTS.sum(axis=1, keepdims=True), 1)
    np.testing.assert_allclose(values, expected)


def test_counts_can_be_read_on_every_cell():
    assert min(contrasts(chart_of().axes[0])) > 4.5


@pytest.mark.parametrize("classes", [2, 6, MOST_NUMBERED + 1])
def test_nothing_of_a_matrix_is_cut_off(classes):
    names = tuple(f"name of class {number}" for number in range(classes))
    figure = chart_of(names, np.eye(classes, dtype=int) * 9)
    inside = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert inside.x0 >= 0 and inside.y0 >= 0 and inside.x1 <= width and inside.y1 <= height


def test_many_classes_have_no_counts():
    classes = MOST_NUMBERED + 1
    names = tuple(map(str, range(classes)))
    assert not chart_of(names, np.eye(classes, dtype=int)).axes[0].texts
