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
        """Add the keys and values of the next layer, laid out as products take them."""
        self.keys.append(key.contiguous())
        self.values.append(value.contiguous())


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
    tasks, count, own = slot_keys.shape[0], slot_keys.shape[2], key.shape[2]
    # The queries that share a key/value head, of all read-outs of a task.
    shared = query.shape[1] // heads * query.shape[2]
    query = query * (size**-0.5 if scaling is None else scaling)
    query = query.reshape(rows, tasks, heads, shared, size)

    on_text = torch.bmm(_by_text(query), text_keys.flatten(0, 1).transpose(1, 2))
    on_text = on_text.view(rows, heads, tasks * shared, tokens)
    on_text = on_text.masked_fill_(~slots.text.mask[:, None, None, :], -torch.inf)
    on_slots = torch.bmm(_by_task(query), slot_keys.flatten(0, 1).transpose(1, 2))
    on_slots = on_slots.view(tasks, heads, rows, shared, count)
    if slots.bias is not None:
        on_slots = on_slots + slots.bias[:, None, None, None, :].to(on_slots.dtype)
    on_own = torch.bmm(query.flatten(0, 2), key.reshape(-1, own, size).transpose(1, 2))
    logits = torch.cat(
        [
            on_text.view(rows, heads, tasks, shared, tokens).transpose(1, 2),
            on_slots.permute(2, 0, 1, 3, 4),
            on_own.view(rows, tasks, heads, shared, own),
        ],
        dim=-1,
    )
    precise = torch.promote_types(query.dtype, torch.float32)
    weights = logits.softmax(dim=-1, dtype=precise).to(query.dtype)
    on_text, on_slots, on_own = torch.split(weights, [tokens, count, own], dim=-1)
    of_text = torch.bmm(_by_text(on_text), text_values.flatten(0, 1))
    of_slots = torch.bmm(_by_task(on_slots), slot_values.flatten(0, 1))
    of_own = torch.bmm(on_own.flatten(0, 2), value.reshape(-1, own, size))
    read: Tensor = (
        of_text.view(rows, heads, tasks, shared, size).transpose(1, 2)
        + of_slots.view(tasks, heads, rows, shared, size).permute(2, 0, 1, 3, 4)
        + of_own.view(rows, tasks, heads, shared, size)
    )
    return read.reshape(rows * tasks, -1, own, size).transpose(1, 2).contiguous()


def _by_text(states: Tensor) -> Tensor:
    """Put what all tasks have for a text side by side: [B, K, H, n, x] to [B·H, K·n, x]."""
    rows, tasks, heads, shared, size = states.shape
    return states.transpose(1, 2).reshape(rows * heads, tasks * shared, size)


def _by_task(states: Tensor) -> Tensor:
    """Put what a task has for all texts side by side: [B, K, H, n, x] to [K·H, B·n, x]."""
    rows, tasks, heads, shared, size = states.shape
    return states.permute(1, 2, 0, 3, 4).reshape(tasks * heads, rows * shared, size)


def attend_in_groups(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    groups: Sequence[ReadoutSlots],
    layer: int,
    scaling: float | None,
) -> Tensor:
    """Attend from the read-outs of several groups of tasks, one group after the other.

    What a group gets is what it gets alone, to the last bit: its products have the same shapes.

    Args:
        query: [G·B·K, heads, M, D], the groups one after the other; each is as in
            `attend_from_readouts`.
        key: [G·B·K, H, M, D].
        value: [G·B·K, H, M, D].
        groups: the texts and slots of each group, of K tasks each.
        layer: whose keys and values of texts and slots are attended to.
        scaling: factor of the logits; None is D ** -0.5.
    Returns:
        [G·B·K, M, heads, D].
    """
    if len(groups) == 1:
        return attend_from_readouts(query, key, value, groups[0], layer, scaling)
    queries, keys, values = (states.chunk(len(groups)) for states in (query, key, value))
    return torch.cat(
        [
            attend_from_readouts(queries[index], keys[index], values[index], slots, layer, scaling)
            for index, slots in enumerate(groups)
        ]
    )


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
