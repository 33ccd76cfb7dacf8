"""Similarity of prefixes, against plain loops over layers, slots and numbers."""

from __future__ import annotations

import itertools
import math
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from prefixbank.choices import Similarity
from prefixbank.core.shapes import ShapeError
from prefixbank.core.stats.similarity import (
    similarity_matrix,
    similarity_matrix_by_layer,
)
from prefixbank.errors import DataError, UsageError

LAYERS, HEADS, SIZE = 3, 2, 4
both_measures = pytest.mark.parametrize("measure", ["average_tokens", "per_token"])
both_kinds = pytest.mark.parametrize("kind", ["deep", "soft"])


def new_prefix(kind: str, seed: int, length: int = 5) -> Tensor:
    shape = (LAYERS, 2, HEADS, length, SIZE) if kind == "deep" else (length, 6)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) + 0.3


def tokens_of(prefix: Tensor, layers: range) -> list[list[float]]:
    """Tokens of some layers, number by number."""
    if prefix.ndim == 2:
        return prefix.tolist()
    _, two, heads, length, size = prefix.shape
    places = list(itertools.product(layers, range(two), range(heads), range(size)))
    return [
        [prefix[layer, which, head, slot, at].item() for layer, which, head, at in places]
        for slot in range(length)
    ]


def cosine(u: list[float], v: list[float]) -> float:
    lengths = math.hypot(*u) * math.hypot(*v)
    return math.fsum(x * y for x, y in zip(u, v, strict=True)) / lengths if lengths else 0.0


def by_loops(measure: Similarity, a: Tensor, b: Tensor, layers: range) -> float:
    tokens_a, tokens_b = tokens_of(a, layers), tokens_of(b, layers)
    if measure == "average_tokens":
        mean_a, mean_b = (
            [math.fsum(column) / len(tokens) for column in zip(*tokens, strict=True)]
            for tokens in (tokens_a, tokens_b)
        )
        return cosine(mean_a, mean_b)
    return math.fsum(cosine(u, v) for u in tokens_a for v in tokens_b) / (
        len(tokens_a) * len(tokens_b)
    )


def of_pair(measure: Similarity, a: Tensor, b: Tensor) -> float:
    return float(similarity_matrix(measure, [a], [b])[0, 0])


@both_measures
@both_kinds
@pytest.mark.parametrize("lengths", [(5, 5), (1, 4), (7, 2)])
def test_similarity_equals_the_loop_over_tokens(
    measure: Similarity, kind: str, lengths: tuple[int, int]
):
    a, b = new_prefix(kind, 0, lengths[0]), new_prefix(kind, 1, lengths[1])
    assert of_pair(measure, a, b) == pytest.approx(
        by_loops(measure, a, b, range(LAYERS)), abs=1e-12
    )


@both_measures
def test_similarity_by_layer_equals_the_loop_over_one_layer(measure: Similarity):
    a, b = new_prefix("deep", 0), new_prefix("deep", 1, 3)
    by_layer = similarity_matrix_by_layer(measure, [a], [b])[0, 0]
    expected = [by_loops(measure, a, b, range(layer, layer + 1)) for layer in range(LAYERS)]
    np.testing.assert_allclose(by_layer, expected, atol=1e-12)


@both_measures
def test_soft_prompt_has_one_layer(measure: Similarity):
    a, b = new_prefix("soft", 0), new_prefix("soft", 1)
    np.testing.assert_array_equal(
        similarity_matrix_by_layer(measure, [a], [b]), [[[of_pair(measure, a, b)]]]
    )


coordinates = st.one_of(
    st.just(0.0), st.floats(-1e3, 1e3, width=32).filter(lambda value: abs(value) > 1e-3)
)
prompts = st.lists(st.lists(coordinates, min_size=3, max_size=3), min_size=1, max_size=4)


@settings(deadline=None)
@given(prompts, prompts)
def test_mean_cosine_of_all_pairs_is_the_product_of_mean_unit_vectors(
    rows_a: list[list[float]], rows_b: list[list[float]]
):
    a, b = torch.tensor(rows_a, dtype=torch.float64), torch.tensor(rows_b, dtype=torch.float64)
    assert of_pair("per_token", a, b) == pytest.approx(
        by_loops("per_token", a, b, range(1)), abs=1e-12
    )


