"""Prefixes: their parts, their start values, and how they are trained."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import BertModel

from prefixbank.core.prefix import Prefix, PrefixStart, TrainablePrefix
from prefixbank.core.shapes import EncoderShape, ShapeError
from tests.core.toys import SHAPE, START, distance, inputs_of, new_prefix, run

MLP = replace(START, projection="mlp")
GATED = replace(START, gated=True, gate_init=-1.5)
GROUPED = EncoderShape(layers=2, heads=8, kv_heads=2, head_size=3, hidden_size=24)


@pytest.mark.parametrize("shape", [(3, 1, 4, 2, 8), (3, 2, 4, 8), (2, 3, 4, 2, 8)])
def test_tensor_that_is_no_prefix_is_refused(shape: tuple[int, ...]):
    with pytest.raises(ShapeError, match=r"prefix tensor has shape"):
        Prefix(tensor=torch.zeros(shape))


def test_gate_of_another_prefix_is_refused():
    with pytest.raises(ShapeError, match=r"log-gate has shape \[3, 2\]") as caught:
        Prefix(tensor=torch.zeros(3, 2, 4, 5, 8), log_gate=torch.zeros(3, 2))
    assert caught.value.expected == "[L, H] = [3, 4]"


def test_slots_are_keys_then_values():
    prefix = new_prefix()
    slots = prefix.slots()
    assert (
        torch.equal(slots.keys, prefix.tensor[:, 0])
        and torch.equal(slots.values, prefix.tensor[:, 1])
        and slots.bias is None
    )


def test_length_is_the_number_of_slots():
    assert new_prefix(length=7).length == 7


def test_bias_is_gate_plus_log_weight_at_every_slot():
    prefix = new_prefix(gated=True)
    expected = np.repeat(
        prefix.log_gate.numpy()[:, :, None] + math.log(0.25), prefix.length, axis=2
    )
    np.testing.assert_allclose(prefix.bias(math.log(0.25)), expected, rtol=1e-6)


def test_bias_of_an_ungated_prefix_is_its_log_weight():
    assert torch.equal(new_prefix().bias(-2.0), torch.full((SHAPE.layers, SHAPE.heads, 4), -2.0))


def test_bias_is_absent_where_it_is_zero():
    assert new_prefix().bias(0.0) is None


@pytest.mark.parametrize("start", [START, MLP, GATED], ids=["none", "mlp", "gated"])
def test_start_values_come_from_the_seed(start: PrefixStart):
    one, same, other = (TrainablePrefix(SHAPE, start, seed).snapshot().tensor for seed in (3, 3, 4))
    assert torch.equal(one, same) and not torch.equal(one, other)


@pytest.mark.parametrize("start", [START, MLP], ids=["none", "mlp"])
def test_start_values_leave_the_global_random_state_alone(start: PrefixStart):
    before = torch.random.get_rng_state()
    prefix = TrainablePrefix(SHAPE, start, 9)
    assert list(prefix.parameters()) and torch.equal(torch.random.get_rng_state(), before)


def test_start_values_have_the_standard_deviation_asked_for():
    tensor = TrainablePrefix(SHAPE, replace(START, length=200, init_scale=0.3), 0).snapshot().tensor
    assert float(tensor.mean()) == pytest.approx(0, abs=0.01) and float(
        tensor.std()
    ) == pytest.approx(0.3, rel=0.02)


@pytest.mark.parametrize("start", [START, MLP], ids=["none", "mlp"])
@pytest.mark.parametrize("shape", [SHAPE, GROUPED], ids=["all heads", "grouped"])
def test_prefix_has_the_shape_of_the_encoder(shape: EncoderShape, start: PrefixStart):
    assert tuple(TrainablePrefix(shape, start, 0)().tensor.shape) == (
        shape.layers,
        2,
        shape.kv_heads,
        4,
        shape.head_size,
    )


def test_mlp_equals_two_layers_computed_by_hand():
    trainable = TrainablePrefix(GROUPED, MLP, 0)
    first, _, second = trainable.produce
    arrays = [
        tensor.detach().numpy()
        for tensor in (trainable.start, first.weight, first.bias, second.weight, second.bias)
    ]
    embedding, weight_1, bias_1, weight_2, bias_2 = (array.astype(np.float64) for array in arrays)
    expected = np.zeros((2, 2, 2, 4, 3))
    for slot in range(4):
        flat = weight_2 @ np.tanh(weight_1 @ embedding[slot] + bias_1) + bias_2
        for layer, part, head, place in np.ndindex(2, 2, 2, 3):
            expected[layer, part, head, slot, place] = flat[
                ((layer * 2 + part) * 2 + head) * 3 + place
            ]
    np.testing.assert_allclose(trainable().tensor.detach(), expected, atol=1e-6)


def test_mlp_has_the_sizes_asked_for():
    trainable = TrainablePrefix(GROUPED, replace(MLP, mlp_hidden_size=11), 0)
    assert {tuple(parameter.shape) for parameter in trainable.parameters()} == {
        (4, 24),
        (11, 24),
        (11,),
        (24, 11),
        (24,),
    }


def test_gate_starts_where_told():
    assert torch.equal(TrainablePrefix(GROUPED, GATED, 0)().log_gate, torch.full((2, 2), -1.5))


def test_ungated_prefix_has_no_gate():
    assert TrainablePrefix(SHAPE, START, 0)().log_gate is None


def test_drop_is_applied_to_the_tensor_alone():
    trainable = TrainablePrefix(SHAPE, GATED, 0)
    dropped = trainable(lambda tensor: tensor * 2)
    assert torch.equal(dropped.tensor, trainable().tensor * 2) and torch.equal(
        dropped.log_gate, trainable().log_gate
    )


@pytest.mark.parametrize("start", [GATED, replace(MLP, gated=True)], ids=["none", "mlp"])
def test_snapshot_is_a_copy_that_training_does_not_reach(start: PrefixStart):
    trainable = TrainablePrefix(SHAPE, start, 0)
    snapshot = trainable.snapshot()
    kept = snapshot.tensor.clone(), snapshot.log_gate.clone()
    with torch.no_grad():
        for parameter in trainable.parameters():
            parameter.add_(1.0)
    assert torch.equal(snapshot.tensor, kept[0]) and torch.equal(snapshot.log_gate, kept[1])


@pytest.mark.parametrize("start", [GATED, replace(MLP, gated=True)], ids=["none", "mlp"])
def test_snapshot_equals_the_prefix_without_gradients_in_memory_order(start: PrefixStart):
    trainable = TrainablePrefix(SHAPE, start, 0)
    snapshot = trainable.snapshot()
    assert torch.equal(snapshot.tensor, trainable().tensor) and torch.equal(
        snapshot.log_gate, trainable().log_gate
    )
    assert (
        snapshot.tensor.is_contiguous()
        and not snapshot.tensor.requires_grad
        and not snapshot.log_gate.requires_grad
    )


def test_strongly_negative_gate_equals_the_plain_encoder(bert: BertModel):
    inputs, prefix = inputs_of((6, 3)), new_prefix()
    closed = Prefix(tensor=prefix.tensor, log_gate=torch.full((SHAPE.layers, SHAPE.heads), -30.0))
    assert distance(run(bert, inputs, closed.slots()), run(bert, inputs)) < 1e-5


def test_gate_of_zero_equals_no_gate(bert: BertModel):
    inputs, prefix = inputs_of((6, 3)), new_prefix()
    opened = Prefix(tensor=prefix.tensor, log_gate=torch.zeros(SHAPE.layers, SHAPE.heads))
    assert distance(run(bert, inputs, opened.slots()), run(bert, inputs, prefix.slots())) < 1e-5


@pytest.mark.parametrize("start", [GATED, replace(MLP, gated=True)], ids=["none", "mlp"])
def test_gradients_reach_every_parameter_in_every_layer(bert: BertModel, start: PrefixStart):
    trainable = TrainablePrefix(SHAPE, start, 0)
    states = bert(
        **inputs_of((6, 3)), prefix_slots=trainable().slots(), attention_calls=[]
    ).last_hidden_state
    states.square().sum().backward()
    gradients: list[Tensor] = [parameter.grad for parameter in trainable.parameters()]
    assert all(float(gradient.abs().max()) > 0 for gradient in gradients)
    assert bool((trainable.log_gate.grad.abs().amax(dim=1) > 0).all())


def test_gradient_of_the_gate_equals_finite_differences(bert: BertModel):
    inputs, prefix = inputs_of((6, 3)), new_prefix(gated=True)

    def loss(gate: Tensor) -> Tensor:
        slots = Prefix(tensor=prefix.tensor, log_gate=gate).slots()
        return (
            bert(**inputs, prefix_slots=slots, attention_calls=[]).last_hidden_state[:, 0, :5].sum()
        )

    gate = prefix.log_gate.clone().requires_grad_()
    loss(gate).backward()
    step = torch.zeros_like(gate)
    step[1, 2] = 1e-2
    with torch.no_grad():
        slope = float(loss(prefix.log_gate + step) - loss(prefix.log_gate - step)) / 2e-2
    assert float(gate.grad[1, 2]) == pytest.approx(slope, rel=1e-2, abs=1e-4)


@pytest.mark.parametrize("length", [1, 3, 4, 6, 9])
def test_cycled_prefix_repeats_its_slots_in_order(length: int):
    prefix = new_prefix(1, gated=True)
    found = prefix.cycled(length)
    expected = torch.stack([prefix.tensor[:, :, :, slot % 4] for slot in range(length)], dim=3)
    assert torch.equal(found.tensor, expected) and found.log_gate is prefix.log_gate


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"projection": "mlp"}, "projection mlp"),
        ({"length": 5}, "4 slots without a gate"),
        ({"gated": True}, "4 slots without a gate"),
    ],
)
def test_start_from_a_prefix_of_another_form_is_refused(changes: dict[str, Any], said: str):
    with pytest.raises(ShapeError, match=said):
        replace(START, initial=new_prefix(), **changes)


def test_start_from_a_prefix_of_another_encoder_is_refused():
    with pytest.raises(ShapeError, match=r"shape \[3, 2, 4, 4, 8\]"):
        TrainablePrefix(GROUPED, replace(START, initial=new_prefix()), 0)
