"""Attention of read-outs against plain loops in float64, one query at a time."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from prefixbank.core.attention.readout import (
    ReadoutSlots,
    TextStates,
    attend_from_readouts,
    pad_slots,
)

ROWS, TASKS, COUNT, TOKENS, SLOTS, SIZE, HEADS, LAYERS = 3, 2, 3, 5, 4, 8, 4, 2
LENGTHS = (5, 3, 1)
every_form = pytest.mark.parametrize("kv_heads", [4, 2, 1])


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def read_outs(kv_heads: int, count: int = COUNT) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of the read-outs of all tasks, [B·K, heads or H, M, D]."""
    return (
        normal(ROWS * TASKS, HEADS, count, SIZE, seed=1),
        normal(ROWS * TASKS, kv_heads, count, SIZE, seed=2),
        normal(ROWS * TASKS, kv_heads, count, SIZE, seed=3),
    )


def slots_of(
    kv_heads: int, *, count: int = SLOTS, bias: Tensor | None = None, side: str = "right"
) -> ReadoutSlots:
    """Random texts of `LENGTHS` and slots of each task."""
    real = torch.arange(TOKENS)[None, :] < torch.tensor(LENGTHS)[:, None]
    layers = [normal(2, ROWS, kv_heads, TOKENS, SIZE, seed=10 + layer) for layer in range(LAYERS)]
    return ReadoutSlots(
        text=TextStates(
            mask=real if side == "right" else real.flip(1),
            keys=[layer[0] for layer in layers],
            values=[layer[1] for layer in layers],
        ),
        keys=normal(LAYERS, TASKS, kv_heads, count, SIZE, seed=4),
        values=normal(LAYERS, TASKS, kv_heads, count, SIZE, seed=5),
        bias=bias,
    )


