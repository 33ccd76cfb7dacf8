"""Prefix attention against plain loops in float64, numerical gradients, and transformers' own
attention and cache.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import BertModel, DynamicCache, LlamaConfig, LlamaModel

from prefixbank.core.attention.prefix_attention import (
    ATTENTION,
    AttentionCall,
    Slots,
    prefix_attention,
    trace_attention,
)
from tests.core.toys import SHAPE, distance, inputs_of, new_bert, new_prefix, run

ROWS, TOKENS, SLOTS, SIZE, HEADS = 3, 5, 4, 8, 4
LENGTHS = (5, 3, 1)


class Layer(nn.Module):
    """What an attention function needs to know of its layer."""

    def __init__(self, layer_idx: int | None = 1, *, is_causal: bool = False) -> None:
        super().__init__()
        self.is_causal = is_causal
        if layer_idx is not None:
            self.layer_idx = layer_idx


def softmax_loops(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    added: np.ndarray,
    *,
    slots: Slots | None = None,
    layer: int = 1,
    factor: float | None = None,
) -> np.ndarray:
    """Attention [B, T, heads, D] by its definition, one query at a time, in float64.

    `added` [B, heads, T, T] are the text's biases.
    """
    queries, keys, values = (tensor.detach().double().numpy() for tensor in (query, key, value))
    rows, heads, tokens, size = queries.shape
    out = np.zeros((rows, tokens, heads, size))
    for row, head, token in itertools.product(range(rows), range(heads), range(tokens)):
        group = head // (heads // keys.shape[1])
        pairs = [
            (keys[row, group, other], values[row, group, other], added[row, head, token, other])
            for other in range(keys.shape[2])
        ]
        if slots is not None:
            for slot in range(slots.keys.shape[2]):
                bias = 0.0 if slots.bias is None else float(slots.bias[layer, group, slot])
                pairs.append(
                    (
                        slots.keys[layer, group, slot].double().numpy(),
                        slots.values[layer, group, slot].double().numpy(),
                        bias,
                    )
                )
        logits = [
            float(queries[row, head, token] @ key) * (factor or 1 / math.sqrt(size)) + extra
            for key, _, extra in pairs
        ]
        weights = [math.exp(logit - max(logits)) for logit in logits]
        out[row, token, head] = sum(
            weight * value for weight, (_, value, _) in zip(weights, pairs, strict=True)
        ) / sum(weights)
    return out


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def tensors(kv_heads: int = HEADS) -> tuple[Tensor, Tensor, Tensor]:
    return (
        normal(ROWS, HEADS, TOKENS, SIZE, seed=1),
        normal(ROWS, kv_heads, TOKENS, SIZE, seed=2),
        normal(ROWS, kv_heads, TOKENS, SIZE, seed=3),
    )


def slots_of(kv_heads: int = HEADS, *, biased: bool = False, count: int = SLOTS) -> Slots:
    keys, values = (
        normal(3, kv_heads, count, SIZE, seed=4),
        normal(3, kv_heads, count, SIZE, seed=5),
    )
    return Slots(
        keys=keys, values=values, bias=normal(3, kv_heads, count, seed=6) if biased else None
    )


def padding_mask() -> Tensor:
    """[B, 1, T, T] True where the key is a token."""
    real = torch.arange(TOKENS)[None, :] < torch.tensor(LENGTHS)[:, None]
    return real[:, None, None, :].expand(ROWS, 1, TOKENS, TOKENS)


def additive(allowed: Tensor) -> np.ndarray:
    return np.where(allowed.expand(ROWS, HEADS, TOKENS, TOKENS).numpy(), 0.0, -np.inf)


@pytest.mark.parametrize("count", [SLOTS, 2 * TOKENS], ids=["few slots", "many slots"])
@pytest.mark.parametrize("biased", [False, True], ids=["no bias", "bias"])
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize("mask", ["none", "bool", "float", "relative"])
@torch.inference_mode()
def test_prefix_attention_equals_plain_loops(mask: str, kv_heads: int, biased: bool, count: int):
    query, key, value = tensors(kv_heads)
    slots = slots_of(kv_heads, biased=biased, count=count)
    allowed = padding_mask()
    floats = torch.zeros(allowed.shape).masked_fill(~allowed, torch.finfo(torch.float32).min)
    relative = normal(1, HEADS, TOKENS, TOKENS, seed=7)
    given = {"none": None, "bool": allowed, "float": floats, "relative": relative}[mask]
    added = {
        "none": np.zeros((ROWS, HEADS, TOKENS, TOKENS)),
        "relative": relative.expand(ROWS, -1, -1, -1).double().numpy(),
    }
    output, weights = prefix_attention(Layer(), query, key, value, given, prefix_slots=slots)
    np.testing.assert_allclose(
        output,
        softmax_loops(query, key, value, added.get(mask, additive(allowed)), slots=slots),
        atol=1e-5,
    )
    assert weights is None


@pytest.mark.parametrize("told_by", ["argument", "module"])
@pytest.mark.parametrize("biased", [False, True], ids=["no bias", "bias"])
def test_causal_token_sees_all_slots_and_no_later_token(biased: bool, told_by: str):
    query, key, value = tensors(2)
    slots = slots_of(2, biased=biased)
    layer = Layer(is_causal=told_by == "module")
    output, _ = prefix_attention(
        layer,
        query,
        key,
        value,
        None,
        prefix_slots=slots,
        is_causal=True if told_by == "argument" else None,
    )
    earlier = torch.ones(TOKENS, TOKENS).tril().bool()
    np.testing.assert_allclose(
        output, softmax_loops(query, key, value, additive(earlier), slots=slots), atol=1e-5
    )


def test_causal_argument_overrides_the_module():
    query, key, value = tensors()
    output, _ = prefix_attention(Layer(is_causal=True), query, key, value, None, is_causal=False)
    np.testing.assert_allclose(
        output, softmax_loops(query, key, value, np.zeros((ROWS, HEADS, TOKENS, TOKENS))), atol=1e-5
    )


def test_causal_layer_without_slots_hides_later_tokens():
    query, key, value = tensors()
    output, _ = prefix_attention(Layer(is_causal=True), query, key, value, None)
    earlier = torch.ones(TOKENS, TOKENS).tril().bool()
    np.testing.assert_allclose(
        output, softmax_loops(query, key, value, additive(earlier)), atol=1e-5
    )


def test_scaling_replaces_the_square_root_of_the_head_size():
    query, key, value = tensors()
    slots = slots_of()
    output, _ = prefix_attention(Layer(), query, key, value, None, scaling=0.7, prefix_slots=slots)
    expected = softmax_loops(
        query, key, value, np.zeros((ROWS, HEADS, TOKENS, TOKENS)), slots=slots, factor=0.7
    )
    np.testing.assert_allclose(output, expected, atol=1e-5)


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_layer_number_selects_the_slots(layer: int):
    query, key, value = tensors()
    slots = slots_of(biased=True)
    output, _ = prefix_attention(Layer(layer), query, key, value, None, prefix_slots=slots)
    expected = softmax_loops(
        query, key, value, np.zeros((ROWS, HEADS, TOKENS, TOKENS)), slots=slots, layer=layer
    )
    np.testing.assert_allclose(output, expected, atol=1e-5)


def test_number_of_calls_selects_the_slots_of_a_layer_without_number():
    query, key, value = tensors()
    slots, layer, calls = slots_of(), Layer(None), []
    for depth in range(3):
        output, _ = prefix_attention(
            layer, query, key, value, None, prefix_slots=slots, attention_calls=calls
        )
        expected = softmax_loops(
            query, key, value, np.zeros((ROWS, HEADS, TOKENS, TOKENS)), slots=slots, layer=depth
        )
        np.testing.assert_allclose(output, expected, atol=1e-5)


def test_slot_with_bias_minus_infinity_is_not_read():
    query, key, value = tensors()
    slots = slots_of()
    bias = torch.zeros(3, HEADS, SLOTS)
    bias[:, :, 2:] = -math.inf
    kept = Slots(keys=slots.keys[:, :, :2], values=slots.values[:, :, :2])
    output, _ = prefix_attention(
        Layer(),
        query,
        key,
        value,
        padding_mask(),
        prefix_slots=Slots(keys=slots.keys, values=slots.values, bias=bias),
    )
    expected, _ = prefix_attention(Layer(), query, key, value, padding_mask(), prefix_slots=kept)
    assert distance(output, expected) < 1e-6


def test_slots_change_the_output_of_every_token():
    query, key, value = tensors()
    plain, _ = prefix_attention(Layer(), query, key, value, padding_mask())
    output, _ = prefix_attention(
        Layer(), query, key, value, padding_mask(), prefix_slots=slots_of()
    )
    assert float((plain - output).abs().amax(dim=(2, 3)).min()) > 1e-2


def test_gradients_of_keys_values_and_bias_equal_finite_differences():
    query, key, value = (tensor.double()[:1] for tensor in tensors(2))
    slots = slots_of(2, biased=True, count=2)
    mask = padding_mask()[1:2]

    def attend(keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        return prefix_attention(
            Layer(),
            query,
            key,
            value,
            mask,
            prefix_slots=Slots(keys=keys, values=values, bias=bias),
        )[0]

    parts = [part.double().requires_grad_() for part in (slots.keys, slots.values, slots.bias)]
    assert torch.autograd.gradcheck(attend, parts)


def test_slots_to_converts_keys_and_values_and_keeps_the_precision_of_the_bias():
    moved = slots_of(biased=True).to(torch.device("cpu"), torch.bfloat16)
    assert (moved.keys.dtype, moved.values.dtype, moved.bias.dtype) == (
        torch.bfloat16,
        torch.bfloat16,
        torch.float32,
    )


@pytest.mark.parametrize("lengths", [(6, 6), (6, 2, 4)], ids=["no padding", "padding"])
def test_model_without_slots_equals_plain_encoder_to_the_last_bit(
    bert: BertModel, lengths: tuple[int, ...]
):
    inputs = inputs_of(lengths)
    with torch.no_grad():
        plain = new_bert("sdpa")(**inputs).last_hidden_state
    assert torch.equal(run(bert, inputs), plain)


@pytest.mark.parametrize("gated", [False, True], ids=["no gate", "gate"])
def test_prefix_of_length_zero_equals_plain_encoder_to_the_last_bit(bert: BertModel, gated: bool):
    inputs = inputs_of((6, 2, 4))
    with torch.no_grad():
        plain = new_bert("sdpa")(**inputs).last_hidden_state
    assert torch.equal(run(bert, inputs, new_prefix(length=0, gated=gated).slots()), plain)


@pytest.mark.parametrize("lengths", [(6, 6), (6, 2, 4)], ids=["no padding", "padding"])
def test_model_equals_the_cache_path_of_transformers(bert: BertModel, lengths: tuple[int, ...]):
    inputs, slots = inputs_of(lengths), new_prefix().slots()
    rows, tokens = inputs["input_ids"].shape
    layers = [
        tuple(part[layer].expand(rows, -1, -1, -1) for part in (slots.keys, slots.values))
        for layer in range(SHAPE.layers)
    ]
    seen = torch.cat(
        [torch.ones(rows, slots.keys.shape[2]), inputs["attention_mask"]], dim=1
    ).bool()
    with torch.no_grad():
        cached = new_bert("sdpa")(
            input_ids=inputs["input_ids"],
            position_ids=inputs["position_ids"],
            attention_mask=seen[:, None, None, :].expand(rows, 1, tokens, -1),
            past_key_values=DynamicCache(layers),
        ).last_hidden_state
    assert distance(run(bert, inputs, slots), cached) < 1e-6


@pytest.mark.parametrize("gated", [False, True], ids=["no gate", "gate"])
@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_changes_nothing(bert: BertModel, side: str, gated: bool):
    slots = new_prefix(gated=gated).slots()
    alone = run(bert, inputs_of((5,)), slots)[0]
    padded = run(bert, inputs_of((5,), width=12, side=side), slots)[0]
    assert distance(alone, padded[:5] if side == "right" else padded[-5:]) < 1e-5


@pytest.mark.parametrize("gated", [False, True], ids=["no gate", "gate"])
def test_batch_mates_change_nothing(bert: BertModel, gated: bool):
    slots = new_prefix(gated=gated).slots()
    inputs = inputs_of((5, 9, 2))
    together = run(bert, inputs, slots)
    for row, length in enumerate((5, 9, 2)):
        alone = run(
            bert, {name: tensor[row : row + 1, :length] for name, tensor in inputs.items()}, slots
        )
        assert distance(alone[0], together[row, :length]) < 1e-5


def test_order_of_slots_changes_nothing(bert: BertModel):
    slots, inputs = new_prefix(gated=True).slots(), inputs_of((6, 3))
    order = torch.tensor([2, 0, 3, 1])
    shuffled = Slots(
        keys=slots.keys[:, :, order], values=slots.values[:, :, order], bias=slots.bias[:, :, order]
    )
    assert distance(run(bert, inputs, slots), run(bert, inputs, shuffled)) < 1e-5


def test_gates_of_different_heads_reach_their_own_head(bert: BertModel):
    inputs, prefix = inputs_of((6, 3)), new_prefix(length=1)
    bias = torch.zeros(SHAPE.layers, SHAPE.heads, 1)
    bias[0, 2] = -math.inf
    slots = Slots(keys=prefix.tensor[:, 0], values=prefix.tensor[:, 1], bias=bias)
    changed = prefix.tensor.clone()
    changed[0, :, 2] += 5.0
    others = Slots(keys=changed[:, 0], values=changed[:, 1], bias=bias)
    assert distance(run(bert, inputs, slots), run(bert, inputs, others)) < 1e-6


def test_causal_model_with_a_prefix_hides_later_tokens():
    config = LlamaConfig(
        vocab_size=60,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=40,
        attn_implementation=ATTENTION,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaModel(config).eval()
    prefix = torch.randn((2, 2, 2, 3, 8), generator=torch.Generator().manual_seed(1))
    slots = Slots(keys=prefix[:, 0], values=prefix[:, 1])
    inputs = {name: tensor for name, tensor in inputs_of((8, 8)).items() if name != "position_ids"}
    states = run(model, inputs, slots)
    begun = run(model, {name: tensor[:, :5] for name, tensor in inputs.items()}, slots)
    assert (
        distance(states[:, :5], begun) < 1e-5 < distance(states[:, :5], run(model, inputs)[:, :5])
    )


class Stack(nn.Module):
    """Attention layers called in a row, some of them more than once."""

    def __init__(self, *layers: Layer) -> None:
        super().__init__()
        self.order = layers

    def forward(self, x: Tensor, attention_calls: list[AttentionCall]) -> None:
        for layer in self.order:
            prefix_attention(layer, x, x[:, :2], x[:, :2], None, attention_calls=attention_calls)


def test_trace_numbers_layers_that_carry_no_number():
    layers = [Layer(None), Layer(None), Layer(None)]
    trace_attention(Stack(*layers), {"x": normal(1, 4, 3, 8, seed=0)})
    assert [layer.layer_idx for layer in layers] == [0, 1, 2]


def test_trace_leaves_numbers_that_are_there():
    layers = [Layer(1), Layer(0)]
    trace_attention(Stack(*layers), {"x": normal(1, 4, 3, 8, seed=0)})
    assert [layer.layer_idx for layer in layers] == [1, 0]


def test_trace_leaves_a_repeated_layer_without_number():
    layer = Layer(None)
    calls = trace_attention(Stack(layer, layer), {"x": normal(1, 4, 3, 8, seed=0)})
    assert len(calls) == 2 and not hasattr(layer, "layer_idx")


def test_trace_reports_heads_and_sizes():
    (call,) = trace_attention(Stack(Layer(0)), {"x": normal(1, 4, 3, 8, seed=0)})
    assert (call.heads, call.kv_heads, call.head_size) == (4, 2, 8)


@pytest.mark.parametrize("name", ["softcap", "s_aux", "position_bias"])
def test_what_would_change_the_result_is_not_passed_over(name: str):
    with pytest.raises(TypeError, match=f"Layer passes {name} to attention"):
        prefix_attention(Layer(), *tensors(), None, **{name: 1.0})
    prefix_attention(Layer(), *tensors(), None, **{name: None})
