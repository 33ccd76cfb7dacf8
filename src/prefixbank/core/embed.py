"""Embedding: from batches of token ids and a bank to one vector for each text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from prefixbank.core.attention.prefix_attention import Slots
from prefixbank.core.blocks import BlockBank
from prefixbank.core.combine import Bank
from prefixbank.core.parallel import parallel_map
from prefixbank.core.pooling import Pooling, pool
from prefixbank.core.prompt import PromptVectors, prompted
from prefixbank.core.shapes import Batch

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def encode(
    model: nn.Module,
    inputs: Mapping[str, Tensor],
    slots: Slots | PromptVectors | None,
    *poolings: Pooling,
) -> Tensor:
    """Run one forward pass and pool its hidden states.

    Args:
        model: encoder loaded with our attention.
        inputs: keyword arguments of the model, [B, T] each.
        slots: slots in front of the text, or a soft prompt, which is stripped before pooling; None
            is the plain encoder.
        poolings: how to reduce hidden states, in one way or in several.
    Returns:
        [B, F], the vectors of all ways side by side.
    """
    all_layers = any(pooling.needs_all_layers for pooling in poolings)
    arguments = (
        prompted(model, inputs, slots)
        if isinstance(slots, PromptVectors)
        else {**inputs, "prefix_slots": slots}
    )
    output = model(**arguments, attention_calls=[], output_hidden_states=all_layers)
    states = output.hidden_states if all_layers else (output.last_hidden_state,)
    if isinstance(slots, PromptVectors):
        states = [layer[:, slots.vectors.shape[0] :] for layer in states]
    vectors = [pool(states, inputs["attention_mask"], pooling) for pooling in poolings]
    return vectors[0] if len(vectors) == 1 else torch.cat(vectors, dim=-1)


def embed_batches(
    model: nn.Module,
    batches: Iterable[Batch],
    bank: Bank | BlockBank,
    *,
    count: int,
    precision: str,
    workers: int = 0,
    on_rows: Callable[[int], None] | None = None,
) -> list[np.ndarray]:
    """Return the vectors of all rows, in row order: those of each block of a bank of blocks.

    Args:
        model: encoder loaded with our attention, on its device.
        batches: batches that hold each row 0..count-1 once, in any order.
        bank: prefixes, and how they turn texts into vectors.
        count: N.
        precision: `fp32`, or `bf16`/`fp16` autocast.
        workers: batches computed at a time, each by one thread; 0 computes one after the other,
            with torch's own threads.
        on_rows: called with the number of rows of each finished batch.
    Returns:
        [N, F] float32, one for each block; a bank without blocks has a single one.
    """
    device, dtype = next(model.parameters()).device, DTYPES[precision]
    vectors_of = batch_encoder(bank, model, dtype)

    def run(batch: Batch) -> tuple[np.ndarray, list[np.ndarray]]:
        with (
            torch.inference_mode(),
            torch.autocast(device.type, dtype=dtype, enabled=precision != "fp32"),
        ):
            inputs = {name: tensor.to(device) for name, tensor in batch.inputs.items()}
            return batch.rows, [block.float().cpu().numpy() for block in vectors_of(inputs)]

    vectors: list[np.ndarray] = []
    for rows, blocks in parallel_map(run, batches, workers):
        if not vectors:
            vectors = [np.empty((count, block.shape[1]), dtype=np.float32) for block in blocks]
        for all_rows, block in zip(vectors, blocks, strict=True):
            all_rows[rows] = block
        if on_rows is not None:
            on_rows(len(rows))
    return vectors


def batch_encoder(
    bank: Bank | BlockBank, model: nn.Module, dtype: torch.dtype
) -> Callable[[Mapping[str, Tensor]], Sequence[Tensor]]:
    """Return a function from the inputs of a batch to its vectors [B, F], one for each block.

    Args:
        bank: prefixes, and how they turn texts into vectors.
        model: encoder loaded with our attention, on its device.
        dtype: type of slots.
    """
    if isinstance(bank, BlockBank):
        return bank.to(next(model.parameters()).device, dtype).on(model)
    return merged_encoder(bank, model, dtype)


def merged_encoder(
    bank: Bank, model: nn.Module, dtype: torch.dtype
) -> Callable[[Mapping[str, Tensor]], list[Tensor]]:
    """Return the same for a bank without blocks: the vectors of all passes merged into one."""
    device = next(model.parameters()).device
    slots = [None if one is None else one.to(device, dtype) for one in bank.passes()]
    poolings = [[one.to(device) for one in of_pass] for of_pass in bank.poolings()]
    passes = list(zip(slots, poolings, strict=True))
    return lambda inputs: [
        bank.merge([encode(model, inputs, one, *of_pass) for one, of_pass in passes])
    ]
