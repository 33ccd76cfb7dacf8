"""Soft prompts: what a model reads, against transformers called by hand.

And the laws of banks of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import BertModel

from prefixbank.choices import Rule
from prefixbank.core.combine import Bank
from prefixbank.core.embed import embed_batches, encode
from prefixbank.core.pooling import Pooling
from prefixbank.core.prefix import prefix_of, tensors_of
from prefixbank.core.prompt import (
    PromptVectors,
    SoftPrompt,
    TrainablePrompt,
    prompted,
    text_positions,
    visible_to_all,
)
from prefixbank.core.shapes import ShapeError
from tests.core.toys import (
    CLS,
    MEAN,
    SHAPE,
    batch_of,
    distance,
    inputs_of,
    new_bert,
    new_prefix,
    run,
    texts_of,
)

RULES: tuple[Rule, ...] = get_args(Rule)
every_rule = pytest.mark.parametrize("rule", RULES)


def new_prompt(seed: int = 0, *, length: int = 4, scale: float = 0.5) -> SoftPrompt:
    """A random prompt of fixed values."""
    return SoftPrompt(
        tensor=scale
        * torch.randn(length, SHAPE.hidden_size, generator=torch.Generator().manual_seed(seed))
    )


def states_of(model: BertModel, inputs: dict[str, Tensor], prompt: PromptVectors) -> Tensor:
    """Last hidden states of prompt and text."""
    with torch.no_grad():
        states: Tensor = model(
            **prompted(model, inputs, prompt), attention_calls=[]
        ).last_hidden_state
    return states


def by_hand(inputs: dict[str, Tensor], prompt: SoftPrompt) -> Tensor:
    """The same from transformers' own attention, the embeddings laid side by side, the prompt at
    position 0.
    """
    model, count = new_bert("eager"), prompt.length
    rows, width = inputs["input_ids"].shape
    words = model.embeddings.word_embeddings(inputs["input_ids"])
    with torch.no_grad():
        states: Tensor = model(
            inputs_embeds=torch.cat([torch.stack([prompt.tensor] * rows), words], dim=1),
            attention_mask=torch.cat([torch.ones(rows, count), inputs["attention_mask"]], dim=1),
            position_ids=torch.tensor([[0] * count + list(range(width))] * rows),
            token_type_ids=torch.zeros(rows, count + width, dtype=torch.int64),
        ).last_hidden_state
    return states


@pytest.mark.parametrize("length", [1, 4, 30])
def test_prompt_is_read_as_transformers_reads_the_same_embeddings(bert: BertModel, length: int):
    inputs, prompt = inputs_of((6, 3)), new_prompt(length=length)
    found, expected = states_of(bert, inputs, prompt.slots()), by_hand(inputs, prompt)
    assert (
        distance(found[0], expected[0]) < 1e-5
        and distance(found[1, : length + 3], expected[1, : length + 3]) < 1e-5
    )


def test_hidden_prompt_leaves_the_plain_encoder(bert: BertModel):
    hidden = PromptVectors(vectors=new_prompt().tensor, log_weights=torch.full((4,), -torch.inf))
    inputs = inputs_of((6, 3))
    assert distance(states_of(bert, inputs, hidden)[:, 4:], run(bert, inputs)) < 1e-5


def test_prompt_of_length_zero_is_the_plain_encoder(bert: BertModel):
    inputs = inputs_of((6, 3))
    assert distance(states_of(bert, inputs, new_prompt(length=0).slots()), run(bert, inputs)) < 1e-6


def test_weight_shifts_the_logits_of_the_prompts_keys_in_every_layer(bert: BertModel):
    """A weight of 2 is that of two copies.

    The second one is seen in full, in every layer and by the prompt itself.
    """
    inputs, prompt = inputs_of((6, 3)), new_prompt()
    twice = states_of(
        bert, inputs, PromptVectors(vectors=torch.cat([prompt.tensor, prompt.tensor]))
    )
    weighed = states_of(
        bert,
        inputs,
        PromptVectors(vectors=prompt.tensor, log_weights=torch.full((4,), math.log(2.0))),
    )
    assert distance(twice[:, 4:], weighed) < 1e-5


@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_changes_nothing(bert: BertModel, side: str):
    prompt = new_prompt().slots()
    alone, padded = inputs_of((5,)), inputs_of((5,), width=12, side=side)
    with torch.no_grad():
        assert (
            distance(encode(bert, alone, prompt, MEAN), encode(bert, padded, prompt, MEAN)) < 1e-5
        )


def test_batch_mates_change_nothing(bert: BertModel):
    prompt, inputs = new_prompt().slots(), inputs_of((6, 3, 1))
    together = states_of(bert, inputs, prompt)
    for row, length in enumerate((6, 3, 1)):
        alone = states_of(
            bert, {name: tensor[row : row + 1, :length] for name, tensor in inputs.items()}, prompt
        )[0]
        assert distance(together[row, : 4 + length], alone) < 1e-5


@pytest.mark.parametrize(
    "pooling",
    [MEAN, CLS, Pooling(position="max", layers="mean_last", last_k=2, layer=0)],
    ids=["mean", "cls", "max"],
)
def test_pooling_ignores_the_prompt(bert: BertModel, pooling: Pooling):
    inputs, prompt = inputs_of((6,)), new_prompt().slots()
    with torch.no_grad():
        layers = bert(
            **prompted(bert, inputs, prompt), attention_calls=[], output_hidden_states=True
        ).hidden_states
        found = encode(bert, inputs, prompt, pooling)[0]
    text = torch.stack([layer[0, 4:] for layer in layers])
    expected = {
        "mean": text[-1].mean(dim=0),
        "cls": text[-1][0],
        "max": text[-2:].mean(dim=0).amax(dim=0),
    }[pooling.position]
    assert distance(found, expected) < 1e-6


def test_second_texts_keep_their_type(bert: BertModel):
    inputs = {**inputs_of((4, 4)), "token_type_ids": torch.tensor([[0, 0, 1, 1]] * 2)}
    assert (
        prompted(bert, inputs, new_prompt().slots())["token_type_ids"].tolist()
        == [[0] * 4 + [0, 0, 1, 1]] * 2
    )


def test_prompt_stands_at_the_position_of_the_first_token(bert: BertModel):
    inputs = inputs_of((3, 2), side="left")
    inputs["position_ids"] = torch.tensor([[5, 6, 7], [9, 5, 6]])
    assert prompted(bert, inputs, new_prompt(length=2).slots())["position_ids"].tolist() == [
        [5, 5, 5, 6, 7],
        [5, 5, 9, 5, 6],
    ]


def test_positions_count_from_zero_where_padding_has_no_row(bert: BertModel):
    ids = torch.tensor([[7, 8, 0], [7, 8, 9]])
    assert text_positions(bert, {"input_ids": ids}).tolist() == [[0, 1, 2]] * 2


def bool_mask(rows: Sequence[Sequence[int]]) -> Tensor:
    return torch.tensor(rows, dtype=torch.bool)[None, None]


def test_prompt_is_seen_by_tokens_that_see_only_near_ones():
    # The last token is padding.
    local = bool_mask([[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 1, 0]])
    assert torch.equal(
        visible_to_all(local, 1, causal=False),
        bool_mask([[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 0], [1, 0, 1, 0]]),
    )


def test_prompt_of_a_causal_model_tells_no_token_of_later_ones():
    causal = bool_mask([[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]])
    assert torch.equal(
        visible_to_all(causal, 2, causal=True),
        bool_mask([[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]),
    )


# Banks.


def bank_of(prompts: Sequence[SoftPrompt], weights: Sequence[float], rule: Rule) -> Bank:
    return Bank(prefixes=tuple(prompts), weights=tuple(weights), rule=rule, pooling=MEAN)


def vectors(bert: BertModel, bank: Bank) -> Tensor:
    """What the bank makes of two padded texts."""
    inputs = inputs_of((6, 3))
    with torch.no_grad():
        return bank.merge([encode(bert, inputs, prompt, bank.pooling) for prompt in bank.passes()])


def alone(bert: BertModel, prompt: SoftPrompt) -> Tensor:
    with torch.no_grad():
        return encode(bert, inputs_of((6, 3)), prompt.slots(), MEAN)


@every_rule
def test_bank_of_one_prompt_equals_that_prompt(bert: BertModel, rule: Rule):
    assert (
        distance(vectors(bert, bank_of([new_prompt()], [1.0], rule)), alone(bert, new_prompt()))
        < 1e-5
    )


@pytest.mark.parametrize("count", [2, 5])
@pytest.mark.parametrize("rule", ["concat_prefixes", "mean_vectors", "mean_prefixes"])
def test_copies_that_share_the_weight_of_one_equal_one(bert: BertModel, rule: Rule, count: int):
    assert (
        distance(
            vectors(bert, bank_of([new_prompt()] * count, [1 / count] * count, rule)),
            alone(bert, new_prompt()),
        )
        < 1e-5
    )


@pytest.mark.parametrize("rule", ["concat_prefixes", "mean_vectors", "mean_prefixes"])
def test_order_of_prompts_changes_nothing(bert: BertModel, rule: Rule):
    prompts, weights = [new_prompt(seed) for seed in range(3)], [0.2, 1.0, 0.7]
    assert (
        distance(
            vectors(bert, bank_of(prompts, weights, rule)),
            vectors(bert, bank_of(prompts[::-1], weights[::-1], rule)),
        )
        < 1e-5
    )


@every_rule
def test_weight_zero_equals_leaving_the_prompt_out(bert: BertModel, rule: Rule):
    prompts = [new_prompt(seed) for seed in range(3)]
    left = bank_of([prompts[0], prompts[2]], [0.5, 0.5], rule)
    assert torch.equal(vectors(bert, bank_of(prompts, [0.5, 0.0, 0.5], rule)), vectors(bert, left))


def test_weight_near_zero_comes_near_to_leaving_the_prompt_out(bert: BertModel):
    prompts = [new_prompt(seed) for seed in range(2)]
    assert (
        distance(
            vectors(bert, bank_of(prompts, [1.0, 1e-12], "concat_prefixes")),
            alone(bert, prompts[0]),
        )
        < 1e-5
    )


def test_weight_one_is_plain_concatenation(bert: BertModel):
    prompts = [new_prompt(seed, length=2 + seed) for seed in range(2)]
    joined = SoftPrompt(tensor=torch.cat([prompt.tensor for prompt in prompts]))
    assert torch.equal(
        vectors(bert, bank_of(prompts, [1.0, 1.0], "concat_prefixes")), alone(bert, joined)
    )


def test_every_vector_has_the_weight_of_its_prompt():
    (read,) = bank_of(
        [new_prompt(length=1), new_prompt(length=2)], [0.5, 0.25], "concat_prefixes"
    ).passes()
    assert torch.allclose(read.log_weights, torch.tensor([0.5, 0.25, 0.25]).log())


def test_mean_prefixes_is_the_weighted_mean_of_prompts():
    prompts = [new_prompt(seed) for seed in range(2)]
    (read,) = bank_of(prompts, [1.0, 3.0], "mean_prefixes").passes()
    assert distance(read.vectors, 0.25 * prompts[0].tensor + 0.75 * prompts[1].tensor) < 1e-6


def test_vectors_of_single_prompts_lie_side_by_side(bert: BertModel):
    prompts = [new_prompt(seed) for seed in range(2)]
    each = torch.cat([alone(bert, prompt) for prompt in prompts], dim=1)
    assert torch.equal(vectors(bert, bank_of(prompts, [1.0, 1.0], "concat_vectors")), each)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_embedding_equals_encoding_row_by_row(bert: BertModel, precision: str):
    texts, _ = texts_of(7, seed=0)
    labels, bank = (
        np.zeros(7, np.int64),
        bank_of([new_prompt(0), new_prompt(1, length=3)], [0.5, 0.5], "concat_prefixes"),
    )
    (found,) = embed_batches(
        bert,
        [batch_of(texts, labels, rows) for rows in ([3, 0, 5], [1, 2], [6, 4])],
        bank,
        count=7,
        precision=precision,
    )
    with torch.no_grad():
        expected = [
            encode(bert, batch_of(texts, labels, [row]).inputs, bank.passes()[0], MEAN)[0].numpy()
            for row in range(7)
        ]
    np.testing.assert_allclose(found, np.stack(expected), atol=1e-5 if precision == "fp32" else 0.1)


def test_prefixes_of_two_kinds_are_refused():
    with pytest.raises(ShapeError, match="1 deep, 1 soft") as caught:
        Bank(
            prefixes=(new_prefix(), new_prompt()),
            weights=(0.5, 0.5),
            rule="concat_vectors",
            pooling=MEAN,
        )
    assert (
        "prefix.kind=deep" in caught.value.expected and "prefix.kind=soft" in caught.value.expected
    )


def test_prompts_of_different_encoders_are_refused():
    with pytest.raises(ShapeError, match="size 32, size 48"):
        bank_of(
            [new_prompt(), SoftPrompt(tensor=torch.zeros(4, 48))], [1.0, 1.0], "concat_prefixes"
        )


def test_prompts_of_different_lengths_have_no_mean():
    with pytest.raises(ShapeError, match=r"lengths \[2, 4\]"):
        bank_of([new_prompt(), new_prompt(length=2)], [1.0, 1.0], "mean_prefixes")


# The tensor and its parameters.


def test_tensor_of_another_shape_is_refused():
    with pytest.raises(ShapeError, match=r"\[2, 3, 4\]"):
        SoftPrompt(tensor=torch.zeros(2, 3, 4))


@pytest.mark.parametrize(
    "prefix", [new_prompt(), new_prefix(), new_prefix(gated=True)], ids=["soft", "deep", "gated"]
)
def test_prefix_of_either_kind_survives_being_taken_apart(prefix: Any):
    found = prefix_of({**tensors_of(prefix), "weight": torch.zeros(1)})
    assert type(found) is type(prefix) and all(
        torch.equal(tensor, tensors_of(prefix)[name]) for name, tensor in tensors_of(found).items()
    )


def test_snapshot_is_a_copy_that_training_does_not_reach():
    prompt = TrainablePrompt(new_prompt().tensor)
    before = prompt.snapshot()
    with torch.no_grad():
        prompt.start.add_(1.0)
    assert torch.equal(before.tensor, new_prompt().tensor) and not before.tensor.requires_grad


def test_gradients_reach_every_vector(bert: BertModel):
    prompt = TrainablePrompt(new_prompt().tensor)
    encode(bert, inputs_of((6, 3)), prompt().slots(), MEAN)[:, :5].sum().backward()
    assert bool((prompt.start.grad.abs() > 0).any(dim=1).all())
