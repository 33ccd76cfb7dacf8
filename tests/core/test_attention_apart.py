"""Prefixes that each share a softmax with the text, and none with another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from prefixbank.core.attention import Slots, prefix_attention
from tests.core.test_attention import HEADS, ROWS, SIZE, TOKENS, Layer, additive, normal, padding_mask, slots_of, softmax_loops, tensors

APART = ((2, 0.7), (1, 0.3))


def parts(slots: Slots) -> list[tuple[Slots, float]]:
    """Each prefix's own slots, and its share."""
    found, start = [], 0
    for count, share in APART:
        place = slice(start, start + count)
        bias = None if slots.bias is None else slots.bias[:, :, place]
        found.append((Slots(keys=slots.keys[:, :, place], values=slots.values[:, :, place], bias=bias), share))
        start += count
    return found


def apart(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, slots: Slots, **options) -> Tensor:
    return prefix_attention(Layer(), query, key, value, mask, prefix_slots=replace(slots, apart=APART), **options)[0]


@pytest.mark.parametrize("biased", [False, True], ids=["no bias", "bias"])
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize("masked", [False, True], ids=["no mask", "mask"])
def test_attention_apart_is_the_mean_of_plain_loops(masked: bool, kv_heads: int, biased: bool):
    query, key, value = tensors(kv_heads)
    slots = slots_of(kv_heads, biased=biased, count=3)
    added = additive(padding_mask()) if masked else np.zeros((ROWS, HEADS, TOKENS, TOKENS))
    wanted = sum(share * softmax_loops(query, key, value, added, slots=own) for own, share in parts(slots))
    np.testing.assert_allclose(apart(query, key, value, padding_mask() if masked else None, slots), wanted, atol=1e-5)


def test_attention_apart_hides_later_tokens_where_it_is_causal():
    query, key, value = tensors()
    slots = slots_of(count=3)
    added = additive(torch.ones(TOKENS, TOKENS, dtype=torch.bool).tril()[None, None])
    wanted = sum(share * softmax_loops(query, key, value, added, slots=own) for own, share in parts(slots))
    np.testing.assert_allclose(apart(query, key, value, None, slots, is_causal=True), wanted, atol=1e-5)


def test_scaling_replaces_the_square_root_of_the_head_size():
    query, key, value = tensors()
    slots, none = slots_of(count=3), np.zeros((ROWS, HEADS, TOKENS, TOKENS))
    wanted = sum(share * softmax_loops(query, key, value, none, slots=own, factor=0.5) for own, share in parts(slots))
    np.testing.assert_allclose(apart(query, key, value, None, slots, scaling=0.5), wanted, atol=1e-5)


@pytest.mark.parametrize("size", [1e2, 1e4])
def test_one_overwhelming_prefix_leaves_the_other_finite(size: float):
    query, key, value = tensors()
    slots = slots_of(count=3)
    loud = replace(slots, keys=torch.cat([slots.keys[:, :, :2] * size, slots.keys[:, :, 2:]], dim=2))
    wanted = sum(share * prefix_attention(Layer(), query, key, value, None, prefix_slots=own)[0] for own, share in parts(loud))
    found = apart(query, key, value, None, loud)
    assert torch.isfinite(found).all()
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_token_that_sees_no_text_gets_finite_output():
    query, key, value = tensors()
    blind = torch.zeros(ROWS, 1, TOKENS, TOKENS, dtype=torch.bool)
    assert torch.isfinite(apart(query, key, value, blind, slots_of(count=3))).all()


def test_slots_apart_stay_apart_elsewhere():
    slots = replace(slots_of(count=3), apart=APART)
    assert slots.to(torch.device("cpu"), torch.bfloat16).apart == APART


def test_half_precision_comes_near_to_single():
    query, key, value = tensors()
    slots = slots_of(count=3)
    half = apart(query.bfloat16(), key.bfloat16(), value.bfloat16(), None, slots).float()
    assert (half - apart(query, key, value, None, slots)).abs().max() < 0.05


def test_shape_is_that_of_all_attention():
    query, key, value = tensors()
    assert (
        apart(query, key, value, None, slots_of(count=3)).shape
        == (ROWS, TOKENS, HEADS, SIZE)
        == normal(ROWS, TOKENS, HEADS, SIZE, seed=0).shape
    )
