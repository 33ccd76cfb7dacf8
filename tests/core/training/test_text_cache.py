"""Kept keys and values of texts: what comes back, what is kept once, and where."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import BertModel

from prefixbank.core.readout import encode_text
from prefixbank.core.shapes import Batch
from prefixbank.core.training.text_cache import (
    TextCache,
    in_memory,
    numbers_per_token,
)
from tests.core.toys import SHAPE, batch_of, distance, inputs_of, new_albert, texts_of

TEXTS, LABELS = texts_of(9, seed=4)
CPU = torch.device("cpu")
PER_TOKEN = 2 * SHAPE.layers * SHAPE.kv_heads * SHAPE.head_size


def batches(*groups: list[int]) -> list[Batch]:
    return [batch_of(TEXTS, LABELS, rows) for rows in groups]


def filled(
    model: nn.Module, given: list[Batch], dtype: torch.dtype = torch.float32
) -> tuple[TextCache, list[int]]:
    """A cache, and the number of numbers that it asked for."""
    sizes: list[int] = []

    def allocate(numbers: int, of: torch.dtype) -> Tensor:
        sizes.append(numbers)
        return in_memory(numbers, of)

    cache = TextCache(given, SHAPE, dtype, allocate)
    with torch.no_grad():
        cache.fill(model)
    return cache, sizes


def drift(model: nn.Module, cache: TextCache, inputs: dict[str, Tensor]) -> tuple[float, float]:
    """Largest difference from the states that the encoder gives, and the largest of these."""
    with torch.no_grad():
        expected, _ = encode_text(model, inputs)
    found = cache.states(inputs, CPU)
    assert torch.equal(found.mask, expected.mask)
    pairs = [
        (kept.transpose(1, 2)[found.mask], one.transpose(1, 2)[found.mask])
        for kept, one in zip(
            (*found.keys, *found.values), (*expected.keys, *expected.values), strict=True
        )
    ]
    assert len(pairs) == 2 * SHAPE.layers
    largest = max(float(one.abs().max()) for _, one in pairs)
    return max(distance(kept, one) for kept, one in pairs), largest


@pytest.mark.parametrize("rows", [[0], [3, 1, 8], [2, 2, 4], list(range(9))], ids=str)
@pytest.mark.parametrize("model", [None, new_albert], ids=["BERT", "ALBERT"])
def test_kept_states_are_those_of_the_encoder_in_batches_of_any_form(bert: BertModel, model, rows):
    encoder = bert if model is None else model()
    cache, _ = filled(encoder, batches([0, 1, 2, 3], [4, 5, 6, 7, 8]))
    assert drift(encoder, cache, batch_of(TEXTS, LABELS, rows).inputs)[0] < 1e-5


def test_states_in_half_the_bytes_are_rounded_once(bert: BertModel):
    cache, _ = filled(bert, batches(list(range(9))), torch.float16)
    difference, largest = drift(bert, cache, batch_of(TEXTS, LABELS, range(9)).inputs)
    assert 0 < difference < largest * 2**-11 + 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_states_are_given_in_full_precision_and_are_zero_where_padding_is(
    bert: BertModel, dtype: torch.dtype
):
    cache, _ = filled(bert, batches(list(range(9))), dtype)
    found = cache.states(batch_of(TEXTS, LABELS, range(9)).inputs, CPU)
    for tensor in (*found.keys, *found.values):
        assert tensor.dtype == torch.float32
        assert not tensor.transpose(1, 2)[~found.mask].any()


def test_each_text_is_kept_once(bert: BertModel):
    _, once = filled(bert, batches([0, 1], [2]))
    again, twice = filled(bert, batches([0, 1], [2], [2, 0], [1, 1]))
    tokens = sum(len(TEXTS[row]) for row in range(3))
    assert once == twice == [tokens * PER_TOKEN] and numbers_per_token(SHAPE) == PER_TOKEN
    assert drift(bert, again, batch_of(TEXTS, LABELS, [2, 1, 0]).inputs)[0] < 1e-5


def test_texts_that_differ_in_another_input_are_kept_apart(bert: BertModel):
    inputs = inputs_of((5,))
    others = {**inputs, "token_type_ids": torch.tensor([[0, 0, 0, 1, 1]])}
    plain = {**inputs, "token_type_ids": torch.zeros(1, 5, dtype=torch.int64)}
    rows = np.zeros(1, np.int64)
    cache, sizes = filled(
        bert, [Batch(rows=rows, inputs=one, labels=None) for one in (plain, others)]
    )
    assert sizes == [2 * 5 * PER_TOKEN]
    assert drift(bert, cache, plain)[0] < 1e-5 and drift(bert, cache, others)[0] < 1e-5
    assert distance(cache.states(plain, CPU).keys[0], cache.states(others, CPU).keys[0]) > 1e-3


def test_a_text_is_not_its_own_beginning(bert: BertModel):
    """Tokens 5 6 and 5 6 0: an id of zero is no padding where the mask says so."""
    ids = torch.tensor([[5, 6, 0], [5, 6, 0]])
    inputs = {"input_ids": ids, "attention_mask": torch.tensor([[1, 1, 1], [1, 1, 0]])}
    cache, sizes = filled(bert, [Batch(rows=np.arange(2), inputs=inputs, labels=None)])
    assert sizes == [5 * PER_TOKEN] and drift(bert, cache, inputs)[0] < 1e-5


def test_padding_on_the_left_is_no_part_of_a_text(bert: BertModel):
    right, left = inputs_of((5, 2)), inputs_of((5, 2), side="left")
    cache, sizes = filled(bert, [Batch(rows=np.arange(2), inputs=right, labels=None)])
    assert sizes == [7 * PER_TOKEN] and drift(bert, cache, left)[0] < 1e-5


def test_bytes_depend_on_the_texts_alone(bert: BertModel):
    given = batches([0, 1, 2], [3, 4, 0])
    one, other = (filled(bert, given)[0].states(given[1].inputs, CPU) for _ in range(2))
    assert all(
        torch.equal(left, right)
        for left, right in zip((*one.keys, *one.values), (*other.keys, *other.values), strict=True)
    )


def test_texts_are_reported_batch_by_batch(bert: BertModel):
    seen: list[int] = []
    cache = TextCache(batches([0, 1, 2], [3]), SHAPE, torch.float32)
    with torch.no_grad():
        cache.fill(bert, seen.append)
    assert seen == [3, 1]


def test_unknown_text_is_no_state(bert: BertModel):
    cache, _ = filled(bert, batches([0, 1]))
    with pytest.raises(KeyError):
        cache.states(batch_of(TEXTS, LABELS, [5]).inputs, CPU)


def test_batches_are_let_go_of_once_their_texts_are_kept(bert: BertModel):
    cache = TextCache(batches([0, 1]), SHAPE, torch.float32)
    with torch.no_grad():
        cache.fill(bert)
        calls: list[int] = []
        hook = bert.register_forward_hook(lambda *_: calls.append(1))
        cache.fill(bert)
        hook.remove()
    assert not calls
