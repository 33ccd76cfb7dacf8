"""Counted operations against hand counts of matrix products, and against torch's counter over a
real step.
"""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertModel

from prefixbank.core.attention.prefix_attention import ATTENTION
from prefixbank.core.embed import encode
from prefixbank.core.prefix import PrefixStart, trainable
from prefixbank.core.readout import encode_text, read_out, readout_positions
from prefixbank.core.shapes import EncoderShape
from prefixbank.core.training import flops
from prefixbank.core.training.flops import (
    FEW_SIZES,
    StepCost,
    finetune_flops,
    forward_flops,
    prefix_flops,
    shapes_of,
)
from prefixbank.core.training.heads import loss_of, new_head
from tests.core.toys import (
    MEAN,
    SHAPE,
    START,
    batch_of,
    new_bert,
    new_readout,
    state_bytes,
    texts_of,
)
from tests.data.encoders.models import FAMILIES

L, H, D, E, INNER = SHAPE.layers, SHAPE.heads, SHAPE.head_size, SHAPE.hidden_size, 48
SIZES = [(1, 2), (3, 7), (5, 11)]
MANY = {(rows, tokens): rows + tokens for rows in (1, 4) for tokens in (2, 5, 9, 10)}


def product(rows: int, inner: int, columns: int) -> int:
    """Operations of a matrix product [rows, inner] x [inner, columns]."""
    return 2 * rows * inner * columns


def linears(rows: int, tokens: int) -> list[int]:
    """The linear maps of one layer.

    Queries, keys, values, output, and the two of the feed-forward part.
    """
    words = rows * tokens
    return [product(words, E, E)] * 4 + [product(words, E, INNER), product(words, INNER, E)]


def attention(rows: int, tokens: int, slots: int) -> int:
    """One of the two products of attention in one layer."""
    return rows * H * product(tokens, D, tokens + slots)


def head(rows: int, outputs: int) -> int:
    """Outputs, gradient of the weights, gradient of the vectors."""
    return 3 * product(rows, E, outputs)


def prefix_by_hand(rows: int, tokens: int, slots: int) -> int:
    """Forward all; backward to inputs alone.

    The first layer's text has no gradient: none through queries, keys and values.
    """
    per_layer, one = linears(rows, tokens), attention(rows, tokens, slots)
    forward = L * (sum(per_layer) + 2 * one)
    backward = L * (sum(per_layer) + 4 * one)
    return forward + backward - sum(per_layer[:3]) - one


def finetune_by_hand(rows: int, tokens: int) -> int:
    """Forward once; backward to inputs and to weights, and to both factors of attention's
    products.
    """
    return 3 * L * (sum(linears(rows, tokens)) + 2 * attention(rows, tokens, 0))


def counted(
    model: torch.nn.Module, shape: EncoderShape, *, tuned: bool = False, start: PrefixStart = START
) -> int:
    """What the counter sees in one real step of 3 texts, 2 classes."""
    model = copy.deepcopy(model).requires_grad_(tuned)
    ids = torch.full((3, 7), 5)
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    prefix, last = trainable(model, shape, start, 0), new_head(shape.hidden_size, 2, 0)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        vectors = encode(
            model,
            {"input_ids": ids, "attention_mask": mask},
            None if tuned else prefix().slots(),
            MEAN,
        )
        loss_of("classification", last(vectors), torch.tensor([0, 1, 1])).backward()
    return int(counter.get_total_flops())


@pytest.mark.parametrize(("rows", "tokens"), SIZES)
def test_prefix_step_is_the_hand_count(bert: BertModel, rows: int, tokens: int):
    found = prefix_flops(bert, SHAPE, START, MEAN, {2: {(rows, tokens): 1}})
    assert found == prefix_by_hand(rows, tokens, START.length) + head(rows, 2)


@pytest.mark.parametrize(("rows", "tokens"), SIZES)
def test_finetuning_step_is_the_hand_count(bert: BertModel, rows: int, tokens: int):
    assert finetune_flops(bert, SHAPE, MEAN, {2: {(rows, tokens): 1}}) == finetune_by_hand(
        rows, tokens
    ) + head(rows, 2)


