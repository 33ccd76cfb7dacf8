"""Read-outs in whole encoders: references in float64, and what must not change a block."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import permutations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertModel, LlamaConfig, LlamaModel, RobertaConfig, RobertaModel

from prefixbank.core.attention.prefix_attention import ATTENTION, trace_attention
from prefixbank.core.prefix import prefix_of, tensors_of
from prefixbank.core.readout import (
    Readout,
    TrainableReadout,
    encode_text,
    read_out,
    readout_positions,
    token_slot,
)
from prefixbank.core.shapes import EncoderShape, ShapeError
from tests.core.toys import (
    SHAPE,
    WORDS,
    distance,
    inputs_of,
    new_albert,
    new_bert,
    new_prefix,
    new_readout,
    run,
    state_bytes,
)

LENGTHS = (6, 3, 1)
LLAMA_SHAPE = EncoderShape(layers=3, heads=4, kv_heads=2, head_size=8, hidden_size=32)


def blocks(
    model: nn.Module, inputs: Mapping[str, Tensor], readouts: Sequence[Readout]
) -> list[Tensor]:
    """The block of each task, all read in one call."""
    with torch.no_grad():
        text, _ = encode_text(model, inputs)
        return read_out(model, text, readout_positions(model, inputs), readouts)


def block(model: nn.Module, inputs: Mapping[str, Tensor], readout: Readout) -> Tensor:
    return blocks(model, inputs, [readout])[0]


def normalised(vector: Tensor) -> Tensor:
    """Mean 0 and variance 1 over the features."""
    deviation = vector - vector.mean()
    return deviation / (deviation.square().mean() + 1e-5).sqrt()


def new_llama() -> LlamaModel:
    """A causal encoder whose query heads share key/value heads."""
    config = LlamaConfig(
        vocab_size=WORDS,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=48,
        max_position_embeddings=40,
        initializer_range=0.2,
        attn_implementation=ATTENTION,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaModel(config)
    return model.eval().requires_grad_(False)


def as_one_sequence(ids: Tensor, readout: Readout) -> Tensor:
    """Last states of the read-outs [M, E], for one text of width t, by transformers' own attention.

    Text and read-outs are one sequence. A 4-D mask hides the read-outs from the text.
    """
    model, count = new_bert("eager").double(), readout.count
    tokens = len(ids)
    words = model.embeddings.word_embeddings(ids)
    seen = torch.zeros(1, 1, tokens + count, tokens + count, dtype=torch.float64)
    seen[..., :tokens, tokens:] = torch.finfo(torch.float64).min
    with torch.no_grad():
        states: Tensor = model(
            inputs_embeds=torch.cat([words, readout.vectors.double()])[None],
            attention_mask=seen,
            position_ids=torch.tensor([[*range(tokens), *[tokens] * count]]),
        ).last_hidden_state
    return states[0, tokens:]


def by_loops(ids: Tensor, readout: Readout) -> Tensor:
    """The same by BERT's formulas, each head and query alone, with slots."""
    model = new_bert().double()
    tokens, count, layers = len(ids), readout.count, model.encoder.layer
    table = model.embeddings
    sums = (
        torch.cat([table.word_embeddings(ids), readout.vectors.double()])
        + table.position_embeddings.weight[[*range(tokens), *[tokens] * count]]
        + table.token_type_embeddings.weight[0]
    )
    states = table.LayerNorm(sums)
    for number, layer in enumerate(layers):
        own = layer.attention.self
        query, key, value = own.query(states), own.key(states), own.value(states)
        slot_keys, slot_values = readout.slots.double()[number]
        mixed = torch.zeros_like(states)
        for head in range(SHAPE.heads):
            part = slice(head * SHAPE.head_size, (head + 1) * SHAPE.head_size)
            for place in range(tokens + count):
                keys, values = key[:tokens, part], value[:tokens, part]
                if place >= tokens:
                    keys = torch.cat([key[:, part], slot_keys[head]])
                    values = torch.cat([value[:, part], slot_values[head]])
                logits = keys @ query[place, part] / math.sqrt(SHAPE.head_size)
                mixed[place, part] = logits.softmax(dim=0) @ values
        after = layer.attention.output
        states = after.LayerNorm(after.dense(mixed) + states)
        wide = functional.gelu(layer.intermediate.dense(states))
        states = layer.output.LayerNorm(layer.output.dense(wide) + states)
    return states[tokens:]


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("tokens", [1, 6])
@torch.no_grad()
def test_block_without_slots_is_that_of_one_sequence_with_a_mask(count: int, tokens: int):
    inputs, readout = inputs_of((tokens,)), new_readout(count=count, length=0)
    expected = normalised(as_one_sequence(inputs["input_ids"][0], readout).mean(dim=0))
    assert distance(block(new_bert().double(), inputs, readout)[0], expected) < 1e-6