@settings(deadline=None)
@given(prompts, prompts)
def test_similarity_is_symmetric_and_bounded(rows_a: list[list[float]], rows_b: list[list[float]]):
    a, b = torch.tensor(rows_a), torch.tensor(rows_b)
    for measure in get_args(Similarity):
        assert of_pair(measure, a, b) == pytest.approx(of_pair(measure, b, a), abs=1e-12)
        assert -1 <= of_pair(measure, a, b) <= 1


@both_measures
@both_kinds
def test_order_of_slots_changes_nothing(measure: Similarity, kind: str):
    a, b = new_prefix(kind, 0), new_prefix(kind, 1)
    shuffled = a.flip(3 if kind == "deep" else 0)
    assert of_pair(measure, shuffled, b) == pytest.approx(of_pair(measure, a, b), abs=1e-12)


@both_kinds
def test_mean_token_of_a_prefix_is_its_own(kind: str):
    assert of_pair("average_tokens", new_prefix(kind, 0), 3 * new_prefix(kind, 0)) == pytest.approx(
        1
    )


def test_per_token_of_a_prefix_with_itself_pairs_different_tokens_too():
    assert of_pair("per_token", torch.eye(4), torch.eye(4)) == pytest.approx(1 / 4)


@both_measures
def test_cosine_with_zeros_is_zero(measure: Similarity):
    assert of_pair(measure, torch.zeros(2, 6), new_prefix("soft", 0)) == 0
    deep = new_prefix("deep", 0)
    deep[1] = 0
    assert similarity_matrix_by_layer(measure, [deep], [new_prefix("deep", 1)])[0, 0, 1] == 0


def test_token_of_zeros_counts_as_a_token():
    assert of_pair(
        "per_token", torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([[2.0, 0.0]])
    ) == pytest.approx(1 / 2)


@both_measures
@both_kinds
def test_matrix_holds_the_similarity_of_each_pair(measure: Similarity, kind: str):
    sources = [new_prefix(kind, seed, 2 + seed) for seed in range(3)]
    targets = [new_prefix(kind, 10 + seed, 4) for seed in range(2)]
    expected = [[of_pair(measure, source, target) for target in targets] for source in sources]
    np.testing.assert_allclose(similarity_matrix(measure, sources, targets), expected, atol=1e-12)


@both_measures
def test_matrix_by_layer_holds_the_similarity_of_each_pair_and_layer(measure: Similarity):
    sources, targets = (
        [new_prefix("deep", seed) for seed in range(3)],
        [new_prefix("deep", 10), new_prefix("deep", 11)],
    )
    found = similarity_matrix_by_layer(measure, sources, targets)
    assert found.shape == (3, 2, LAYERS)
    for s, t, layer in np.ndindex(found.shape):
        assert found[s, t, layer] == pytest.approx(
            by_loops(measure, sources[s], targets[t], range(layer, layer + 1)), abs=1e-12
        )


def test_low_precision_with_gradients_is_computed_in_float64():
    a, b = new_prefix("deep", 0).bfloat16().requires_grad_(), new_prefix("deep", 1).bfloat16()
    assert of_pair("per_token", a, b) == pytest.approx(
        by_loops("per_token", a.detach(), b, range(LAYERS)), abs=1e-12
    )


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((3, 2, 2, 5, 4), (4, 2, 2, 5, 4)),
        ((3, 2, 2, 5, 4), (3, 2, 4, 5, 2)),
        ((3, 2, 2, 5, 4), (5, 6)),
        ((5, 6), (5, 7)),
        ((3, 1, 2, 5, 4), (3, 1, 2, 5, 4)),
        ((6,), (6,)),
        ((0, 6), (5, 6)),
    ],
    ids=str,
)
def test_prefixes_that_do_not_compare_are_refused_with_shape_and_fix(
    a: tuple[int, ...], b: tuple[int, ...]
):
    with pytest.raises(ShapeError) as caught:
        of_pair("average_tokens", torch.ones(a), torch.ones(b))
    assert str(list(a)) in caught.value.what and "P" in caught.value.expected and caught.value.fix


def test_nothing_to_compare_is_refused():
    with pytest.raises(UsageError, match="0 sources and 1 targets"):
        similarity_matrix("per_token", [], [torch.ones(2, 3)])


def test_prefix_that_is_not_finite_is_refused():
    with pytest.raises(DataError, match="not finite"):
        of_pair("per_token", torch.tensor([[math.nan, 1.0]]), torch.ones(2, 2))
