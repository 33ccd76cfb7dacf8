"""Banks: the laws of combination, on a random encoder, against numpy and single prefixes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import BertModel

from prefixbank.choices import Rule
from prefixbank.core.attention.prefix_attention import Slots, prefix_attention
from prefixbank.core.combine import Bank, check_shapes, check_weights, default_weights
from prefixbank.core.embed import encode
from prefixbank.core.prefix import Prefix
from prefixbank.core.shapes import EncoderShape, ShapeError
from prefixbank.errors import UsageError
from tests.core.toys import CLS, MEAN, SHAPE, distance, inputs_of, new_prefix

RULES: tuple[Rule, ...] = get_args(Rule)
ONE_VECTOR: tuple[Rule, ...] = ("concat_prefixes", "mean_vectors", "mean_prefixes")
every_rule = pytest.mark.parametrize("rule", RULES)
every_rule_of_one_size = pytest.mark.parametrize("rule", ONE_VECTOR)
gates = pytest.mark.parametrize("gated", [False, True], ids=["no gate", "gate"])


def bank_of(prefixes: Sequence[Prefix], weights: Sequence[float], rule: Rule) -> Bank:
    return Bank(prefixes=tuple(prefixes), weights=tuple(weights), rule=rule, pooling=MEAN)


def vectors(bert: BertModel, bank: Bank) -> Tensor:
    """What the bank makes of two padded texts."""
    inputs = inputs_of((6, 3))
    with torch.no_grad():
        return bank.merge([encode(bert, inputs, slots, bank.pooling) for slots in bank.passes()])


def vectors_of_prefix(bert: BertModel, prefix: Prefix | None) -> Tensor:
    with torch.no_grad():
        return encode(bert, inputs_of((6, 3)), None if prefix is None else prefix.slots(), MEAN)


def prefixes_of(count: int, *, gated: bool = False) -> list[Prefix]:
    return [new_prefix(seed, gated=gated) for seed in range(count)]


@every_rule
def test_bank_without_prefixes_is_the_plain_encoder(bert: BertModel, rule: Rule):
    assert torch.equal(vectors(bert, bank_of([], [], rule)), vectors_of_prefix(bert, None))


@every_rule
def test_bank_of_weights_zero_is_the_plain_encoder(bert: BertModel, rule: Rule):
    assert torch.equal(
        vectors(bert, bank_of(prefixes_of(2), [0, 0], rule)), vectors_of_prefix(bert, None)
    )


@every_rule
@gates
def test_weight_zero_equals_leaving_the_prefix_out(bert: BertModel, rule: Rule, gated: bool):
    first, second, third = prefixes_of(3, gated=gated)
    with_zero = vectors(bert, bank_of([first, second, third], [0.5, 0, 0.5], rule))
    without = vectors(bert, bank_of([first, third], [0.5, 0.5], rule))
    assert (
        torch.equal(with_zero, without)
        and distance(without, vectors_of_prefix(bert, first)[:, :1]) > 1e-3
    )


def test_weight_near_zero_comes_near_to_leaving_the_prefix_out(bert: BertModel):
    first, second = prefixes_of(2)
    faint = vectors(bert, bank_of([first, second], [1, 1e-9], "concat_prefixes"))
    assert distance(faint, vectors_of_prefix(bert, first)) < 1e-5


def test_weight_one_is_plain_concatenation(bert: BertModel):
    first, second = new_prefix(0, length=3), new_prefix(1, length=5)
    joined = Prefix(
        tensor=torch.from_numpy(
            np.concatenate([first.tensor.numpy(), second.tensor.numpy()], axis=3)
        )
    )
    bank = bank_of([first, second], [1, 1], "concat_prefixes")
    assert bank.passes()[0].bias is None
    assert torch.equal(vectors(bert, bank), vectors_of_prefix(bert, joined))


@gates
def test_weights_scale_what_each_prefix_adds_to_the_softmax(gated: bool):
    weights, prefixes = (
        (0.2, 1.0, 3.0),
        [new_prefix(seed, length=length, gated=gated) for seed, length in enumerate((2, 3, 1))],
    )
    (slots,) = bank_of(prefixes, weights, "concat_prefixes").passes()
    generator = np.random.default_rng(0)
    query, key, value = generator.normal(size=(3, 5, SHAPE.head_size))
    terms = [(np.exp(query @ key.T / math.sqrt(SHAPE.head_size)), value)]
    for prefix, weight in zip(prefixes, weights, strict=True):
        keys, values = prefix.tensor[1, :, 2].double().numpy()
        gate = math.exp(float(prefix.log_gate[1, 2])) if gated else 1.0
        terms.append((weight * gate * np.exp(query @ keys.T / math.sqrt(SHAPE.head_size)), values))
    masses = np.concatenate([mass for mass, _ in terms], axis=1)
    expected = (
        masses @ np.concatenate([values for _, values in terms]) / masses.sum(axis=1, keepdims=True)
    )
    layer = nn.Module()
    layer.layer_idx = 1
    heads = [
        torch.from_numpy(array).expand(1, SHAPE.heads, -1, -1) for array in (query, key, value)
    ]
    output, _ = prefix_attention(layer, *heads, None, prefix_slots=slots)
    np.testing.assert_allclose(output[0, :, 2], expected, atol=1e-6)


@every_rule
@gates
def test_bank_of_one_prefix_equals_that_prefix(bert: BertModel, rule: Rule, gated: bool):
    prefix = new_prefix(gated=gated)
    assert (
        distance(vectors(bert, bank_of([prefix], [1], rule)), vectors_of_prefix(bert, prefix))
        < 1e-6
    )


@pytest.mark.parametrize("rule", ["mean_vectors", "mean_prefixes", "concat_vectors"])
def test_weight_of_a_single_prefix_means_nothing_where_weights_are_shares(
    bert: BertModel, rule: Rule
):
    prefix = new_prefix(gated=True)
    assert (
        distance(vectors(bert, bank_of([prefix], [0.3], rule)), vectors_of_prefix(bert, prefix))
        < 1e-5
    )


def test_weight_of_a_single_prefix_shifts_its_gate_under_concat_prefixes(bert: BertModel):
    prefix = new_prefix(gated=True)
    shifted = Prefix(tensor=prefix.tensor, log_gate=prefix.log_gate + math.log(0.3))
    assert (
        distance(
            vectors(bert, bank_of([prefix], [0.3], "concat_prefixes")),
            vectors_of_prefix(bert, shifted),
        )
        < 1e-5
    )


@every_rule_of_one_size
@pytest.mark.parametrize("count", [2, 3, 7])
@gates
def test_copies_that_share_the_weight_of_one_equal_one(
    bert: BertModel, rule: Rule, count: int, gated: bool
):
    prefix = new_prefix(gated=gated)
    bank = bank_of([prefix] * count, default_weights(count, normalize=True), rule)
    assert distance(vectors(bert, bank), vectors_of_prefix(bert, prefix)) < 1e-5


@every_rule_of_one_size
def test_order_of_prefixes_changes_nothing(bert: BertModel, rule: Rule):
    prefixes = [new_prefix(0), new_prefix(1, gated=True), new_prefix(2, gated=True)]
    forwards = vectors(bert, bank_of(prefixes, [0.2, 1.0, 0.5], rule))
    backwards = vectors(bert, bank_of(prefixes[::-1], [0.5, 1.0, 0.2], rule))
    assert distance(forwards, backwards) < 1e-5


def test_order_of_prefixes_of_different_lengths_changes_nothing(bert: BertModel):
    prefixes = [new_prefix(0, length=2), new_prefix(1, length=6, gated=True)]
    forwards = vectors(bert, bank_of(prefixes, [0.2, 1.0], "concat_prefixes"))
    assert (
        distance(forwards, vectors(bert, bank_of(prefixes[::-1], [1.0, 0.2], "concat_prefixes")))
        < 1e-5
    )


def test_concat_vectors_lays_the_vectors_of_each_prefix_side_by_side(bert: BertModel):
    prefixes = [new_prefix(0, length=2), new_prefix(1, length=6, gated=True), new_prefix(2)]
    expected = np.concatenate(
        [vectors_of_prefix(bert, prefix).numpy() for prefix in prefixes], axis=1
    )
    np.testing.assert_allclose(
        vectors(bert, bank_of(prefixes, [1, 1, 1], "concat_vectors")), expected, atol=1e-6
    )


def test_mean_vectors_is_the_weighted_mean_of_the_vectors_of_each_prefix(bert: BertModel):
    prefixes = [new_prefix(0, length=2), new_prefix(1, length=6, gated=True), new_prefix(2)]
    expected = np.average(
        [vectors_of_prefix(bert, prefix).numpy() for prefix in prefixes], axis=0, weights=[1, 2, 5]
    )
    np.testing.assert_allclose(
        vectors(bert, bank_of(prefixes, [1, 2, 5], "mean_vectors")), expected, atol=1e-5
    )


def test_mean_prefixes_is_one_pass_with_the_weighted_mean_of_tensors():
    prefixes = prefixes_of(3)
    (slots,) = bank_of(prefixes, [1, 2, 5], "mean_prefixes").passes()
    expected = np.average(
        [prefix.tensor.double().numpy() for prefix in prefixes], axis=0, weights=[1, 2, 5]
    )
    np.testing.assert_allclose(torch.stack([slots.keys, slots.values], dim=1), expected, atol=1e-6)
    assert slots.bias is None


def test_mean_prefixes_takes_the_mean_of_gates_with_zero_for_an_ungated_prefix():
    gated, ungated = new_prefix(0, gated=True), new_prefix(1)
    (slots,) = bank_of([gated, ungated], [1, 3], "mean_prefixes").passes()
    np.testing.assert_allclose(slots.bias[:, :, 0], gated.log_gate.double() * 0.25, atol=1e-6)


@pytest.mark.parametrize(
    ("rule", "passes"),
    [("concat_prefixes", 1), ("mean_prefixes", 1), ("mean_vectors", 3), ("concat_vectors", 3)],
)
def test_rule_takes_one_pass_or_one_for_each_prefix(rule: Rule, passes: int):
    assert len(bank_of(prefixes_of(3), [1, 1, 1], rule).passes()) == passes


def test_passes_give_every_slot_its_own_bias():
    prefixes = [new_prefix(0, length=2), new_prefix(1, length=3, gated=True)]
    (slots,) = bank_of(prefixes, [1.0, 0.5], "concat_prefixes").passes()
    assert isinstance(slots, Slots) and slots.bias.shape == slots.keys.shape[:3]
    assert torch.equal(slots.bias[:, :, :2], torch.zeros(SHAPE.layers, SHAPE.heads, 2))
    np.testing.assert_allclose(slots.bias[:, :, 4], prefixes[1].log_gate + math.log(0.5), atol=1e-6)


def test_share_gives_all_prefixes_together_the_weight_of_one():
    assert default_weights(4, normalize=True) == (0.25, 0.25, 0.25, 0.25)


def test_one_gives_every_prefix_weight_one():
    assert default_weights(3, normalize=False) == (1.0, 1.0, 1.0)


@every_rule
@pytest.mark.parametrize("weights", [(), (1.0,), (1.0, 1.0, 1.0)])
def test_other_number_of_weights_than_prefixes_is_refused(rule: Rule, weights: tuple[float, ...]):
    with pytest.raises(UsageError, match=f"{len(weights)} weights for 2 prefixes"):
        bank_of(prefixes_of(2), weights, rule)


@every_rule
@pytest.mark.parametrize("bad", [-0.5, math.nan, math.inf])
def test_weight_that_is_no_finite_number_from_zero_is_refused(rule: Rule, bad: float):
    with pytest.raises(UsageError) as caught:
        bank_of(prefixes_of(2), (1.0, bad), rule)
    assert caught.value.expected == "finite numbers >= 0"


def test_unequal_weights_are_refused_for_vectors_side_by_side():
    with pytest.raises(UsageError, match="under concat_vectors") as caught:
        bank_of(prefixes_of(2), (1.0, 0.5), "concat_vectors")
    assert "combine=mean_vectors" in caught.value.fix


def test_zero_beside_equal_weights_is_allowed_for_vectors_side_by_side():
    assert len(bank_of(prefixes_of(3), (0.5, 0.0, 0.5), "concat_vectors").passes()) == 2


def test_prefixes_of_different_lengths_have_no_mean():
    with pytest.raises(ShapeError, match=r"lengths \[2, 4\]") as caught:
        bank_of([new_prefix(length=2), new_prefix(length=4)], (1.0, 1.0), "mean_prefixes")
    assert "combine=concat_prefixes" in caught.value.fix


@every_rule
@pytest.mark.parametrize(
    "changed",
    [{"layers": 2}, {"kv_heads": 2}, {"head_size": 4}],
    ids=lambda changed: next(iter(changed)),
)
def test_prefixes_of_different_encoders_are_refused(rule: Rule, changed: dict[str, int]):
    sizes = {"layers": 3, "heads": 4, "kv_heads": 4, "head_size": 8, "hidden_size": 32} | changed
    other = new_prefix(shape=EncoderShape(**sizes))
    with pytest.raises(ShapeError, match="prefixes of different shapes") as caught:
        bank_of([new_prefix(), other], (1.0, 1.0), rule)
    assert caught.value.expected == "prefixes of one encoder"


def test_checks_accept_what_fits():
    shape = SHAPE.prefix_shape(4)
    assert [
        check_weights(rule, (0.5, 0.5), 2) or check_shapes(rule, [shape, shape]) for rule in RULES
    ] == [None] * 4


def test_merge_of_a_single_vector_is_that_vector():
    bank = Bank(prefixes=(new_prefix(),), weights=(0.2,), rule="mean_vectors", pooling=CLS)
    vector = torch.arange(6.0).view(2, 3)
    assert torch.equal(bank.merge([vector]), vector)