@pytest.mark.parametrize("length", [0, 1, 3])
@pytest.mark.parametrize("count", [1, 3])
@torch.no_grad()
def test_block_is_that_of_plain_loops(count: int, length: int):
    inputs, readout = inputs_of((6, 3)), new_readout(count=count, length=length)
    found = block(new_bert().double(), inputs, readout)
    for row, tokens in enumerate((6, 3)):
        expected = normalised(by_loops(inputs["input_ids"][row, :tokens], readout).mean(dim=0))
        assert distance(found[row], expected) < 1e-6


@torch.no_grad()
def test_tasks_with_slots_of_their_own_are_those_of_plain_loops(bert: BertModel):
    inputs = inputs_of((6, 3))
    readouts = [new_readout(seed, length=length) for seed, length in enumerate((3, 0, 1))]
    for found, readout in zip(blocks(bert, inputs, readouts), readouts, strict=True):
        for row, tokens in enumerate((6, 3)):
            states = by_loops(inputs["input_ids"][row, :tokens], readout)
            assert distance(found[row], normalised(states.mean(dim=0))) < 1e-5


@pytest.mark.parametrize("joined", [False, True], ids=["mean", "side by side"])
@pytest.mark.parametrize("count", [1, 3])
@torch.no_grad()
def test_projection_is_of_the_normalised_read_outs(bert: BertModel, count: int, joined: bool):
    inputs, readout = inputs_of((5,)), new_readout(count=count, size=7, joined=joined)
    states = by_loops(inputs["input_ids"][0], readout)
    summary = normalised(states.flatten() if joined else states.mean(dim=0))
    expected = readout.weight.double() @ summary + readout.bias.double()
    assert distance(block(bert, inputs, readout)[0], expected) < 1e-5


def test_block_has_mean_zero_and_variance_one(bert: BertModel):
    found = block(bert, inputs_of(LENGTHS), new_readout())
    assert float(found.mean(dim=1).abs().max()) < 1e-5
    assert torch.allclose(found.var(dim=1, unbiased=False), torch.ones(3), atol=1e-3)


def test_block_that_is_not_normalised_is_the_mean_of_the_read_outs(bert: BertModel):
    inputs = inputs_of(LENGTHS)
    plain, scaled = new_readout(normalised=False), new_readout()
    found = block(bert, inputs, plain)
    assert distance(block(bert, inputs, scaled), functional.layer_norm(found, (32,))) < 1e-5
    assert float(found.var(dim=1, unbiased=False).min()) < 0.98


@pytest.mark.parametrize("model", [new_bert, new_albert, new_llama])
def test_text_is_that_of_the_plain_encoder_to_the_last_bit(model):
    model, inputs = model(), inputs_of(LENGTHS)
    with torch.no_grad():
        text, states = encode_text(model, inputs, all_layers=True)
        before = [tensor.clone() for tensor in (*text.keys, *text.values)]
        plain = model(**inputs, attention_calls=[], output_hidden_states=True).hidden_states
        size = model.get_input_embeddings().weight.shape[1]
        kv = {"shape": LLAMA_SHAPE} if isinstance(model, LlamaModel) else {}
        read_out(
            model,
            text,
            readout_positions(model, inputs),
            [new_readout(vector_size=size, **kv)],
        )
    assert all(torch.equal(one, other) for one, other in zip(states, plain, strict=True))
    after = (*text.keys, *text.values)
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_every_layer_records_its_keys_and_values(bert: BertModel):
    inputs = inputs_of(LENGTHS)
    with torch.no_grad():
        text, _ = encode_text(bert, inputs)
        hidden = bert(**inputs, output_hidden_states=True).hidden_states
    assert len(text.keys) == len(text.values) == SHAPE.layers
    for number, layer in enumerate(bert.encoder.layer):
        for found, linear in (
            (text.keys[number], layer.attention.self.key),
            (text.values[number], layer.attention.self.value),
        ):
            flat = found.transpose(1, 2).flatten(2)
            assert distance(flat, linear(hidden[number])) < 1e-5


MIXED = ((0, 3), (1, 0), (2, 5), (3, 1))
"""Seeds and numbers of slots of four tasks."""


def many(**changes: int) -> list[Readout]:
    return [new_readout(seed, length=length, **changes) for seed, length in MIXED]


