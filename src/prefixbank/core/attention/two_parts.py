"""Prefix attention in two parts, for inference.

Slots that all texts share are read by all tokens of a batch at once.

Keys and values of a prefix are the same for every text. So its part of the attention is one product
over all tokens of the batch, without a copy of the slots for each text, and the text's own part is
that of the bare encoder. A softmax over both is the mean of the two parts, weighted by the sum of
exponentials in each, of which both kernels return the logarithm. Nothing is approximated.

Source: Juravsky et al. 2024 (2402.05099, Hydragen), section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor

LONG_PREFIX = 64
"""From so many slots on two parts are faster for texts of any length; with fewer, for texts of at
most half as many tokens as slots. By `benchmarks/attention.py` on x86-64."""


def lowest(dtype: torch.dtype) -> float:
    """Return what hides a position when it is added to a logit.

    It is finite, so that a part that is hidden whole gets a weight of zero: for minus infinity all
    over, the kernel says that the exponentials sum up to 1.
    """
    return torch.finfo(dtype).min / 2


def two_parts_apply(query: Tensor, key: Tensor, slots: int, dropout: float) -> bool:
    """Tell whether `attend_in_two_parts` can do what is asked, and is the faster way to do it.

    The kernel that returns sums of exponentials exists for CPUs, and gives no gradient with respect
    to them: inference mode only.

    Args:
        query: [B, heads, T, D].
        key: [B, H, T, D].
        slots: S.
        dropout: probability.
    """
    if (
        query.device.type != "cpu"
        or not torch.is_inference_mode_enabled()
        or dropout > 0
        or query.shape[1] != key.shape[1]
    ):
        return False
    return slots >= min(LONG_PREFIX, 2 * query.shape[2])


def attend_in_two_parts(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    prefix: tuple[Tensor, Tensor, Tensor | None],
    scaling: float | None,
) -> Tensor:
    """Attend to a prefix and to the text in one softmax, computed in two parts.

    Args:
        query: [B, H, T, D].
        key: [B, H, T, D].
        value: [B, H, T, D].
        mask: [B or 1, 1 or H, T, T] additive floats, none below `lowest`; None allows all.
        prefix: keys [H, S, D], values [H, S, D], and biases [H, S] of the logits or None for zeros.
        scaling: factor of the logits; None is D ** -0.5.
    Returns:
        [B, T, H, D].
    """
    rows, heads, tokens, size = query.shape
    attend = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    of_text, log_sum_text = attend(query, key, value, attn_mask=mask, scale=scaling)
    slot_keys, slot_values, bias = prefix
    one_row = query.transpose(1, 2).reshape(1, rows * tokens, heads, size).transpose(1, 2)
    expanded = (
        None
        if bias is None
        else bias.clamp(min=lowest(bias.dtype))[None, :, None, :].expand(
            1, heads, rows * tokens, -1
        )
    )
    of_slots, log_sum_slots = attend(
        one_row, slot_keys[None], slot_values[None], attn_mask=expanded, scale=scaling
    )
    # [B, H, T]
    share = torch.sigmoid(log_sum_slots.view(heads, rows, tokens).transpose(0, 1) - log_sum_text)
    of_slots = of_slots.transpose(1, 2).reshape(rows, tokens, heads, size)
    return torch.lerp(
        of_text.transpose(1, 2), of_slots, share.transpose(1, 2).unsqueeze(-1).to(of_slots.dtype)
    )
