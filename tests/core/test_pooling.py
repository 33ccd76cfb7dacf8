"""Pooling of hidden states whose numbers can be read.

Layer, row, position and feature are decimal digits.
"""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from transformers import BertModel

from prefixbank.choices import PoolingLayers, PoolingPosition
from prefixbank.core.pooling import Pooling, pool
from prefixbank.core.shapes import ShapeError
from tests.core.toys import MEAN, inputs_of, new_prefix

ROWS, TOKENS, SIZE, LAYERS = 3, 5, 2, 4
LENGTHS = (5, 3, 1)
POSITIONS = [one for one in get_args(PoolingPosition) if one != "attention"]
FIXED = [one for one in get_args(PoolingLayers) if one != "mix"]


def states() -> list[torch.Tensor]:
    """LAYERS + 1 tensors [B, T, E].

    Value 1000·layer + 100·row + 10·position + feature, negative in odd features.
    """
    layer, row, place, feature = np.ogrid[: LAYERS + 1, :ROWS, :TOKENS, :SIZE]
    values = (1000 * layer + 100 * row + 10 * place + feature) * np.where(feature % 2, -1, 1)
    return list(torch.from_numpy(values.astype(np.float32)))


def tokens_of(side: str) -> list[slice]:
    return [
        slice(0, length) if side == "right" else slice(TOKENS - length, TOKENS)
        for length in LENGTHS
    ]


def mask_of(side: str) -> torch.Tensor:
    mask = torch.zeros(ROWS, TOKENS, dtype=torch.int64)
    for row, place in enumerate(tokens_of(side)):
        mask[row, place] = 1
    return mask


def expected(pooling: Pooling, side: str) -> np.ndarray:
    """The definition, row by row."""
    hidden = np.stack([tensor.numpy() for tensor in states()]).astype(np.float64)
    last = hidden[-pooling.last_k :]
    layers = {
        "last": hidden[-1],
        "mean_last": last.mean(axis=0),
        "concat_last": np.concatenate(list(last), axis=-1),
    }
    chosen = layers.get(pooling.layers, hidden[pooling.layer])
    reduce = {
        "cls": lambda x: x[0],
        "last": lambda x: x[-1],
        "mean": lambda x: x.mean(axis=0),
        "max": lambda x: x.max(axis=0),
    }
    return np.stack(
        [reduce[pooling.position](chosen[row, place]) for row, place in enumerate(tokens_of(side))]
    )


SEVERAL = [
    Pooling(position=("mean", "last"), layers="last", last_k=1, layer=0),
    Pooling(position=("last", "cls", "max"), layers="concat_last", last_k=2, layer=0),
    Pooling(position=("max", "mean"), layers="mean_last", last_k=3, layer=0),
    Pooling(position="cls", layers=(4, 0, 2), last_k=1, layer=0),
    Pooling(position=("mean",), layers=(3,), last_k=1, layer=0),
    Pooling(position=("mean", "cls"), layers=(1, 3), last_k=1, layer=0),
]
"""Poolings of several layers or positions."""


def combinations(pooling: Pooling) -> list[Pooling]:
    """Poolings of one layer and position, in the order in which they lie side by side."""
    ranges = {"last": [None], "mean_last": [None], "single": [pooling.layer]}
    last = range(LAYERS + 1 - pooling.last_k, LAYERS + 1)
    layers = (
        pooling.layers if isinstance(pooling.layers, tuple) else ranges.get(pooling.layers, last)
    )
    positions = (pooling.position,) if isinstance(pooling.position, str) else pooling.position
    return [
        replace(
            pooling,
            position=position,
            layers=pooling.layers if layer is None else "single",
            layer=layer or 0,
        )
        for layer in layers
        for position in positions
    ]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("layers", FIXED)
@pytest.mark.parametrize("position", POSITIONS)
def test_pool_follows_its_definition(position: PoolingPosition, layers: PoolingLayers, side: str):
    pooling = Pooling(position=position, layers=layers, last_k=3, layer=2)
    np.testing.assert_allclose(
        pool(states(), mask_of(side), pooling), expected(pooling, side), rtol=1e-6
    )


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("pooling", SEVERAL, ids=str)
def test_several_lie_layer_by_layer_and_in_a_layer_position_by_position(
    pooling: Pooling, side: str
):
    alone = [expected(one, side) for one in combinations(pooling)]
    pooled = pool(states(), mask_of(side), pooling)
    np.testing.assert_allclose(pooled, np.hstack(alone), rtol=1e-6)
    assert pooled.shape == (ROWS, pooling.output_size(SIZE))


@pytest.mark.parametrize("pooling", SEVERAL, ids=str)
def test_layers_are_named_in_the_order_in_which_they_lie(pooling: Pooling):
    alone = combinations(pooling)[:: len(pooling.positions)]
    named = {"last": LAYERS, "mean_last": None}
    wanted = [named[one.layers] if one.layers in named else one.layer for one in alone]
    assert list(pooling.layers_of(LAYERS)) == wanted


