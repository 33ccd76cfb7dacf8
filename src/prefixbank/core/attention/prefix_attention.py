"""Prefix attention: every layer reads a bank's slots in front of the text.

transformers looks up the attention function by name. Ours is registered once, as `ATTENTION`, and
gets the slots through the keyword `prefix_slots` of `model(...)`, which the model passes down.
Nothing is patched, and nothing is kept between calls. A soft prompt stands among the tokens; the
keyword `prompt` holds its length and its weights. A pass over texts records their keys and values
into `text_states`, and a pass over read-outs attends to them through `readout_slots`.

Source: Li & Liang 2021 (2101.00190); Liu et al. 2022 (2110.07602).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

from prefixbank.core.attention.readout import ReadoutSlots, TextStates, attend_in_groups
from prefixbank.core.attention.two_parts import attend_in_two_parts, lowest, two_parts_apply
from prefixbank.core.prompt import PromptVectors, visible_to_all

ATTENTION = "prefixbank"


@dataclass(frozen=True, kw_only=True)
class AttentionCall:
    """The sizes that one attention layer was called with in a forward pass."""

    module: nn.Module
    heads: int
    kv_heads: int
    head_size: int


@dataclass(frozen=True, kw_only=True)
class Slots:
    """Keys and values that all texts of a batch may attend to, in every layer.

    Args:
        keys: [L, H, S, D].
        values: [L, H, S, D].
        bias: [L, H, S] added to the attention logits of each slot (log-weights and log-gates); None
            means zeros.
    """

    keys: Tensor
    values: Tensor
    bias: Tensor | None = None

    def to(self, device: torch.device, dtype: torch.dtype) -> Slots:
        """Return the slots on another device; the bias keeps its precision until it is added."""
        bias = None if self.bias is None else self.bias.to(device)
        return Slots(
            keys=self.keys.to(device, dtype), values=self.values.to(device, dtype), bias=bias
        )

    def layer(self, number: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return keys [H, S, D], values [H, S, D] and bias [H, S] of one layer, all of one type."""
        bias = None if self.bias is None else self.bias[number].to(dtype)
        return self.keys[number].to(dtype), self.values[number].to(dtype), bias


UNKNOWN = ("softcap", "s_aux", "sinks", "position_bias")
"""What some families pass to attention that changes its result, and that is not computed here."""


