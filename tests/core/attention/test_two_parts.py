"""Two parts of an attention against one softmax over both."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from prefixbank.core.attention import two_parts
from prefixbank.core.attention.prefix_attention import Slots, prefix_attention
from prefixbank.core.attention.two_parts import (
    LONG_PREFIX,
    attend_in_two_parts,
    lowest,
    two_parts_apply,
)
from prefixbank.core.self_check import SlowPathWarning
from tests.core.toys import distance

ATTEND = two_parts._attend

ROWS, HEADS, TOKENS, SIZE, SLOTS = 3, 2, 6, 8, 70


class Layer(torch.nn.Module):
    """What an attention function needs to know of its layer."""

    layer_idx = 0
    is_causal = False


def normal(*shape: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def text(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    query, key, value = (
        normal(ROWS, TOKENS, HEADS, SIZE, seed=seed, dtype=dtype).transpose(1, 2)
        for seed in (1, 2, 3)
    )
    return query, key, value


def slots(dtype: torch.dtype = torch.float32, count: int = SLOTS) -> Slots:
    keys, values = (normal(1, HEADS, count, SIZE, seed=seed, dtype=dtype) for seed in (4, 5))
    return Slots(keys=keys, values=values, bias=3 * normal(1, HEADS, count, seed=6))


def one_softmax(query: Tensor, key: Tensor, value: Tensor, added: Tensor, given: Slots) -> Tensor:
    """Attention [B, T, H, D] as one softmax over slots and text, in float64."""
    rows = query.shape[0]
    keys = torch.cat([given.keys.expand(rows, -1, -1, -1), key], dim=2).double()
    values = torch.cat([given.values.expand(rows, -1, -1, -1), value], dim=2).double()
    bias = given.bias[0][None, :, None, :].expand(rows, -1, query.shape[2], -1)
    logits = query.double() @ keys.transpose(2, 3) / math.sqrt(query.shape[3]) + torch.cat(
        [bias, added.expand(rows, HEADS, -1, -1)], dim=3
    )
    return (logits.softmax(dim=3) @ values).transpose(1, 2)


def padding() -> Tensor:
    return (torch.arange(TOKENS) < torch.tensor([6, 3, 1])[:, None])[:, None, None, :].expand(
        ROWS, 1, TOKENS, TOKENS
    )


def added_of(mask: Tensor) -> Tensor:
    return torch.zeros(mask.shape, dtype=torch.float64).masked_fill(~mask, -math.inf)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 3e-2)], ids=["fp32", "bf16"]
)
@pytest.mark.parametrize("causal", [False, True], ids=["both ways", "causal"])
@torch.inference_mode()
def test_two_parts_equal_one_softmax(dtype: torch.dtype, tolerance: float, causal: bool):
    query, key, value = text(dtype)
    mask = padding() & torch.ones(TOKENS, TOKENS).tril().bool() if causal else padding()
    output, _ = prefix_attention(Layer(), query, key, value, mask, prefix_slots=slots(dtype))
    assert output.dtype == dtype
    assert (
        distance(output.double(), one_softmax(query, key, value, added_of(mask), slots(dtype)))
        < tolerance
    )


@torch.inference_mode()
def test_token_that_sees_no_text_reads_slots_alone():
    query, key, value = text()
    mask = padding().clone()
    mask[1, :, 2] = False
    output, _ = prefix_attention(Layer(), query, key, value, mask, prefix_slots=slots())
    assert distance(output.double(), one_softmax(query, key, value, added_of(mask), slots())) < 1e-6


@torch.inference_mode()
def test_head_that_sees_no_slot_reads_text_alone():
    query, key, value = text()
    closed = slots()
    closed.bias[0, 1] = -math.inf
    output, _ = prefix_attention(Layer(), query, key, value, padding(), prefix_slots=closed)
    assert (
        distance(output.double(), one_softmax(query, key, value, added_of(padding()), closed))
        < 1e-6
    )


@torch.inference_mode()
def test_logits_of_hundreds_stay_exact():
    query, key, value = text()
    far = Slots(keys=60 * slots().keys, values=slots().values, bias=slots().bias)
    output, _ = prefix_attention(Layer(), query, 40 * key, value, padding(), prefix_slots=far)
    assert (
        distance(output.double(), one_softmax(query, 40 * key, value, added_of(padding()), far))
        < 1e-4
    )


@torch.inference_mode()
def test_scaling_reaches_both_parts():
    query, key, value = text()
    prefix = slots().layer(0, torch.float32)
    halved = attend_in_two_parts(query, key, value, None, prefix, 0.5 / math.sqrt(SIZE))
    assert distance(halved, attend_in_two_parts(query / 2, key, value, None, prefix, None)) < 1e-6


def test_training_computes_one_softmax():
    query, key, _ = text()
    with torch.no_grad():
        assert not two_parts_apply(query, key, SLOTS, 0.0)
    with torch.inference_mode():
        assert two_parts_apply(query, key, SLOTS, 0.0)


@pytest.mark.parametrize(
    ("kv_heads", "slots", "dropout", "expected"),
    [
        (HEADS, 2 * TOKENS, 0.0, True),
        (HEADS, 2 * TOKENS - 1, 0.0, False),
        (1, 2 * TOKENS, 0.0, False),
        (HEADS, 2 * TOKENS, 0.1, False),
    ],
    ids=["twice the tokens", "fewer", "grouped queries", "dropout"],
)
@torch.inference_mode()
def test_two_parts_are_for_prefixes_that_are_long_beside_the_text(
    kv_heads: int, slots: int, dropout: float, expected: bool
):
    query, key, _ = text()
    assert two_parts_apply(query, key[:, :kv_heads], slots, dropout) == expected


@torch.inference_mode()
def test_a_long_prefix_is_a_part_of_its_own_beside_any_text():
    query = normal(1, HEADS, 500, SIZE, seed=0)
    assert two_parts_apply(query, query, LONG_PREFIX, 0.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lowest_hides_and_is_finite_beside_any_logit(dtype: torch.dtype):
    hidden = torch.tensor(lowest(dtype), dtype=dtype)
    assert torch.isfinite(hidden - 1e4) and torch.exp(hidden) == 0


def wrong_logarithm(*operands: Any) -> tuple[Tensor, Tensor]:
    attention, log_sum = ATTEND(*operands)
    return attention, log_sum / math.log(2)


def swapped(*operands: Any) -> tuple[Tensor, Tensor]:
    attention, log_sum = ATTEND(*operands)
    return log_sum, attention


def not_a_number(*operands: Any) -> tuple[Tensor, Tensor]:
    attention, log_sum = ATTEND(*operands)
    return attention * math.nan, log_sum


def absent(*operands: Any) -> tuple[Tensor, Tensor]:
    raise AttributeError("'_OpNamespace' 'aten' object has no such attribute")


@pytest.mark.parametrize("broken", [wrong_logarithm, swapped, not_a_number, absent])
def test_kernel_that_fails_its_check_is_not_used(
    monkeypatch: pytest.MonkeyPatch, broken: Callable[..., Any]
):
    monkeypatch.setattr(two_parts, "_attend", broken)
    monkeypatch.setattr(two_parts, "kernel_agrees", cache(two_parts.kernel_agrees.__wrapped__))
    query, key, value = text()
    with torch.inference_mode(), pytest.warns(SlowPathWarning, match="plain path") as warned:
        outputs = [
            prefix_attention(Layer(), query, key, value, padding(), prefix_slots=slots())[0]
            for _ in range(2)
        ]
    expected = one_softmax(query, key, value, added_of(padding()), slots())
    assert all(distance(output.double(), expected) < 1e-6 for output in outputs)
    assert len(warned) == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_kernel_of_this_torch_passes_its_check(dtype: torch.dtype):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert two_parts.kernel_agrees.__wrapped__(dtype)


def test_rotated_queries_and_keys_may_be_fp32_beside_values_in_bf16():
    query, key, value = text()
    slots = Slots(
        keys=normal(1, HEADS, SLOTS, SIZE, seed=4), values=normal(1, HEADS, SLOTS, SIZE, seed=5)
    )
    with torch.inference_mode():
        whole, _ = prefix_attention(Layer(), query, key, value, None, prefix_slots=slots)
        mixed, _ = prefix_attention(Layer(), query, key, value.bfloat16(), None, prefix_slots=slots)
    assert mixed.dtype == torch.bfloat16 and distance(mixed.float(), whole) < 0.05