@pytest.mark.parametrize("pooling", SEVERAL, ids=str)
def test_norm_scales_each_layer_at_each_position(pooling: Pooling):
    parts = [
        torch.randn(ROWS, TOKENS, 6, generator=torch.Generator().manual_seed(seed))
        for seed in range(LAYERS + 1)
    ]
    raw = pool(parts, mask_of("right"), pooling).numpy().astype(np.float64)
    wanted = [
        (part - part.mean(axis=1, keepdims=True)) / np.sqrt(part.var(axis=1, keepdims=True) + 1e-5)
        for part in np.split(raw, raw.shape[1] // 6, axis=1)
    ]
    found = pool(parts, mask_of("right"), replace(pooling, norm="layer"))
    np.testing.assert_allclose(found, np.hstack(wanted), atol=1e-5)


def test_single_item_in_a_list_is_that_item():
    listed = Pooling(position=("mean",), layers=(2,), last_k=1, layer=0)
    alone = Pooling(position="mean", layers="single", last_k=1, layer=2)
    mask = mask_of("right")
    assert torch.equal(pool(states(), mask, listed), pool(states(), mask, alone))


def test_layer_that_does_not_exist_is_refused_by_name():
    pooling = Pooling(position="mean", layers=(1, 5, 9), last_k=1, layer=0)
    with pytest.raises(ShapeError) as caught:
        pool(states(), mask_of("right"), pooling)
    assert str(caught.value).splitlines() == [
        "error: pooling.layers=[1,5,9] of an encoder with 4 layers",
        "expected: numbers from 0, the embedding layer, to 4",
        "fix: 'pooling.layers=[1]'",
    ]


@pytest.mark.parametrize("position", POSITIONS)
def test_pool_ignores_what_padding_holds(position: PoolingPosition):
    pooling = replace(MEAN, position=position)
    mask = mask_of("right")
    noisy = states()[-1].masked_fill(mask.unsqueeze(-1) == 0, 1e6)
    np.testing.assert_array_equal(pool([noisy], mask, pooling), pool(states(), mask, pooling))


def test_layer_zero_is_the_embedding_layer():
    pooled = pool(
        states(), mask_of("right"), Pooling(position="cls", layers="single", last_k=1, layer=0)
    )
    assert pooled[:, 0].tolist() == [0.0, 100.0, 200.0]


def test_layers_lie_side_by_side_in_the_order_of_the_encoder():
    pooled = pool(
        states(), mask_of("right"), Pooling(position="cls", layers="concat_last", last_k=2, layer=0)
    )
    assert pooled[0].tolist() == [3000.0, -3001.0, 4000.0, -4001.0]


@pytest.mark.parametrize("layers", FIXED)
def test_output_size_is_the_size_of_a_vector(layers: PoolingLayers):
    pooling = Pooling(position="mean", layers=layers, last_k=3, layer=1)
    assert pool(states(), mask_of("right"), pooling).shape == (ROWS, pooling.output_size(SIZE))


@pytest.mark.parametrize("layers", FIXED)
def test_all_layers_are_asked_for_only_where_needed(layers: PoolingLayers):
    assert Pooling(position="mean", layers=layers, last_k=1, layer=0).needs_all_layers == (
        layers != "last"
    )


@pytest.mark.parametrize(
    "pooling",
    [
        Pooling(position="mean", layers="mean_last", last_k=LAYERS + 2, layer=0),
        Pooling(position="mean", layers="concat_last", last_k=LAYERS + 2, layer=0),
        Pooling(position="mean", layers="single", last_k=1, layer=LAYERS + 1),
    ],
    ids=lambda pooling: pooling.layers,
)
def test_more_layers_than_there_are_is_refused(pooling: Pooling):
    with pytest.raises(
        ShapeError, match="needs 6 layers of hidden states, the encoder has 5"
    ) as caught:
        pool(states(), mask_of("right"), pooling)
    assert "pooling.layer=4" in caught.value.fix


@pytest.mark.parametrize("layers", ["mean_last", "concat_last", "single"])
def test_all_layers_and_the_embedding_layer_are_allowed(layers: PoolingLayers):
    pooling = Pooling(position="mean", layers=layers, last_k=LAYERS + 1, layer=LAYERS)
    np.testing.assert_allclose(
        pool(states(), mask_of("left"), pooling), expected(pooling, "left"), rtol=1e-6
    )


def test_last_of_the_encoder_s_hidden_states_is_its_output(bert: BertModel):
    with torch.no_grad():
        output = bert(
            **inputs_of((6, 3)),
            prefix_slots=new_prefix().slots(),
            attention_calls=[],
            output_hidden_states=True,
        )
    assert len(output.hidden_states) == bert.config.num_hidden_layers + 1
    assert torch.equal(output.hidden_states[-1], output.last_hidden_state)
