"""Where the features of a vector come from."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from prefixbank.core.layout import Layout, layout_of, layout_of_block, side_by_side
from prefixbank.core.pooling import Pooling
from prefixbank.errors import DataError

TWO_BY_TWO = Pooling(position=("mean", "cls"), layers=(3, 1), last_k=1, layer=0)
LAST = Pooling(position="max", layers="last", last_k=4, layer=0)


def origins(layout: Layout) -> list[tuple[str, int | None, str]]:
    return [(one.reading, one.layer, one.position) for one in layout.segments]


def test_segments_go_by_reading_then_layer_then_position():
    layout = layout_of(TWO_BY_TWO, pairs="both", layers=6, hidden_size=5)
    one_reading = [(3, "mean"), (3, "cls"), (1, "mean"), (1, "cls")]
    assert origins(layout) == [
        (reading, *rest) for reading in ("joint", *["separate"] * 4) for rest in one_reading
    ]


def test_every_pass_has_its_layers():
    layout = layout_of(LAST, pairs="separate", layers=6, hidden_size=5, passes=3)
    assert origins(layout) == [("separate", 6, "max")] * 12


@pytest.mark.parametrize(
    ("pooling", "layers"),
    [
        (LAST, [6]),
        (Pooling(position="max", layers="mean_last", last_k=4, layer=0), [None]),
        (Pooling(position="max", layers="concat_last", last_k=3, layer=0), [4, 5, 6]),
        (Pooling(position="max", layers="single", last_k=4, layer=2), [2]),
        (TWO_BY_TWO, [3, 1]),
    ],
    ids=str,
)
def test_layers_have_their_numbers(pooling, layers):
    assert list(layout_of(pooling, pairs="joint", layers=6, hidden_size=5).layers) == layers


def test_segments_leave_no_gap():
    layout = layout_of(TWO_BY_TWO, pairs="both", layers=6, hidden_size=5, passes=2)
    assert layout.segments[0].start == 0 and layout.size == 5 * 2 * 4 * 5
    assert all(one.start + one.size == after.start for one, after in pairwise(layout.segments))


def test_joined_layouts_lie_behind_each_other():
    first = layout_of(TWO_BY_TWO, pairs="joint", layers=6, hidden_size=5)
    joined = side_by_side([first, layout_of(LAST, pairs="both", layers=6, hidden_size=2)])
    assert [one.start for one in joined.segments] == [0, 5, 10, 15, 20, 22, 24, 26, 28]
    assert joined.size == 30 and joined.positions == ("mean", "cls", "max")


def test_segments_are_taken_out_of_vectors():
    layout = layout_of(TWO_BY_TWO, pairs="joint", layers=6, hidden_size=2)
    vectors = np.arange(16).reshape(2, 8)
    taken = layout.take(vectors, [layout.segments[0], layout.segments[3]])
    assert taken.tolist() == [[0, 1, 6, 7], [8, 9, 14, 15]]


def test_all_segments_are_the_vectors_themselves():
    layout = layout_of(TWO_BY_TWO, pairs="joint", layers=6, hidden_size=2)
    vectors = np.zeros((3, 8))
    assert layout.take(vectors, layout.segments) is vectors


def test_vectors_of_another_size_are_refused():
    layout = layout_of(TWO_BY_TWO, pairs="joint", layers=6, hidden_size=2)
    with pytest.raises(DataError, match="vectors of size 9"):
        layout.take(np.zeros((3, 9)), layout.segments)


@pytest.mark.parametrize(("pairs", "parts"), [("joint", 1), ("separate", 4), ("both", 5)])
def test_block_of_a_source_has_readings_and_nothing_else_to_choose_from(pairs, parts):
    layout = layout_of_block(6 * parts, pairs)
    assert [(one.start, one.size) for one in layout.segments] == [
        (6 * part, 6) for part in range(parts)
    ]
    assert layout.layers == layout.positions == ()
    assert (
        layout.readings
        == {
            "joint": ("joint",),
            "separate": ("separate",),
            "both": ("joint", "separate"),
        }[pairs]
    )


def test_layers_beside_a_block_are_those_of_the_plain_vector():
    plain = layout_of(TWO_BY_TWO, pairs="joint", layers=6, hidden_size=5)
    joined = side_by_side([plain, layout_of_block(7, "joint")])
    assert (joined.layers, joined.positions, joined.size) == ((3, 1), ("mean", "cls"), 27)