@pytest.mark.parametrize(("rows", "tokens"), SIZES)
def test_forward_pass_is_the_hand_count(bert: BertModel, rows: int, tokens: int):
    found = forward_flops(bert, SHAPE, MEAN, {2: {(rows, tokens): 1}})
    assert found == finetune_by_hand(rows, tokens) // 3 + head(rows, 2) // 3


def prompt_by_hand(rows: int, tokens: int, length: int) -> int:
    """A text of P more tokens, whose first layer passes gradients on as well."""
    return 2 * L * sum(linears(rows, tokens + length)) + 6 * L * attention(rows, tokens + length, 0)


@pytest.mark.parametrize(("rows", "tokens"), SIZES)
def test_step_of_a_soft_prompt_is_the_hand_count(bert: BertModel, rows: int, tokens: int):
    found = prefix_flops(bert, SHAPE, replace(START, kind="soft"), MEAN, {2: {(rows, tokens): 1}})
    assert found == prompt_by_hand(rows, tokens, START.length) + head(rows, 2)


def test_many_shapes_with_a_soft_prompt_are_the_hand_count(bert: BertModel):
    by_hand = sum(
        times * (prompt_by_hand(*size, START.length) + head(size[0], 3))
        for size, times in MANY.items()
    )
    assert prefix_flops(bert, SHAPE, replace(START, kind="soft"), MEAN, {3: MANY}) == by_hand


def test_network_behind_a_prefix_counts_once_in_each_step(bert: BertModel):
    start = replace(START, projection="mlp")
    outputs = 2 * L * H * D
    network = 3 * (product(START.length, E, 16) + product(START.length, 16, outputs))
    more = prefix_flops(bert, SHAPE, start, MEAN, {2: {(3, 7): 10}}) - prefix_flops(
        bert, SHAPE, START, MEAN, {2: {(3, 7): 10}}
    )
    assert more == 10 * network


def test_each_shape_counts_as_often_as_it_occurs(bert: BertModel):
    by_hand = sum(
        times * (prefix_by_hand(*size, START.length) + head(size[0], 3))
        for size, times in MANY.items()
    )
    assert prefix_flops(bert, SHAPE, START, MEAN, {3: MANY}) == by_hand


def test_heads_of_several_tasks_count_by_their_outputs(bert: BertModel):
    batches = {2: {(3, 7): 4}, 28: {(3, 7): 1, (5, 7): 2}}
    by_hand = (
        5 * finetune_by_hand(3, 7)
        + 2 * finetune_by_hand(5, 7)
        + 4 * head(3, 2)
        + head(3, 28)
        + 2 * head(5, 28)
    )
    assert finetune_flops(bert, SHAPE, MEAN, batches) == by_hand


@pytest.mark.parametrize("tuned", [False, True], ids=["prefix", "fine-tuned"])
@pytest.mark.parametrize("name", FAMILIES)
def test_count_is_that_of_a_real_step(name: str, tuned: bool):
    family = FAMILIES[name]
    model = family.build(mask_token_id=4)
    model.set_attn_implementation(ATTENTION)
    shape = EncoderShape(
        layers=family.layers, heads=4, kv_heads=family.kv_heads, head_size=8, hidden_size=32
    )
    one = {(3, 7): 1}
    found = (
        finetune_flops(model, shape, MEAN, {2: one})
        if tuned
        else prefix_flops(model, shape, START, MEAN, {2: one})
    )
    assert found == counted(model, shape, tuned=tuned)


READ = replace(START, kind="readout", readouts=3)
READ_FORMS: dict[str, dict[str, Any]] = {
    "mean": {},
    "one": {"readouts": 1},
    "no slots": {"length": 0},
    "projected": {"size": 6},
    "side by side": {"size": 6, "summary": "concat"},
}
every_form = pytest.mark.parametrize("form", READ_FORMS.values(), ids=READ_FORMS.keys())


def text_by_hand(rows: int, tokens: int) -> int:
    """The plain encoder, forward alone."""
    return L * (sum(linears(rows, tokens)) + 2 * attention(rows, tokens, 0))


