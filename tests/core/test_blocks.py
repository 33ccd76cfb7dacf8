"""Banks of read-outs: the plain vector, and each source's block whichever others are there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import BertModel
from transformers.models.bert.modeling_bert import BertEncoder

from prefixbank.core.blocks import BlockBank, BlockEncoder
from prefixbank.core.combine import Bank
from prefixbank.core.embed import embed_batches
from prefixbank.core.pooling import Pooling
from prefixbank.core.readout import Readout
from tests.core.toys import (
    CLS,
    MEAN,
    batch_of,
    distance,
    inputs_of,
    new_readout,
    texts_of,
)

LENGTHS = (6, 3, 1)
SOURCES = (
    new_readout(0, count=2, length=3),
    new_readout(1, count=2, length=0),
    new_readout(2, count=1, length=4, size=5),
    new_readout(3, count=3, length=1, size=7, joined=True),
    new_readout(4, count=2, length=3, size=4),
)
POOLINGS = {
    "mean": MEAN,
    "first": CLS,
    "two layers": replace(MEAN, layers="concat_last", last_k=2),
    "inner layer": replace(MEAN, layers="single", layer=1),
}


def encoded(model: BertModel, *readouts: Readout, plain: Pooling | None = None) -> list[Tensor]:
    with torch.no_grad():
        return BlockBank(readouts=readouts, plain=plain).encode(model, inputs_of(LENGTHS))


def embedded(
    model: BertModel, bank: Bank | BlockBank, *, precision: str = "fp32", workers: int = 0
) -> list[np.ndarray]:
    texts, classes = texts_of(9, seed=0)
    batches = [batch_of(texts, classes, rows) for rows in ([3, 0, 8, 5], [1], [2, 7, 6, 4])]
    return embed_batches(model, batches, bank, count=9, precision=precision, workers=workers)


def test_block_has_the_same_bits_alone_and_beside_others(bert: BertModel):
    together = encoded(bert, *SOURCES, plain=MEAN)[1:]
    for found, source in zip(together, SOURCES, strict=True):
        assert torch.equal(found, encoded(bert, source)[0])


@pytest.mark.parametrize("order", [(4, 3, 2, 1, 0), (1, 4, 0), (2, 0, 1, 3)])
def test_order_and_choice_of_sources_change_no_bit(bert: BertModel, order: tuple[int, ...]):
    whole = encoded(bert, *SOURCES)
    found = encoded(bert, *(SOURCES[index] for index in order))
    assert all(torch.equal(one, whole[index]) for one, index in zip(found, order, strict=True))


@pytest.mark.parametrize("pooling", POOLINGS.values(), ids=POOLINGS.keys())
def test_plain_vector_has_the_bits_of_the_plain_encoder(bert: BertModel, pooling: Pooling):
    empty = Bank(prefixes=(), weights=(), rule="concat_prefixes", pooling=pooling)
    (expected,) = embedded(bert, empty)
    for sources in ((), SOURCES[:1], SOURCES):
        found = embedded(bert, BlockBank(readouts=sources, plain=pooling))
        assert found[0].tobytes() == expected.tobytes() and len(found) == 1 + len(sources)


def test_bank_without_the_plain_vector_has_the_same_blocks(bert: BertModel):
    with_plain, without = encoded(bert, *SOURCES, plain=MEAN), encoded(bert, *SOURCES)
    assert len(without) == len(SOURCES)
    assert all(torch.equal(one, other) for one, other in zip(with_plain[1:], without, strict=True))


def test_sources_run_together_give_the_blocks_of_each_alone(bert: BertModel):
    """What an accelerator does, which multiplies those with as many read-outs together."""
    bank = BlockBank(readouts=SOURCES, plain=None)
    with torch.no_grad():
        found = BlockEncoder(bert, bank, apart=False)(inputs_of(LENGTHS))
    for block, source in zip(found, SOURCES, strict=True):
        assert distance(block, encoded(bert, source)[0]) < 1e-5


def test_sizes_of_blocks_are_those_of_the_projections(bert: BertModel):
    assert [found.shape for found in encoded(bert, *SOURCES, plain=MEAN)] == [
        (3, size) for size in (32, 32, 32, 5, 7, 4)
    ]


def test_texts_are_encoded_once_and_read_by_all_that_have_as_many_readouts(bert: BertModel):
    shapes: list[tuple[int, int]] = []
    hook = nn.modules.module.register_module_forward_hook(
        lambda module, given, output: (
            shapes.append(tuple(output.last_hidden_state.shape[:2]))
            if isinstance(module, BertEncoder)
            else None
        )
    )
    encoded(bert, *SOURCES, plain=MEAN)
    hook.remove()
    assert shapes == [(3, 6), (9, 2), (3, 1), (3, 3)]


def test_embedding_is_that_of_each_row_alone(bert: BertModel):
    texts, classes = texts_of(9, seed=0)
    bank = BlockBank(readouts=SOURCES, plain=MEAN)
    found = embedded(bert, bank)
    for row in range(9):
        with torch.no_grad():
            alone = bank.encode(bert, batch_of(texts, classes, [row]).inputs)
        for block, expected in zip(found, alone, strict=True):
            np.testing.assert_allclose(block[row], expected[0], atol=1e-5)


def test_number_of_workers_changes_no_byte(bert: BertModel):
    bank = BlockBank(readouts=SOURCES, plain=MEAN)
    one, three = (embedded(bert, bank, workers=workers) for workers in (1, 3))
    assert all(block.tobytes() == other.tobytes() for block, other in zip(one, three, strict=True))


def test_half_precision_stays_near_single_precision(bert: BertModel):
    bank = BlockBank(readouts=SOURCES, plain=MEAN)
    for half, single in zip(
        embedded(bert, bank, precision="bf16"), embedded(bert, bank), strict=True
    ):
        assert half.dtype == np.float32
        assert 0 < np.abs(half - single).max() < 0.2 * np.abs(single).max()
