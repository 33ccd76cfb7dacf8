"""Packed linear layers against the layers they were made of."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from transformers import BertModel

from prefixbank.core import packed
from prefixbank.core.packed import PackedLinear, multiplies_bf16, pack_linear_layers, packable
from prefixbank.core.self_check import SlowPathWarning
from tests.core.toys import distance, inputs_of, new_bert, run

FORWARD = PackedLinear.forward

pytestmark = pytest.mark.skipif(
    not packable(nn.Linear(1, 1), torch.float32), reason="linear layers are packed on x86 CPUs only"
)


@pytest.fixture
def bert() -> BertModel:
    return new_bert()


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_packed_layer_equals_the_definition(bias: bool):
    layer = nn.Linear(12, 20, bias=bias).requires_grad_(False)
    states = torch.randn(3, 5, 12, generator=torch.Generator().manual_seed(0))
    expected = states.double() @ layer.weight.double().T + (layer.bias.double() if bias else 0)
    assert distance(PackedLinear(layer, torch.float32)(states).double(), expected) < 1e-5


def test_gradient_of_a_packed_layer_equals_the_definition():
    layer = nn.Linear(12, 20).requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(3, 5, 12, generator=generator, requires_grad=True)
    given = torch.randn(3, 5, 20, generator=generator)
    (found,) = torch.autograd.grad(PackedLinear(layer, torch.float32)(states), states, given)
    assert distance(found.double(), given.double() @ layer.weight.double()) < 1e-5


def test_packed_model_equals_the_model(bert: BertModel):
    inputs = inputs_of((6, 2, 4))
    assert distance(run(pack_linear_layers(bert, torch.float32), inputs), run(bert, inputs)) < 1e-5


@pytest.mark.skipif(not multiplies_bf16(), reason="this CPU has no bf16 products")
def test_packed_model_in_bf16_equals_autocast(bert: BertModel):
    inputs = inputs_of((6, 2, 4))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (
            distance(run(pack_linear_layers(bert, torch.bfloat16), inputs), run(bert, inputs))
            < 3e-2
        )


def test_packing_leaves_the_model_as_it_was_and_shares_the_rest(bert: BertModel):
    before = {name: tensor.clone() for name, tensor in bert.state_dict().items()}
    copy = pack_linear_layers(bert, torch.float32)
    assert all(torch.equal(tensor, before[name]) for name, tensor in bert.state_dict().items())
    assert not any(isinstance(module, PackedLinear) for module in bert.modules())
    assert not any(type(module) is nn.Linear for module in copy.modules())
    assert copy.embeddings.word_embeddings.weight is bert.embeddings.word_embeddings.weight


def test_subclass_of_a_linear_layer_is_left_alone():
    class Doubled(nn.Linear):
        def forward(self, states: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(states)

    model = nn.Sequential(Doubled(3, 3), nn.Linear(3, 3)).requires_grad_(False)
    copy = pack_linear_layers(model, torch.float32)
    assert type(copy[0]) is Doubled and isinstance(copy[1], PackedLinear)
    assert distance(copy(torch.eye(3)), model(torch.eye(3))) < 1e-6


@pytest.mark.parametrize(
    ("machine", "dtype", "expected"),
    [("AMD64", torch.float32, True), ("arm64", torch.float32, False)],
)
def test_packing_is_for_x86(monkeypatch, machine: str, dtype: torch.dtype, expected: bool):
    monkeypatch.setattr(packed.platform, "machine", lambda: machine)
    assert packable(nn.Linear(1, 1), dtype) == expected


def test_precision_that_cpus_do_not_multiply_is_not_packed():
    assert not packable(nn.Linear(1, 1), torch.float16)


@pytest.mark.parametrize("supported", [True, False])
def test_bf16_is_packed_where_the_cpu_multiplies_it(monkeypatch, supported: bool):
    monkeypatch.setattr(packed, "multiplies_bf16", lambda: supported)
    monkeypatch.setattr(packed, "operators_agree", lambda dtype: True)
    assert packable(nn.Linear(1, 1), torch.bfloat16) == supported and packable(
        nn.Linear(1, 1), torch.float32
    )


def far_off(layer: PackedLinear, states: torch.Tensor) -> torch.Tensor:
    return FORWARD(layer, states) * 1.001


def absent(layer: PackedLinear, states: torch.Tensor) -> torch.Tensor:
    raise AttributeError("'_OpNamespace' 'mkldnn' object has no such attribute")


@pytest.mark.parametrize("broken", [far_off, absent])
def test_operators_that_fail_their_check_are_not_used(monkeypatch, broken):
    monkeypatch.setattr(PackedLinear, "forward", broken)
    monkeypatch.setattr(packed, "operators_agree", cache(packed.operators_agree.__wrapped__))
    with pytest.warns(SlowPathWarning, match="plain path") as warned:
        found = [packable(nn.Linear(1, 1), torch.float32) for _ in range(2)]
    assert found == [False, False] and len(warned) == 1


def test_checking_the_operators_draws_no_random_number():
    before = torch.get_rng_state()
    assert packed.operators_agree.__wrapped__(torch.float32)
    assert torch.equal(torch.get_rng_state(), before)


def test_bf16_is_not_packed_where_torch_does_not_tell_whether_it_may(monkeypatch):
    monkeypatch.setattr(packed.torch.ops, "mkldnn", SimpleNamespace())
    assert not multiplies_bf16()