def read_outs_by_hand(rows: int, tokens: int, start: PrefixStart) -> int:
    """M tokens whose queries meet t tokens, P slots and M read-outs in each of two products.

    Backward through every linear map, to the inputs alone. Of the products of attention, that of
    queries and own keys has gradients of both factors, and so have those with slots. Those with
    the text's keys and values have that of the queries, or of the weights, alone.
    """
    count, slots, features = start.readouts, start.length, start.size or E
    maps = sum(linears(rows, count))
    on_text, on_slots, on_own = (
        rows * H * product(count, D, width) for width in (tokens, slots, count)
    )
    forward = L * (maps + 2 * (on_text + on_slots + on_own))
    backward = L * (maps + 2 * on_text + 4 * (on_slots + on_own))
    inputs = E * (count if start.summary == "concat" else 1)
    projection = 3 * product(rows, inputs, features) if start.size else 0
    return forward + backward + projection + 3 * product(rows, features, 2)


@every_form
@pytest.mark.parametrize(("rows", "tokens"), SIZES)
def test_step_of_read_outs_is_the_hand_count(
    bert: BertModel, rows: int, tokens: int, form: dict[str, Any]
):
    start = replace(READ, **form)
    found = prefix_flops(bert, SHAPE, start, MEAN, {2: {(rows, tokens): 3}})
    assert found == 3 * (text_by_hand(rows, tokens) + read_outs_by_hand(rows, tokens, start))


@every_form
def test_texts_that_are_encoded_once_count_once(bert: BertModel, form: dict[str, Any]):
    start = replace(READ, **form)
    once = {(4, 6): 2, (1, 9): 1}
    seen = {(4, 6): 5, (3, 7): 2}
    found = prefix_flops(bert, SHAPE, start, MEAN, {2: seen}, once)
    read = sum(times * read_outs_by_hand(*size, start) for size, times in seen.items())
    assert found == read + 2 * text_by_hand(4, 6) + text_by_hand(1, 9)


def test_read_outs_that_start_from_others_take_as_many_operations(bert: BertModel):
    trained = replace(READ, initial=new_readout(count=3, length=START.length))
    batches = {2: {(3, 7): 2}}
    for once in (None, {(3, 7): 1}):
        assert prefix_flops(bert, SHAPE, trained, MEAN, batches, once) == prefix_flops(
            bert, SHAPE, READ, MEAN, batches, once
        )


@pytest.mark.parametrize("name", FAMILIES)
def test_count_of_read_outs_is_that_of_a_real_step(name: str):
    family, start = FAMILIES[name], replace(READ, size=6, summary="concat")
    model = family.build(mask_token_id=4)
    model.set_attn_implementation(ATTENTION)
    model.requires_grad_(False)
    shape = EncoderShape(
        layers=family.layers, heads=4, kv_heads=family.kv_heads, head_size=8, hidden_size=32
    )
    found = prefix_flops(model, shape, start, MEAN, {2: {(3, 7): 1}})
    ids = torch.full((3, 7), 5)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    prefix, last = trainable(model, shape, start, 0), new_head(start.size or 32, 2, 0)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        with torch.no_grad():
            text, _ = encode_text(model, inputs)
        (block,) = read_out(model, text, readout_positions(model, inputs), [prefix()])
        loss_of("classification", last(block), torch.tensor([0, 1, 1])).backward()
    assert found == counter.get_total_flops()


@pytest.mark.parametrize("name", FAMILIES)
def test_count_of_a_soft_prompt_is_that_of_a_real_step(name: str):
    family, start = FAMILIES[name], replace(START, kind="soft")
    model = family.build(mask_token_id=4)
    model.set_attn_implementation(ATTENTION)
    shape = EncoderShape(
        layers=family.layers, heads=4, kv_heads=family.kv_heads, head_size=8, hidden_size=32
    )
    assert prefix_flops(model, shape, start, MEAN, {2: {(3, 7): 1}}) == counted(
        model, shape, start=start
    )


