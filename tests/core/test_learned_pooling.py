"""Learned pooling beside its definition in plain loops, and in banks of prefixes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import BertModel

from prefixbank.choices import Rule
from prefixbank.core.combine import Bank
from prefixbank.core.embed import encode
from prefixbank.core.layout import layout_of
from prefixbank.core.pooling import Pooling, PoolingWeights, pool
from prefixbank.core.shapes import EncoderShape, ShapeError
from prefixbank.core.training.pooling import TrainablePooling
from prefixbank.errors import UsageError
from tests.core.toys import MEAN, SHAPE, distance, inputs_of, new_prefix

ROWS, TOKENS, SIZE, LAYERS = 4, 6, 12, 3
LENGTHS = (6, 3, 2, 1)
SMALL = EncoderShape(layers=LAYERS, heads=2, kv_heads=2, head_size=6, hidden_size=SIZE)
ATTENTION = replace(MEAN, position="attention")
LEARNED = [
    ATTENTION,
    replace(ATTENTION, heads=4),
    replace(ATTENTION, heads=3, layers="concat_last", last_k=2),
    replace(ATTENTION, layers=(3, 0)),
    replace(ATTENTION, layers="mix"),
    replace(ATTENTION, heads=2, skip_first=True),
    replace(MEAN, layers="mix"),
    replace(MEAN, size=5),
    replace(MEAN, size=9, binary=True),
    replace(MEAN, position=("attention", "last", "cls"), layers="mix", size=7, skip_first=True),
    replace(MEAN, position=("max", "attention"), layers=(1, 2), norm="layer", heads=6),
]
learned = pytest.mark.parametrize("pooling", LEARNED, ids=str)
sides = pytest.mark.parametrize("side", ["right", "left"])


def drawn(pooling: Pooling, seed: int = 0, shape: EncoderShape = SMALL) -> Pooling:
    """The pooling with random weights, far from those that training begins with."""
    parameters = TrainablePooling(pooling, shape, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in parameters.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    weights = {name.removeprefix("pooling."): one for name, one in parameters.snapshot().items()}
    return replace(pooling, weights=PoolingWeights.of(weights))


def begun(pooling: Pooling) -> Pooling:
    """The pooling as training begins."""
    return TrainablePooling(pooling, SMALL, 0)()


def states(seed: int = 1) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(ROWS, TOKENS, SIZE, generator=generator) for _ in range(LAYERS + 1)]


def tokens_of(row: int, side: str) -> slice:
    length = LENGTHS[row]
    return slice(0, length) if side == "right" else slice(TOKENS - length, TOKENS)


def mask_of(side: str) -> Tensor:
    mask = torch.zeros(ROWS, TOKENS, dtype=torch.int64)
    for row in range(ROWS):
        mask[row, tokens_of(row, side)] = 1
    return mask


def numbers(tensor: Tensor | None) -> np.ndarray:
    assert tensor is not None
    return tensor.detach().double().numpy()


def softmax(logits: np.ndarray) -> np.ndarray:
    shares = np.exp(logits - logits.max())
    return shares / shares.sum()


def standard(vector: np.ndarray) -> np.ndarray:
    return (vector - vector.mean()) / np.sqrt(vector.var() + 1e-5)


def attended(tokens: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Definition of attention for the tokens [T, E] of one text and the queries [A, E]."""
    parts = []
    heads = len(queries)
    for head, query in enumerate(queries):
        logits = np.array([query @ standard(token) for token in tokens]) / np.sqrt(SIZE)
        share = slice(head * SIZE // heads, (head + 1) * SIZE // heads)
        weights = softmax(logits)
        parts.append(
            sum(weight * token[share] for weight, token in zip(weights, tokens, strict=True))
        )
    return np.concatenate(parts)


def layers_of(pooling: Pooling) -> list[np.ndarray]:
    """Definition of the layers [B, T, E] that lie side by side."""
    hidden, weights = [numbers(layer) for layer in states()], pooling.weights
    assert weights is not None
    match pooling.layers:
        case "last":
            return hidden[-1:]
        case "concat_last":
            return hidden[-pooling.last_k :]
        case "mix":
            shares = softmax(numbers(weights.mix))
            mixed = sum(share * layer for share, layer in zip(shares, hidden, strict=True))
            return [numbers(weights.scale)[0] * mixed]
        case tuple():
            return [hidden[layer] for layer in pooling.layers]
    raise AssertionError(pooling.layers)


def at_position(position: str, every: np.ndarray, inner: np.ndarray, queries: np.ndarray | None):
    """Definition of a position for the tokens of one text, and those that may be left."""
    match position:
        case "attention":
            assert queries is not None
            return attended(inner, queries)
        case "cls":
            return every[0]
        case "last":
            return inner[-1]
        case "max":
            return inner.max(axis=0)
    return inner.mean(axis=0)


def defined(pooling: Pooling, side: str) -> np.ndarray:
    """The definition, text by text, layer by layer, position by position."""
    weights, rows = pooling.weights, []
    assert weights is not None
    for row in range(ROWS):
        parts = []
        for number, layer in enumerate(layers_of(pooling)):
            every = layer[row, tokens_of(row, side)]
            inner = every[1:] if pooling.skip_first and len(every) > 1 else every
            queries = None if weights.queries is None else numbers(weights.queries)[number]
            parts += [at_position(one, every, inner, queries) for one in pooling.positions]
        joined = np.concatenate(
            [standard(one) if pooling.norm == "layer" else one for one in parts]
        )
        if pooling.size:
            joined = numbers(weights.weight) @ joined + numbers(weights.bias)
        if pooling.binary:
            joined = np.where(joined > 0, 1.0, -1.0)
        rows.append(joined)
    return np.stack(rows)


@sides
@learned
def test_pool_follows_its_definition(pooling: Pooling, side: str):
    pooling = drawn(pooling)
    found = pool(states(), mask_of(side), pooling)
    np.testing.assert_allclose(found, defined(pooling, side), atol=1e-5)
    assert found.shape == (ROWS, pooling.output_size(SIZE))


@learned
def test_padding_changes_nothing(pooling: Pooling):
    pooling, mask = drawn(pooling), mask_of("right")
    noisy = [layer.masked_fill(mask.unsqueeze(-1) == 0, 1e6) for layer in states()]
    assert torch.equal(pool(noisy, mask, pooling), pool(states(), mask, pooling))


@pytest.mark.parametrize("heads", [1, 3])
def test_attention_begins_as_the_mean(heads: int):
    mask, attention = mask_of("left"), begun(replace(ATTENTION, heads=heads))
    assert distance(pool(states(), mask, attention), pool(states(), mask, MEAN)) < 1e-6


def test_mix_begins_as_the_mean_of_all_layers():
    mask, of_all = mask_of("right"), replace(MEAN, layers="mean_last", last_k=LAYERS + 1)
    mixed = pool(states(), mask, begun(replace(MEAN, layers="mix")))
    assert distance(mixed, pool(states(), mask, of_all)) < 1e-6


def test_attention_tells_states_of_any_size_apart():
    pooling, mask = drawn(ATTENTION), mask_of("right")
    large = [1000 * layer for layer in states()]
    found = pool(large, mask, pooling) / 1000
    np.testing.assert_allclose(found, pool(states(), mask, pooling), atol=1e-4)


@pytest.mark.parametrize("pooling", [one for one in LEARNED if not one.binary], ids=str)
def test_everything_that_is_learned_has_a_gradient_that_differences_confirm(pooling: Pooling):
    parameters = TrainablePooling(pooling, SMALL, 0).double()
    hidden, mask = [layer.double() for layer in states()], mask_of("left")

    def loss() -> Tensor:
        return pool(hidden, mask, parameters()).square().sum()

    loss().backward()
    for parameter in parameters.parameters():
        assert parameter.grad is not None
        flat, gradient = parameter.data.view(-1), parameter.grad.view(-1)
        for index in range(0, len(flat), max(1, len(flat) // 3)):
            with torch.no_grad():
                flat[index] += 1e-6
                above = loss().item()
                flat[index] -= 2e-6
                below = loss().item()
                flat[index] += 1e-6
            difference = (above - below) / 2e-6
            assert gradient[index].item() == pytest.approx(difference, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(
    ("pooling", "names"),
    [
        (MEAN, set()),
        (ATTENTION, {"queries"}),
        (replace(MEAN, layers="mix"), {"mix", "scale"}),
        (replace(MEAN, size=3), {"weight", "bias"}),
    ],
    ids=["fixed", "attention", "mix", "size"],
)
def test_only_what_is_used_is_learned(pooling: Pooling, names: set[str]):
    parameters = TrainablePooling(pooling, SMALL, 0)
    assert {name for name, _ in parameters.named_parameters()} == names
    assert pooling.is_learned == bool(names)


def test_projection_depends_on_the_seed_and_on_no_random_state():
    first, again, other = (
        TrainablePooling(replace(MEAN, size=3), SMALL, seed).weight for seed in (0, 0, 1)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_heads_that_do_not_divide_the_features_are_refused():
    with pytest.raises(ShapeError) as caught:
        TrainablePooling(replace(ATTENTION, heads=5), SMALL, 0)
    assert str(caught.value).splitlines() == [
        "error: pooling.heads=5 for an encoder of size 12",
        "expected: a number that divides 12: each head has its share of the features",
        "fix: pooling.heads=4",
    ]


def test_pooling_without_its_weights_is_a_fault():
    with pytest.raises(ValueError, match="no weights"):
        pool(states(), mask_of("right"), ATTENTION)


@pytest.mark.parametrize("position", ["mean", "max", "last", "cls"])
def test_first_token_is_left_out_of_texts_that_have_others(position: str):
    pooling, mask = replace(MEAN, position=position), mask_of("left")
    found = pool(states(), mask, replace(pooling, skip_first=True))
    hidden = numbers(states()[-1])
    for row in range(ROWS):
        tokens = hidden[row, tokens_of(row, "left")]
        inner = tokens[1:] if len(tokens) > 1 else tokens
        wanted = {
            "mean": inner.mean(axis=0),
            "max": inner.max(axis=0),
            "last": inner[-1],
            "cls": tokens[0],
        }[position]
        np.testing.assert_allclose(found[row], wanted, atol=1e-6)


# Banks.

POOLINGS = [
    replace(MEAN, position=("attention", "mean"), heads=2),
    replace(MEAN, layers="mix", size=5),
]
poolings = pytest.mark.parametrize("pooling", POOLINGS, ids=["attention", "mix and size"])


def bank_of(pooling: Pooling, rule: Rule, weights: tuple[float, ...]) -> Bank:
    return Bank(
        prefixes=tuple(new_prefix(seed=seed) for seed in range(len(weights))),
        weights=weights,
        rule=rule,
        pooling=pooling,
        learned=tuple(
            drawn(pooling, seed, SHAPE).weights or PoolingWeights() for seed in range(len(weights))
        ),
    )


def vectors(bert: BertModel, bank: Bank) -> Tensor:
    inputs = inputs_of((6, 3))
    with torch.no_grad():
        passes = zip(bank.passes(), bank.poolings(), strict=True)
        return bank.merge([encode(bert, inputs, slots, *each) for slots, each in passes])


def alone(bert: BertModel, bank: Bank, index: int) -> Tensor:
    """The vector of a prefix as it was in training."""
    own = replace(bank.pooling, weights=bank.learned[index])
    with torch.no_grad():
        return encode(bert, inputs_of((6, 3)), bank.prefixes[index].slots(), own)


@poolings
@pytest.mark.parametrize("rule", ["concat_prefixes", "concat_vectors"])
def test_bank_of_one_prefix_equals_that_prefix(bert: BertModel, pooling: Pooling, rule: Rule):
    bank = bank_of(pooling, rule, (1.0,))
    assert distance(vectors(bert, bank), alone(bert, bank, 0)) < 1e-6


@poolings
def test_vectors_side_by_side_are_each_pooled_with_their_own_weights(
    bert: BertModel, pooling: Pooling
):
    bank = bank_of(pooling, "concat_vectors", (1.0, 0.0, 1.0))
    wanted = torch.cat([alone(bert, bank, 0), alone(bert, bank, 2)], dim=1)
    assert distance(vectors(bert, bank), wanted) < 1e-6 and bank.views == 2


def test_mean_of_vectors_is_that_of_each_pooled_with_its_own_weights(bert: BertModel):
    bank = bank_of(POOLINGS[0], "mean_vectors", (1.0, 3.0))
    wanted = (alone(bert, bank, 0) + 3 * alone(bert, bank, 1)) / 4
    assert distance(vectors(bert, bank), wanted) < 1e-6 and bank.views == 1


@poolings
def test_one_pass_is_pooled_with_the_weights_of_each_prefix(bert: BertModel, pooling: Pooling):
    bank = bank_of(pooling, "concat_prefixes", (0.5, 0.0, 0.5))
    (slots,) = bank.passes()
    with torch.no_grad():
        parts = [
            encode(bert, inputs_of((6, 3)), slots, replace(pooling, weights=bank.learned[index]))
            for index in (0, 2)
        ]
    assert distance(vectors(bert, bank), torch.cat(parts, dim=1)) < 1e-6 and bank.views == 2


@pytest.mark.parametrize(
    ("rule", "weights", "what"),
    [
        ("mean_prefixes", (1.0, 1.0), "mean_prefixes with learned pooling"),
        ("mean_vectors", (1.0, 1.0), "mean_vectors with pooling.size=5"),
        ("concat_prefixes", (0.0, 0.0), r"weights \[0.0, 0.0\] with learned pooling"),
    ],
)
def test_what_means_nothing_is_refused(rule: Rule, weights: tuple[float, ...], what: str):
    with pytest.raises(UsageError, match=what):
        bank_of(POOLINGS[1], rule, weights)


@poolings
@pytest.mark.parametrize("pairs", ["joint", "both"])
def test_layout_is_as_large_as_the_vector(pooling: Pooling, pairs):
    readings = {"joint": 1, "both": 5}[pairs]
    layout = layout_of(pooling, pairs=pairs, layers=LAYERS, hidden_size=SIZE, passes=2)
    assert layout.size == readings * 2 * pooling.output_size(SIZE)
    assert layout.readings == (("joint",) if pairs == "joint" else ("joint", "separate"))