@pytest.mark.parametrize("count", [1, 2])
def test_tasks_together_are_each_alone_in_any_order(bert: BertModel, count: int):
    inputs, readouts = inputs_of(LENGTHS), many(count=count)
    alone = [block(bert, inputs, readout) for readout in readouts]
    for order in permutations(range(len(readouts))):
        found = blocks(bert, inputs, [readouts[index] for index in order])
        assert all(
            distance(one, alone[index]) < 1e-5 for one, index in zip(found, order, strict=True)
        )


def test_tasks_together_are_each_alone_in_a_causal_encoder_and_with_one_shared_layer():
    llama, albert = new_llama(), new_albert()
    cases = [
        (llama, [new_readout(seed, length=p, shape=LLAMA_SHAPE) for seed, p in MIXED]),
        (albert, many(vector_size=16)),
    ]
    for model, readouts in cases:
        inputs = inputs_of(LENGTHS)
        found = blocks(model, inputs, readouts)
        assert all(
            distance(one, block(model, inputs, readout)) < 1e-5
            for one, readout in zip(found, readouts, strict=True)
        )


def test_another_task_changes_nothing_however_large_its_numbers(bert: BertModel):
    inputs, one = inputs_of(LENGTHS), new_readout(0)
    wild = new_readout(1, length=6)
    wild = Readout(vectors=100 * wild.vectors, slots=100 * wild.slots)
    found = blocks(bert, inputs, [one, wild])[0]
    assert distance(found, block(bert, inputs, one)) < 1e-5


@pytest.mark.parametrize("length", [0, 3])
@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_changes_nothing(bert: BertModel, side: str, length: int):
    readout = new_readout(length=length)
    alone, padded = inputs_of((5,)), inputs_of((5,), width=12, side=side)
    assert distance(block(bert, alone, readout), block(bert, padded, readout)) < 1e-5


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("side", ["right", "left"])
def test_batch_mates_change_nothing(bert: BertModel, side: str, count: int):
    inputs, readouts = inputs_of(LENGTHS, side=side), many(count=count)
    together = blocks(bert, inputs, readouts)
    for row, tokens in enumerate(LENGTHS):
        place = slice(0, tokens) if side == "right" else slice(LENGTHS[0] - tokens, None)
        alone = blocks(
            bert,
            {name: tensor[row : row + 1, place] for name, tensor in inputs.items()},
            readouts,
        )
        assert all(
            distance(one[row], other[0]) < 1e-5 for one, other in zip(together, alone, strict=True)
        )


def test_other_texts_other_slots_and_other_vectors_change_a_block(bert: BertModel):
    inputs, readout = inputs_of((6,)), new_readout()
    found = block(bert, inputs, readout)
    for other in (
        block(bert, inputs_of((6,), seed=1), readout),
        block(bert, inputs, replace(readout, slots=new_readout(1).slots)),
        block(bert, inputs, replace(readout, vectors=new_readout(1).vectors)),
    ):
        assert distance(found, other) > 1e-2


def test_read_outs_of_a_causal_encoder_see_all_tokens_and_each_other():
    llama = new_llama()
    inputs = inputs_of((6,))
    readout = new_readout(count=2, shape=LLAMA_SHAPE)
    found = block(llama, inputs, readout)
    for token in range(6):
        changed = {**inputs, "input_ids": inputs["input_ids"].clone()}
        changed["input_ids"][0, token] = 1
        assert distance(found, block(llama, changed, readout)) > 1e-4
    turned = replace(readout, vectors=readout.vectors.flip(0))
    assert distance(found, block(llama, inputs, turned)) < 1e-5


def test_gradients_reach_vectors_and_slots_and_stop_before_the_text(bert: BertModel):
    trained = TrainableReadout(new_readout(size=5))
    inputs = inputs_of(LENGTHS)
    text, states = encode_text(bert, inputs)
    (found,) = read_out(bert, text, readout_positions(bert, inputs), [trained()])
    found[:, 0].sum().backward()
    assert not any(tensor.requires_grad for tensor in (*text.keys, *text.values, *states))
    assert all(float(one.grad.abs().max()) > 0 for one in trained.parameters())


def test_reading_leaves_the_encoder_alone(bert: BertModel):
    before = state_bytes(bert)
    block(bert, inputs_of(LENGTHS), new_readout())
    assert state_bytes(bert) == before


def new_roberta(positions: int = 20) -> RobertaModel:
    """RoBERTa whose padding has id 0, so that the first token has position 1."""
    config = RobertaConfig(
        vocab_size=WORDS,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=positions,
        pad_token_id=0,
        attn_implementation=ATTENTION,
    )
    return RobertaModel(config, add_pooling_layer=False).eval().requires_grad_(False)