@pytest.mark.parametrize(
    "pooling", [replace(MEAN, layers="concat_last", last_k=2), replace(MEAN, position="max")]
)
def test_pooling_decides_the_size_of_the_head(bert: BertModel, pooling):
    size = pooling.output_size(E)
    assert finetune_flops(bert, SHAPE, pooling, {2: {(3, 7): 1}}) - finetune_by_hand(
        3, 7
    ) == 3 * product(3, size, 2)


def test_layers_above_a_pooled_one_are_not_trained(bert: BertModel):
    below = replace(MEAN, layers="single", layer=L - 1)
    less = finetune_flops(bert, SHAPE, MEAN, {2: {(3, 7): 1}}) - finetune_flops(
        bert, SHAPE, below, {2: {(3, 7): 1}}
    )
    assert less == 2 * finetune_by_hand(3, 7) // 3 // L


def test_no_batches_take_no_operations(bert: BertModel):
    assert (
        prefix_flops(bert, SHAPE, START, MEAN, {2: {}}),
        finetune_flops(bert, SHAPE, MEAN, {}),
    ) == (0, 0)


def test_counting_leaves_the_encoder_alone():
    model = new_bert()
    before = state_bytes(model)
    finetune_flops(model, SHAPE, MEAN, {2: {(3, 7): 1}})
    assert state_bytes(model) == before
    assert not any(
        parameter.requires_grad or parameter.grad is not None for parameter in model.parameters()
    )


def test_counting_draws_no_random_number(bert: BertModel):
    before = torch.get_rng_state()
    prefix_flops(bert, SHAPE, START, MEAN, {2: {(3, 7): 1}})
    assert torch.equal(torch.get_rng_state(), before)


def test_each_shape_is_counted_once_for_all_models_of_one_build(monkeypatch: pytest.MonkeyPatch):
    seen = []
    monkeypatch.setattr(
        flops,
        "encode",
        lambda model, inputs, *rest: seen.append(inputs) or encode(model, inputs, *rest),
    )
    monkeypatch.setattr(flops, "_COUNTED", {})
    model, shapes = new_bert(), {2: {(4, 5): 3, (4, 6): 1}, 3: {(4, 5): 2}}
    first = prefix_flops(model, SHAPE, START, MEAN, shapes)
    assert len(seen) == 2
    other_start = replace(START, init_scale=3.0)
    assert prefix_flops(new_bert(), SHAPE, other_start, MEAN, shapes) == first and len(seen) == 2
    longer = replace(START, length=START.length + 1)
    assert prefix_flops(model, SHAPE, longer, MEAN, shapes) > first and len(seen) == 4


def test_of_many_sizes_few_are_observed():
    seen = []

    def observe(size: tuple[int, int]) -> int:
        seen.append(size)
        rows, tokens = size
        return 7 + rows * (3 + 5 * tokens + 2 * tokens**2)

    sizes = {(rows, tokens) for rows in (3, 8) for tokens in range(4, 90, 3)}
    costs = StepCost(observe)(sizes)
    assert costs == {(b, t): 7 + b * (3 + 5 * t + 2 * t * t) for b, t in sizes}
    assert len(seen) <= FEW_SIZES < len(sizes)


@pytest.mark.parametrize(
    "cost",
    [lambda b, t: b * t**3, lambda b, t: b * -(-t // 64) * 64, lambda b, t: b * b * t],
    ids=["cubic", "in steps", "of pairs of rows"],
)
def test_sizes_that_follow_another_law_are_all_observed(cost):
    sizes = {(rows, tokens) for rows in (3, 8) for tokens in range(4, 90, 3)}
    assert StepCost(lambda size: cost(*size))(sizes) == {size: cost(*size) for size in sizes}


def test_shapes_are_those_of_the_padded_batches():
    texts, labels = texts_of(6, 0)
    batches = [batch_of(texts, labels, rows) for rows in ([0, 1, 2], [3, 4], [0, 1, 2])]
    longest = [max(len(texts[row]) for row in rows) for rows in ([0, 1, 2], [3, 4])]
    assert shapes_of(batches) == Counter({(3, longest[0]): 2, (2, longest[1]): 1})