def prefix_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    prefix_slots: Slots | None = None,
    attention_calls: list[AttentionCall] | None = None,
    prompt: PromptVectors | None = None,
    text_states: TextStates | None = None,
    readout_slots: ReadoutSlots | Sequence[ReadoutSlots] | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attend to a prefix and to the text in one softmax.

    Args:
        module: attention layer; its `layer_idx` selects the slots. Without one (ALBERT calls one
            layer repeatedly) the number of calls so far selects them.
        query: [B, heads, T, D].
        key: [B, H, T, D].
        value: [B, H, T, D].
        attention_mask: [B or 1, 1 or heads, T, T], True where attention is allowed (or additive
            floats); None allows all.
        dropout: probability, training only.
        scaling: factor of the logits; None is D ** -0.5.
        is_causal: tokens see only earlier tokens; None uses the module's own setting. A prefix is
            visible to all tokens either way.
        prefix_slots: slots in front of the text; None is the plain encoder.
        attention_calls: a list for this forward pass, to which every call is appended.
        prompt: the vectors that are the first tokens, visible to all tokens; their log-weights are
            added to the logits of their keys.
        text_states: gets the keys and values of the text, without prefix.
        readout_slots: what the tokens attend to beside themselves, if they are read-outs, of one
            group of tasks or of several; the mask is then that of the texts.
        others: what else a model passes; without effect here.
    Returns:
        [B, T, heads, D] and no weights.

    Raises:
        TypeError: one of `others` would change the result.
    """
    if missed := [name for name in UNKNOWN if others.get(name) is not None]:
        raise TypeError(f"{type(module).__name__} passes {', '.join(missed)} to attention")
    if attention_calls is not None:
        attention_calls.append(
            AttentionCall(
                module=module, heads=query.shape[1], kv_heads=key.shape[1], head_size=key.shape[3]
            )
        )
    layer = getattr(module, "layer_idx", None)
    if layer is None:
        layer = len(attention_calls or ()) - 1
    if readout_slots is not None:
        groups = [readout_slots] if isinstance(readout_slots, ReadoutSlots) else readout_slots
        return attend_in_groups(query, key, value, groups, layer, scaling), None
    if text_states is not None:
        text_states.record(key, value)
    causal = getattr(module, "is_causal", False) if is_causal is None else is_causal
    if attention_mask is None and causal:
        attention_mask = torch.ones(
            query.shape[2], key.shape[2], dtype=torch.bool, device=query.device
        ).tril()[None, None]
    if prompt is not None:
        attention_mask = _with_prompt(attention_mask, prompt, query, causal=causal)
    if prefix_slots is not None and prefix_slots.keys.shape[2] > 0:
        if two_parts_apply(query, key, prefix_slots.keys.shape[2], dropout):
            # Autocast has no rule for the kernel, and rotated keys are fp32 beside values in bf16.
            query, key = query.to(value.dtype), key.to(value.dtype)
            text_mask = (
                None
                if attention_mask is None
                else _additive(attention_mask, query, key.shape[2]).clamp(min=lowest(query.dtype))
            )
            return attend_in_two_parts(
                query, key, value, text_mask, prefix_slots.layer(layer, query.dtype), scaling
            ), None
        key, value, attention_mask = _prepend(
            prefix_slots, layer, query, key, value, attention_mask
        )
    output = functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=attention_mask,
        dropout_p=dropout,
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return output.transpose(1, 2).contiguous(), None


def _with_prompt(
    mask: Tensor | None, prompt: PromptVectors, query: Tensor, *, causal: bool
) -> Tensor | None:
    """Make a prompt visible to all queries, its own included, and add its log-weights."""
    tokens, count = query.shape[2], prompt.vectors.shape[0]
    if mask is not None and mask.dtype == torch.bool:
        mask = visible_to_all(mask, count, causal=causal)
    if prompt.log_weights is None:
        return mask
    bias = prompt.log_weights.to(query.dtype).clamp(min=lowest(query.dtype))
    return _additive(mask, query, tokens) + functional.pad(bias, (0, tokens - count))


def _prepend(
    slots: Slots, layer: int, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Put one layer's slots in front of the text's keys [B, H, T, D], values and mask."""
    rows, count = key.shape[0], slots.keys.shape[2]
    slot_keys, slot_values, slot_bias = slots.layer(layer, key.dtype)
    key = torch.cat([slot_keys.expand(rows, -1, -1, -1), key], dim=2)
    value = torch.cat([slot_values.expand(rows, -1, -1, -1), value], dim=2)
    if slot_bias is None:
        return key, value, None if mask is None else _widen(mask, count)
    groups = query.shape[1] // key.shape[1]
    bias = slot_bias.repeat_interleave(groups, dim=0)[None, :, None, :]  # [1, heads, 1, S]
    text = _additive(mask, query, key.shape[2] - count)
    shape = (text.shape[0], query.shape[1], query.shape[2])
    return key, value, torch.cat([bias.expand(*shape, -1), text.expand(*shape, -1)], dim=-1)


def _widen(mask: Tensor, count: int) -> Tensor:
    """Let every token see `count` more positions in front: [.., T, T] to [.., T, S + T]."""
    return functional.pad(mask, (count, 0), value=True if mask.dtype == torch.bool else 0.0)


def _additive(mask: Tensor | None, query: Tensor, tokens: int) -> Tensor:
    """Return the mask as floats to add to logits, [B or 1, 1 or heads, T, tokens]."""
    if mask is None:
        return query.new_zeros(1, 1, query.shape[2], tokens)
    if mask.dtype != torch.bool:
        return mask.to(query.dtype)
    return torch.zeros_like(mask, dtype=query.dtype).masked_fill(~mask, lowest(query.dtype))


def trace_attention(model: nn.Module, inputs: Mapping[str, Tensor]) -> list[AttentionCall]:
    """Run the model once and return its attention calls in order.

    Layers without a `layer_idx` get one, unless they are called more than once. The list is empty
    if the model does not use transformers' attention interface.
    """
    calls: list[AttentionCall] = []
    with torch.no_grad():
        model(**inputs, attention_calls=calls)
    modules = [call.module for call in calls]
    for depth, module in enumerate(modules):
        if getattr(module, "layer_idx", None) is None and modules.count(module) == 1:
            # torch types attributes as tensors.
            module.layer_idx = depth  # type: ignore[assignment]
    return calls


AttentionInterface.register(ATTENTION, prefix_attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
