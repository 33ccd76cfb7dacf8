"""Weighted means of prefixes, against loops over their numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prefixbank.core.average import average_prefixes, average_tensors, retrieval_weights
from prefixbank.core.combine import Bank
from prefixbank.core.prefix import Prefix
from prefixbank.core.shapes import ShapeError
from prefixbank.errors import UsageError
from tests.core.toys import MEAN, new_prefix

WEIGHTS = [0.5, 0.3, 0.2]


def test_weights_are_similarities_scaled_to_a_sum_of_one():
    np.testing.assert_allclose(retrieval_weights(np.array([0.6, 0.3, 0.1])), [0.6, 0.3, 0.1])
    np.testing.assert_allclose(retrieval_weights(np.array([0.3, 0.1])), [0.75, 0.25])


def test_negative_similarity_counts_as_zero():
    np.testing.assert_allclose(retrieval_weights(np.array([0.3, -0.9, 0.1])), [0.75, 0, 0.25])


@pytest.mark.parametrize("similarities", [[0.0, 0.0], [-0.5, -0.1], [-0.5, 0.0]], ids=str)
def test_weights_are_equal_where_no_similarity_is_above_zero(similarities: list[float]):
    np.testing.assert_array_equal(retrieval_weights(np.array(similarities)), [0.5, 0.5])


@settings(deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=8))
def test_weights_are_shares_in_the_order_of_similarities(similarities: list[float]):
    weights = retrieval_weights(np.array(similarities))
    assert weights.sum() == pytest.approx(1) and (weights >= 0).all()
    assert all(np.diff(weights[np.argsort(similarities)]) >= 0)


@pytest.mark.parametrize("similarities", [[], [0.5, math.nan], [[0.5]]], ids=str)
def test_weights_need_finite_similarities(similarities: list[float]):
    with pytest.raises(UsageError) as caught:
        retrieval_weights(np.array(similarities))
    assert caught.value.expected and caught.value.fix


def test_mean_prompt_equals_the_loop_over_numbers():
    prompts = [
        torch.randn(3, 5, generator=torch.Generator().manual_seed(seed)) for seed in range(3)
    ]
    found = average_tensors(prompts, WEIGHTS)
    for slot in range(3):
        for at in range(5):
            expected = math.fsum(
                weight * prompt[slot, at].item()
                for weight, prompt in zip(WEIGHTS, prompts, strict=True)
            )
            assert found[slot, at].item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("gated", [False, True], ids=["no gate", "gate"])
def test_mean_prefix_equals_numpy(gated: bool):
    prefixes = [new_prefix(seed, gated=gated) for seed in range(3)]
    found = average_prefixes(prefixes, WEIGHTS)
    np.testing.assert_allclose(
        found.tensor,
        np.average([prefix.tensor.numpy() for prefix in prefixes], axis=0, weights=WEIGHTS),
        atol=1e-6,
    )
    if gated:
        gates = [prefix.log_gate.numpy() for prefix in prefixes if prefix.log_gate is not None]
        np.testing.assert_allclose(
            found.log_gate, np.average(gates, axis=0, weights=WEIGHTS), atol=1e-6
        )
    else:
        assert found.log_gate is None


def test_missing_gate_counts_as_zero():
    gated, plain = new_prefix(0, gated=True), new_prefix(1)
    found = average_prefixes([gated, plain], [0.25, 0.75])
    assert found.log_gate is not None and gated.log_gate is not None
    torch.testing.assert_close(found.log_gate, 0.25 * gated.log_gate)


def test_mean_prefix_is_what_a_bank_of_mean_prefixes_reads():
    prefixes = (new_prefix(0, gated=True), new_prefix(1, gated=True))
    bank = Bank(prefixes=prefixes, weights=(3.0, 1.0), rule="mean_prefixes", pooling=MEAN)
    read, found = bank.passes()[0], average_prefixes(prefixes, [3, 1]).slots()
    assert (
        torch.equal(read.keys, found.keys)
        and torch.equal(read.values, found.values)
        and torch.equal(read.bias, found.bias)
    )


def test_weights_need_not_sum_to_one():
    prompts = [torch.ones(2, 3), torch.zeros(2, 3)]
    torch.testing.assert_close(average_tensors(prompts, [3, 1]), torch.full((2, 3), 0.75))


def test_prefix_of_weight_zero_is_left_out_to_the_bit():
    first, second = new_prefix(0), new_prefix(1)
    broken = Prefix(tensor=torch.full_like(second.tensor, math.inf))
    assert torch.equal(average_prefixes([first, broken], [1, 0]).tensor, first.tensor)
    assert torch.equal(
        average_tensors([first.tensor[0, 0, 0], broken.tensor[0, 0, 0]], [1, 0]),
        first.tensor[0, 0, 0],
    )


def test_prefixes_of_different_lengths_have_no_mean():
    with pytest.raises(ShapeError) as caught:
        average_prefixes([new_prefix(0, length=2), new_prefix(1, length=3)], [0.5, 0.5])
    assert "one length" in caught.value.expected and "prefix.length" in caught.value.fix
    with pytest.raises(ShapeError, match=r"\[2, 4\], \[3, 4\]"):
        average_tensors([torch.ones(3, 4), torch.ones(2, 4)], [0.5, 0.5])


@pytest.mark.parametrize("weights", [[1.0], [0.5, -0.5], [0.0, 0.0], [1.0, math.nan]], ids=str)
def test_weights_that_do_not_fit_are_refused(weights: list[float]):
    with pytest.raises(UsageError) as caught:
        average_tensors([torch.ones(2, 3), torch.ones(2, 3)], weights)
    assert "weights" in caught.value.what and caught.value.expected and caught.value.fix


def test_mean_of_nothing_is_refused():
    with pytest.raises(UsageError, match="0 weights for 0 prefixes"):
        average_prefixes([], [])