def without_positions(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in inputs.items() if name != "position_ids"}


def test_read_outs_stand_behind_the_last_token(bert: BertModel):
    inputs = without_positions(inputs_of(LENGTHS))
    assert readout_positions(bert, inputs).tolist() == [6, 3, 1]


def test_positions_given_with_the_text_count(bert: BertModel):
    inputs = inputs_of(LENGTHS, side="left")
    assert readout_positions(bert, inputs).tolist() == [6, 3, 1]


def test_padding_on_the_left_moves_read_outs_with_the_text(bert: BertModel):
    """BERT counts places from the left, padding included, if it is not told positions."""
    inputs = without_positions(inputs_of(LENGTHS, side="left"))
    assert readout_positions(bert, inputs).tolist() == [6, 6, 6]


@pytest.mark.parametrize("side", ["right", "left"])
def test_positions_after_those_of_padding_count_tokens(side: str):
    inputs = without_positions(inputs_of(LENGTHS, side=side))
    assert readout_positions(new_roberta(), inputs).tolist() == [7, 4, 2]


def test_read_outs_of_a_text_that_fills_the_table_have_its_last_position(bert: BertModel):
    inputs = without_positions(inputs_of((40, 39, 38)))
    assert readout_positions(bert, inputs).tolist() == [39, 39, 38]
    filled = without_positions(inputs_of((9, 8, 7)))
    assert readout_positions(new_roberta(10), filled).tolist() == [9, 9, 8]
    assert torch.isfinite(block(bert, inputs, new_readout())).all()


def test_rotary_positions_have_no_end():
    inputs = without_positions(inputs_of((60,)))
    assert readout_positions(new_llama(), inputs).tolist() == [60]


@pytest.mark.parametrize("model", [new_bert, new_albert, new_llama])
def test_slot_of_a_token_has_its_keys_and_values(model):
    model, inputs = model(), inputs_of((5,))
    trace_attention(model, inputs)
    with torch.no_grad():
        text, _ = encode_text(model, inputs)
    slot = token_slot(model, inputs, 3)
    assert slot.shape[0] == len(text.keys) and slot.shape[3] == 1
    for layer in range(len(text.keys)):
        assert torch.equal(slot[layer, 0, :, 0], text.keys[layer][0, :, 3])
        assert torch.equal(slot[layer, 1, :, 0], text.values[layer][0, :, 3])


def test_slots_of_all_tokens_as_a_deep_prefix_are_those_tokens_seen_twice(bert: BertModel):
    """A slot is read like the token that it was: attention sees each token of the text twice."""
    inputs = inputs_of((4,))
    slots = torch.cat([token_slot(bert, inputs, token) for token in range(4)], dim=3)
    prefix = prefix_of({"prefix": slots})
    assert distance(run(bert, inputs, prefix.slots()), run(bert, inputs)) < 1e-5


def test_prefix_is_the_same_taken_apart_and_put_together():
    for readout in (new_readout(), new_readout(length=0), new_readout(size=5, joined=True)):
        again = prefix_of(tensors_of(readout))
        assert isinstance(again, Readout)
        assert tensors_of(again).keys() == tensors_of(readout).keys()
        assert all(
            torch.equal(one, other)
            for one, other in zip(
                tensors_of(again).values(), tensors_of(readout).values(), strict=True
            )
        )


@pytest.mark.parametrize(("length", "places"), [(1, [0]), (3, [0, 1, 2]), (5, [0, 1, 2, 0, 1])])
def test_slots_are_cut_or_repeated(length: int, places: list[int]):
    readout = new_readout(size=5)
    found = readout.cycled(length)
    assert torch.equal(found.slots, readout.slots[:, :, :, places])
    assert torch.equal(found.vectors, readout.vectors) and found.weight is readout.weight


@pytest.mark.parametrize("length", [0, 3])
def test_slots_are_cut_to_none(length: int):
    assert new_readout(length=length).cycled(0).slots.shape == SHAPE.prefix_shape(0)


def test_only_slots_change_their_precision():
    moved = new_readout(size=5).to(torch.device("cpu"), torch.bfloat16)
    assert moved.slots.dtype == torch.bfloat16
    assert {moved.vectors.dtype, moved.weight.dtype, moved.bias.dtype} == {torch.float32}


def test_tensors_of_another_form_are_refused():
    with pytest.raises(ShapeError, match="read-outs of shape"):
        Readout(vectors=torch.zeros(2), slots=new_prefix().tensor)
    with pytest.raises(ShapeError, match="with slots of shape"):
        Readout(vectors=torch.zeros(2, 3), slots=new_prefix().tensor[:, :1])
