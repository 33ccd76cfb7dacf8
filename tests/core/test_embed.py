"""Embedding: rows in, vectors out, whatever the batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from transformers import BertModel

from prefixbank.choices import Rule
from prefixbank.core.combine import Bank
from prefixbank.core.embed import embed_batches, encode
from prefixbank.core.pooling import Pooling
from prefixbank.core.shapes import Batch
from tests.core.toys import (
    CLS,
    MEAN,
    batch_of,
    distance,
    inputs_of,
    new_prefix,
    run,
    state_bytes,
    texts_of,
)

TEXTS, _ = texts_of(11, seed=0)
LABELS = np.zeros(11, np.int64)
SHUFFLED = ((3, 10, 0, 7), (1,), (9, 2, 8), (6, 5, 4))


def bank_of(rule: Rule = "concat_prefixes", *, count: int = 2, pooling: Pooling = MEAN) -> Bank:
    prefixes = tuple(new_prefix(seed, gated=seed == 1) for seed in range(count))
    return Bank(
        prefixes=prefixes, weights=(1.0 / max(1, count),) * count, rule=rule, pooling=pooling
    )


def batches(groups: Sequence[Sequence[int]] = SHUFFLED) -> list[Batch]:
    return [batch_of(TEXTS, LABELS, rows) for rows in groups]


def embed(
    model: BertModel,
    bank: Bank,
    groups: Sequence[Sequence[int]] = SHUFFLED,
    precision: str = "fp32",
) -> np.ndarray:
    (vectors,) = embed_batches(model, batches(groups), bank, count=11, precision=precision)
    return vectors


@pytest.mark.parametrize("rule", get_args(Rule))
def test_embed_equals_encoding_row_by_row_in_row_order(bert: BertModel, rule: Rule):
    bank = bank_of(rule)
    with torch.no_grad():
        rows = [batch_of(TEXTS, LABELS, [row]).inputs for row in range(11)]
        alone = [
            bank.merge([encode(bert, inputs, slots, MEAN) for slots in bank.passes()])[0].numpy()
            for inputs in rows
        ]
    np.testing.assert_allclose(embed(bert, bank), np.stack(alone), atol=1e-5)


@pytest.mark.parametrize(
    "pooling",
    [MEAN, replace(MEAN, layers="concat_last", last_k=2)],
    ids=["last layer", "two layers"],
)
def test_number_of_workers_changes_no_byte(bert: BertModel, pooling: Pooling):
    groups = [[row] for row in range(11)]
    (one,), (three,) = (
        embed_batches(
            bert,
            batches(groups),
            bank_of(pooling=pooling),
            count=11,
            precision="fp32",
            workers=workers,
        )
        for workers in (1, 3)
    )
    assert one.tobytes() == three.tobytes()


def test_vectors_are_single_precision_with_a_row_for_each_text(bert: BertModel):
    vectors = embed(bert, bank_of())
    assert vectors.dtype == np.float32 and vectors.shape == (11, 32)


def test_bank_without_prefixes_embeds_with_the_plain_encoder(bert: BertModel):
    inputs = batch_of(TEXTS, LABELS, range(11)).inputs
    np.testing.assert_allclose(
        embed(bert, bank_of(count=0, pooling=CLS)), run(bert, inputs)[:, 0], atol=1e-5
    )


@pytest.mark.parametrize("side", ["right", "left"])
def test_side_of_padding_changes_no_vector(bert: BertModel, side: str):
    alone, padded = inputs_of((5,)), inputs_of((5,), width=12, side=side)
    slots = new_prefix().slots()
    with torch.no_grad():
        difference = distance(encode(bert, alone, slots, MEAN), encode(bert, padded, slots, MEAN))
    assert difference < 1e-5


@pytest.mark.parametrize("rule", ["concat_vectors", "mean_vectors"])
def test_rule_over_vectors_runs_the_encoder_once_for_each_prefix(bert: BertModel, rule: Rule):
    assert count_passes(bert, bank_of(rule, count=3)) == 3 * len(SHUFFLED)


@pytest.mark.parametrize("rule", ["concat_prefixes", "mean_prefixes"])
def test_rule_over_prefixes_runs_the_encoder_once(bert: BertModel, rule: Rule):
    assert count_passes(bert, bank_of(rule, count=3)) == len(SHUFFLED)


def count_passes(model: BertModel, bank: Bank) -> int:
    passes: list[int] = []
    hook = model.register_forward_hook(lambda *_: passes.append(1))
    embed(model, bank)
    hook.remove()
    return len(passes)


@pytest.mark.parametrize("rule", ["concat_vectors", "mean_vectors"])
def test_rule_over_vectors_joins_the_vectors_of_each_bank_of_one(bert: BertModel, rule: Rule):
    bank = bank_of(rule, count=3)
    each = [
        embed(bert, replace(bank, prefixes=(prefix,), weights=(1.0,))) for prefix in bank.prefixes
    ]
    expected = np.mean(each, axis=0) if rule == "mean_vectors" else np.concatenate(each, axis=1)
    np.testing.assert_allclose(embed(bert, bank), expected, atol=1e-5)


@pytest.mark.parametrize("layer", [0, 2])
def test_pooling_of_an_inner_layer_reads_that_layer(bert: BertModel, layer: int):
    pooling = Pooling(position="cls", layers="single", last_k=1, layer=layer)
    inputs = batch_of(TEXTS, LABELS, range(11)).inputs
    with torch.no_grad():
        states = bert(
            **inputs,
            prefix_slots=bank_of(count=1).passes()[0],
            attention_calls=[],
            output_hidden_states=True,
        ).hidden_states
    np.testing.assert_allclose(
        embed(bert, bank_of(count=1, pooling=pooling)), states[layer][:, 0], atol=1e-5
    )


def test_half_precision_stays_near_single_precision(bert: BertModel):
    single, half = embed(bert, bank_of()), embed(bert, bank_of(), precision="bf16")
    assert (
        half.dtype == np.float32 and 0 < np.abs(half - single).max() < 0.15 * np.abs(single).max()
    )


def test_rows_are_reported_batch_by_batch(bert: BertModel):
    seen: list[int] = []
    embed_batches(bert, batches(), bank_of(), count=11, precision="fp32", on_rows=seen.append)
    assert seen == [4, 1, 3, 3]


def test_no_batches_give_no_vectors(bert: BertModel):
    assert embed_batches(bert, [], bank_of(), count=0, precision="fp32") == []


def test_embedding_leaves_the_encoder_alone(bert: BertModel):
    before = state_bytes(bert)
    embed(bert, bank_of())
    assert state_bytes(bert) == before