def numbers(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def by_loops(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    slots: ReadoutSlots,
    layer: int,
    factor: float | None = None,
) -> np.ndarray:
    """[B·K, M, heads, D] by definition: the text's tokens, the task's slots, its read-outs."""
    heads, count, size = query.shape[1:]
    shared = heads // key.shape[1]
    out = np.zeros((len(query), count, heads, size))
    for row, task in itertools.product(range(ROWS), range(TASKS)):
        for head, one in itertools.product(range(heads), range(count)):
            group, place = head // shared, row * TASKS + task
            keys, values = slots.text.keys[layer][row, group], slots.text.values[layer][row, group]
            pairs = [
                (keys[token], values[token], 0.0)
                for token in range(TOKENS)
                if slots.text.mask[row, token]
            ]
            for slot in range(slots.keys.shape[3]):
                extra = 0.0 if slots.bias is None else float(slots.bias[task, slot])
                if extra > -math.inf:
                    pairs.append(
                        (
                            slots.keys[layer, task, group, slot],
                            slots.values[layer, task, group, slot],
                            extra,
                        )
                    )
            pairs += [
                (key[place, group, other], value[place, group, other], 0.0)
                for other in range(count)
            ]
            asked = numbers(query[place, head])[one]
            logits = [
                float(asked @ numbers(one_key)) * (factor or 1 / math.sqrt(size)) + extra
                for one_key, _, extra in pairs
            ]
            weights = [math.exp(logit - max(logits)) for logit in logits]
            out[place, one, head] = sum(
                weight * numbers(one_value)
                for weight, (_, one_value, _) in zip(weights, pairs, strict=True)
            ) / sum(weights)
    return out


@every_form
@pytest.mark.parametrize("count", [0, 1, SLOTS])
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("layer", range(LAYERS))
def test_read_outs_attend_to_text_slots_and_themselves_as_plain_loops_do(
    kv_heads: int, count: int, side: str, layer: int
):
    states, slots = read_outs(kv_heads), slots_of(kv_heads, count=count, side=side)
    np.testing.assert_allclose(
        attend_from_readouts(*states, slots, layer, None),
        by_loops(*states, slots, layer),
        atol=1e-5,
    )


@every_form
def test_single_read_out_equals_plain_loops(kv_heads: int):
    states, slots = read_outs(kv_heads, count=1), slots_of(kv_heads)
    np.testing.assert_allclose(
        attend_from_readouts(*states, slots, 1, None), by_loops(*states, slots, 1), atol=1e-5
    )


@every_form
def test_bias_is_added_to_the_logits_of_slots_and_minus_infinity_hides_them(kv_heads: int):
    bias = torch.tensor([[0.0, 1.5, -0.5, -math.inf], [-math.inf, -math.inf, 2.0, 0.0]])
    states, slots = read_outs(kv_heads), slots_of(kv_heads, bias=bias)
    np.testing.assert_allclose(
        attend_from_readouts(*states, slots, 0, None), by_loops(*states, slots, 0), atol=1e-5
    )


def test_all_slots_of_a_task_can_be_hidden():
    bias = torch.tensor([[0.0] * SLOTS, [-math.inf] * SLOTS])
    states, slots = read_outs(2), slots_of(2, bias=bias)
    np.testing.assert_allclose(
        attend_from_readouts(*states, slots, 0, None), by_loops(*states, slots, 0), atol=1e-5
    )


def test_logits_are_scaled_by_the_factor_given():
    states, slots = read_outs(4), slots_of(4)
    np.testing.assert_allclose(
        attend_from_readouts(*states, slots, 0, 0.7),
        by_loops(*states, slots, 0, 0.7),
        atol=1e-5,
    )


def test_double_precision_is_kept():
    states = tuple(tensor.double() for tensor in read_outs(2))
    slots = slots_of(2)
    np.testing.assert_allclose(
        attend_from_readouts(*states, slots, 0, None), by_loops(*states, slots, 0), atol=1e-13
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near_plain_loops(dtype: torch.dtype):
    states, slots = read_outs(2), slots_of(2)
    found = attend_from_readouts(*(tensor.to(dtype) for tensor in states), slots, 0, None)
    assert found.dtype == dtype
    np.testing.assert_allclose(found.float(), by_loops(*states, slots, 0), atol=0.05)


def test_states_of_padding_count_for_nothing():
    states, slots = read_outs(4), slots_of(4)
    before = attend_from_readouts(*states, slots, 0, None)
    hidden = ~slots.text.mask
    for tensors in (slots.text.keys, slots.text.values):
        tensors[0].transpose(1, 2)[hidden] = 1e4
    assert torch.equal(attend_from_readouts(*states, slots, 0, None), before)


def test_gradients_are_those_of_finite_differences():
    query, key, value = (tensor.double().requires_grad_(True) for tensor in read_outs(2))
    slots = slots_of(2)
    keys, values = (one.double().requires_grad_(True) for one in (slots.keys, slots.values))

    def attended(*tensors: Tensor) -> Tensor:
        given = ReadoutSlots(text=slots.text, keys=tensors[3], values=tensors[4])
        return attend_from_readouts(*tensors[:3], given, 1, None)

    assert torch.autograd.gradcheck(attended, (query, key, value, keys, values), fast_mode=True)


def test_slots_are_filled_up_to_the_most_and_what_is_filled_is_hidden():
    tensors = [normal(LAYERS, 2, HEADS, count, SIZE, seed=count) for count in (3, 0, 1)]
    keys, values, bias = pad_slots(tensors)
    assert keys.shape == values.shape == (LAYERS, 3, HEADS, 3, SIZE)
    assert bias is not None and bias.tolist() == [
        [0.0, 0.0, 0.0],
        [-math.inf, -math.inf, -math.inf],
        [0.0, -math.inf, -math.inf],
    ]
    for task, tensor in enumerate(tensors):
        count = tensor.shape[3]
        assert torch.equal(keys[:, task, :, :count], tensor[:, 0])
        assert torch.equal(values[:, task, :, :count], tensor[:, 1])


@pytest.mark.parametrize("count", [0, 3])
def test_slots_of_one_length_need_no_bias(count: int):
    tensors = [normal(LAYERS, 2, HEADS, count, SIZE, seed=seed) for seed in range(2)]
    assert pad_slots(tensors)[2] is None
