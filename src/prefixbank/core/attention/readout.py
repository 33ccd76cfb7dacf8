"""Read-out attention: the read-outs of a source task attend to a text, which stays as it is.

The text passes the encoder alone, and its keys and values are recorded. A second pass runs the
read-outs through the same layers. Each attends to the text's recorded keys and values, to the slots
of its task and to the read-outs of its task. Nothing attends to a read-out but those of its own
task, so tasks cannot change each other.

Related: Chang et al. 2023 (2210.05043), Bowman et al. 2023 (2302.07994).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class TextStates:
    """Keys and values of a batch of texts in every layer, as its attention saw them.

    Positions are in them already, where an encoder rotates keys.

    Args:
        mask: bool [B, T], True for a token.
        keys: one tensor [B, H, T, D] for each layer.
        values: likewise.
    """

    mask: Tensor
    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)

    def record(self, key: Tensor, value: Tensor) -> None:
        """Add the keys and values of the next layer."""
        self.keys.append(key)
        self.values.append(value)


@dataclass(frozen=True, kw_only=True)
class ReadoutSlots:
    """What the read-outs of K tasks attend to, in every layer.

    Args:
        text: the batch of texts.
        keys: [L, K, H, P, D], the slots of each task; P may be 0.
        values: likewise.
        bias: [K, P] added to the logits of slots: 0, or minus infinity where a task has fewer than
            P slots; None means zeros.
    """

    text: TextStates
    keys: Tensor
    values: Tensor
    bias: Tensor | None = None


def attend_from_readouts(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    slots: ReadoutSlots,
    layer: int,
    scaling: float | None,
) -> Tensor:
    """Attend to text, slots and own read-outs in one softmax.

    Text and slots are never copied for a task or a text: each part of the logits is one product.

    Args:
        query: [B·K, heads, M, D], the K tasks of a text side by side.
        key: [B·K, H, M, D] of the read-outs.
        value: [B·K, H, M, D].
        slots: the texts, and the slots of each task.
        layer: whose keys and values of texts and slots are attended to.
        scaling: factor of the logits; None is D ** -0.5.
    Returns:
        [B·K, M, heads, D].
    """
    text_keys, text_values = (
        of_layers[layer].to(query.dtype) for of_layers in (slots.text.keys, slots.text.values)
    )
    slot_keys, slot_values = (
        of_layers[layer].to(query.dtype) for of_layers in (slots.keys, slots.values)
    )
    rows, heads, tokens, size = text_keys.shape
    tasks, count = slot_keys.shape[0], slot_keys.shape[2]
    # The queries that share a key/value head, of all read-outs of a task.
    shared = query.shape[1] // heads * query.shape[2]
    query = query * (size**-0.5 if scaling is None else scaling)
    query = query.reshape(rows, tasks, heads, shared, size)
    by_text = query.transpose(1, 2).reshape(rows, heads, tasks * shared, size)
    by_task = query.permute(1, 2, 0, 3, 4).reshape(tasks, heads, rows * shared, size)
    own_keys, own_values = (
        states.view(rows, tasks, heads, states.shape[2], size) for states in (key, value)
    )

    on_text = by_text @ text_keys.transpose(2, 3)
    on_text = on_text.masked_fill(~slots.text.mask[:, None, None, :], -torch.inf)
    on_slots = by_task @ slot_keys.transpose(2, 3)
    if slots.bias is not None:
        on_slots = on_slots + slots.bias[:, None, None, :].to(on_slots.dtype)
    logits = torch.cat(
        [
            on_text.view(rows, heads, tasks, shared, tokens).transpose(1, 2),
            on_slots.view(tasks, heads, rows, shared, count).permute(2, 0, 1, 3, 4),
            query @ own_keys.transpose(3, 4),
        ],
        dim=-1,
    )
    precise = torch.promote_types(query.dtype, torch.float32)
    weights = logits.softmax(dim=-1, dtype=precise).to(query.dtype)
    on_text, on_slots, on_own = torch.split(weights, [tokens, count, own_keys.shape[3]], dim=-1)
    by_text = on_text.transpose(1, 2).reshape(rows, heads, tasks * shared, tokens)
    by_task = on_slots.permute(1, 2, 0, 3, 4).reshape(tasks, heads, rows * shared, count)
    read: Tensor = (
        (by_text @ text_values).view(rows, heads, tasks, shared, size).transpose(1, 2)
        + (by_task @ slot_values).view(tasks, heads, rows, shared, size).permute(2, 0, 1, 3, 4)
        + on_own @ own_values
    )
    return read.reshape(rows * tasks, -1, key.shape[2], size).transpose(1, 2).contiguous()


def pad_slots(tensors: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor | None]:
    """Put the slots of several tasks side by side, filled up to the most slots.

    Args:
        tensors: [L, 2, H, P, D] of each task, whose P may differ.
    Returns:
        Keys and values [L, K, H, P, D], and the bias of `ReadoutSlots`.
    """
    counts = [tensor.shape[3] for tensor in tensors]
    most = max(counts)
    filled = torch.stack(
        [
            torch.nn.functional.pad(tensor, (0, 0, 0, most - count))
            for tensor, count in zip(tensors, counts, strict=True)
        ],
        dim=2,
    )
    if min(counts) == most:
        return filled[:, 0], filled[:, 1], None
    bias = torch.zeros(len(counts), most, device=filled.device)
    for task, count in enumerate(counts):
        bias[task, count:] = -torch.inf
    return filled[:, 0], filled[:, 1], bias
