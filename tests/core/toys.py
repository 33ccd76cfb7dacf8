"""A small random encoder, token ids, prefixes and a task that a prefix can learn.

What the tests of `core` share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AlbertConfig, AlbertModel, BertConfig, BertModel

from prefixbank.core.attention.prefix_attention import ATTENTION, Slots
from prefixbank.core.pooling import Pooling
from prefixbank.core.prefix import Prefix, PrefixStart
from prefixbank.core.readout import Readout
from prefixbank.core.shapes import Batch, EncoderShape
from prefixbank.core.training.settings import FitSettings, TaskSettings

SHAPE = EncoderShape(layers=3, heads=4, kv_heads=4, head_size=8, hidden_size=32)
WORDS = 60
MEAN = Pooling(position="mean", layers="last", last_k=1, layer=0)
CLS = replace(MEAN, position="cls")
START = PrefixStart(
    length=4,
    init_scale=0.5,
    projection="none",
    mlp_hidden_size=16,
    gated=False,
    gate_init=0.0,
    dropout=0.0,
)
SETTINGS = FitSettings(
    tasks=(TaskSettings(kind="classification", metric="accuracy", num_outputs=2),),
    start=START,
    pooling=MEAN,
    task_embedding_fraction=0.1,
    lr=3e-2,
    head_lr=1e-2,
    weight_decay=0.0,
    schedule="linear",
    warmup_ratio=0.1,
    epochs=2,
    gradient_accumulation_steps=1,
    max_grad_norm=1.0,
    early_stopping_patience=0,
    precision="fp32",
    gradient_checkpointing=False,
    seed=0,
)


def new_bert(attention: str = ATTENTION) -> BertModel:
    """BERT of `SHAPE` with random weights, always the same, frozen."""
    config = BertConfig(
        vocab_size=WORDS,
        hidden_size=SHAPE.hidden_size,
        num_hidden_layers=SHAPE.layers,
        num_attention_heads=SHAPE.heads,
        intermediate_size=48,
        max_position_embeddings=40,
        initializer_range=0.2,
        attn_implementation=attention,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = BertModel(config, add_pooling_layer=False)
    return model.eval().requires_grad_(False)


def new_albert() -> AlbertModel:
    """ALBERT of three layers that share their weights."""
    config = AlbertConfig(
        vocab_size=WORDS,
        embedding_size=16,
        hidden_size=SHAPE.hidden_size,
        num_hidden_layers=SHAPE.layers,
        num_attention_heads=SHAPE.heads,
        intermediate_size=48,
        max_position_embeddings=40,
        attn_implementation=ATTENTION,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AlbertModel(config, add_pooling_layer=False)
    return model.eval().requires_grad_(False)


def inputs_of(
    lengths: Sequence[int], *, width: int = 0, side: str = "right", seed: int = 0
) -> dict[str, Tensor]:
    """Random token ids [B, T] of the given lengths.

    Padding is id 0, positions count from each text's first token.
    """
    generator = np.random.default_rng(seed)
    width = width or max(lengths)
    names = ("input_ids", "attention_mask", "position_ids")
    out = {name: np.zeros((len(lengths), width), dtype=np.int64) for name in names}
    for row, length in enumerate(lengths):
        place = slice(0, length) if side == "right" else slice(width - length, width)
        out["input_ids"][row, place] = generator.integers(5, WORDS, length)
        out["attention_mask"][row, place] = 1
        out["position_ids"][row, place] = np.arange(length)
    return {name: torch.from_numpy(values) for name, values in out.items()}


def new_prefix(
    seed: int = 0, *, length: int = 4, gated: bool = False, shape: EncoderShape = SHAPE
) -> Prefix:
    """A random prefix of fixed values."""
    generator = torch.Generator().manual_seed(seed)
    tensor = torch.randn(shape.prefix_shape(length), generator=generator)
    return Prefix(
        tensor=tensor,
        log_gate=torch.randn(shape.layers, shape.kv_heads, generator=generator) if gated else None,
    )


def new_readout(
    seed: int = 0,
    *,
    count: int = 2,
    length: int = 3,
    size: int = 0,
    joined: bool = False,
    normalised: bool = True,
    shape: EncoderShape = SHAPE,
    vector_size: int = SHAPE.hidden_size,
) -> Readout:
    """Random read-outs of fixed values.

    With `size`, a projection of their mean, or of all of them side by side if `joined`.
    """
    generator = torch.Generator().manual_seed(seed)
    inputs = shape.hidden_size * (count if joined else 1)
    vectors = torch.randn(count, vector_size, generator=generator)
    slots = torch.randn(shape.prefix_shape(length), generator=generator)
    if not size:
        return Readout(vectors=vectors, slots=slots, normalised=normalised)
    return Readout(
        vectors=vectors,
        slots=slots,
        normalised=normalised,
        weight=torch.randn(size, inputs, generator=generator) / inputs**0.5,
        bias=torch.randn(size, generator=generator),
    )


def run(
    model: nn.Module, inputs: Mapping[str, Tensor], slots: Slots | None = None, **keywords: Any
) -> Tensor:
    """Last hidden states [B, T, E]."""
    with torch.no_grad():
        states: Tensor = model(
            **inputs, prefix_slots=slots, attention_calls=[], **keywords
        ).last_hidden_state
    return states


def texts_of(rows: int, seed: int) -> tuple[list[list[int]], np.ndarray]:
    """Token ids of `rows` texts of 4 to 9 tokens, and the class of each.

    Whether word 10 (class 0) or word 11 (class 1) is in it.
    """
    generator = np.random.default_rng(seed)
    classes = generator.integers(0, 2, rows)
    texts = []
    for number in classes:
        text = generator.integers(20, WORDS, int(generator.integers(3, 9))).tolist()
        text.insert(int(generator.integers(0, len(text) + 1)), 10 + int(number))
        texts.append([2, *text])
    return texts, classes


def batch_of(texts: Sequence[Sequence[int]], labels: np.ndarray, rows: Sequence[int]) -> Batch:
    """The given rows, padded on the right to the longest."""
    ids = np.zeros((len(rows), max(len(texts[row]) for row in rows)), dtype=np.int64)
    for place, row in enumerate(rows):
        ids[place, : len(texts[row])] = texts[row]
    inputs = {
        "input_ids": torch.from_numpy(ids),
        "attention_mask": torch.from_numpy((ids > 0).astype(np.int64)),
    }
    numbers = np.asarray(rows)
    return Batch(rows=numbers, inputs=inputs, labels=torch.from_numpy(labels[numbers]))


def epochs_of(
    texts: Sequence[Sequence[int]], labels: np.ndarray, batch_size: int
) -> Callable[[int], list[Batch]]:
    """Batches of an epoch in an order that depends on its number alone."""

    def batches(epoch: int) -> list[Batch]:
        order = np.random.default_rng(epoch).permutation(len(texts)).tolist()
        return [
            batch_of(texts, labels, order[start : start + batch_size])
            for start in range(0, len(order), batch_size)
        ]

    return batches


def state_bytes(module: nn.Module) -> bytes:
    """Every parameter and buffer of a module, as bytes."""
    return b"".join(
        tensor.detach().cpu().contiguous().numpy().tobytes()
        for tensor in module.state_dict().values()
    )


def distance(one: Tensor, other: Tensor) -> float:
    """Largest absolute difference."""
    return float((one - other).detach().abs().max())
