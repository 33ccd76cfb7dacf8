"""Prefix attention in two parts, for inference on CPUs.

Keys and values of a prefix are the same for every text. So the prefix's part of the attention is
one product over all tokens of the batch, without a copy of the slots for each text, and the text's
own part is that of the bare encoder. The softmax over both is the mean of the two parts, weighted
by their sums of exponentials, whose logarithms the kernel returns. Nothing is approximated.

Source: Hydragen, Juravsky et al. 2024 (arXiv 2402.05099), section 3.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from prefixbank.core.self_check import agrees

LONG_PREFIX = 64
"""From this many slots on, two parts are faster for texts of any length. With fewer, they are for
texts of at most half as many tokens as slots. Measured by `benchmarks/attention.py` on x86-64."""


def lowest(dtype: torch.dtype) -> float:
    """Return the number that hides a position when it is added to its logit.

    It is finite, so that a part whose positions are all hidden gets a weight of zero. With minus
    infinity everywhere the kernel returns a sum of exponentials of 1.
    """
    return torch.finfo(dtype).min / 2


def two_parts_apply(query: Tensor, key: Tensor, slots: int, dropout: float) -> bool:
    """Return whether `attend_in_two_parts` can be used, and is faster.

    The kernel that returns sums of exponentials exists for CPUs only and gives no gradient with
    respect to them, so this is for inference mode.

    Args:
        query: [B, heads, T, D].
        key: [B, H, T, D].
        slots: S.
        dropout: probability.
    """
    return (
        query.device.type == "cpu"
        and torch.is_inference_mode_enabled()
        and dropout == 0
        and query.shape[1] == key.shape[1]
        and slots >= min(LONG_PREFIX, 2 * query.shape[2])
        and kernel_agrees(query.dtype)
    )


@cache
def kernel_agrees(dtype: torch.dtype) -> bool:
    """Return whether torch's private kernel gives one softmax over both parts.

    Checked once in a process for each type.
    """
    query, key, value = (_numbers(2, 2, 3, 8, start=start).to(dtype) for start in (0.0, 1.0, 2.0))
    slot_keys, slot_values = (_numbers(2, 5, 8, start=start).to(dtype) for start in (3.0, 4.0))
    bias = _numbers(2, 5, start=5.0).to(dtype)
    mask = torch.zeros(2, 1, 3, 3, dtype=dtype)
    mask[1, :, :, 2] = lowest(dtype)
    with torch.autocast("cpu", enabled=False):
        keys, values = (
            torch.cat([slots.double().expand(2, -1, -1, -1), text.double()], dim=2)
            for slots, text in ((slot_keys, key), (slot_values, value))
        )
        logits = query.double() @ keys.transpose(2, 3) * 0.5
        logits[..., :5] += bias.double()[None, :, None, :]
        logits[..., 5:] += mask.double()
        expected = (logits.softmax(dim=3) @ values).transpose(1, 2)
    return agrees(
        "_scaled_dot_product_flash_attention_for_cpu",
        lambda: attend_in_two_parts(query, key, value, mask, (slot_keys, slot_values, bias), 0.5),
        expected,
        dtype,
    )


def _numbers(*shape: int, start: float) -> Tensor:
    """Return numbers of that shape which look random; no random state is touched."""
    count = torch.Size(shape).numel()
    return torch.sin(1.7 * torch.arange(count, dtype=torch.float64) ** 1.3 + start).view(shape)


def _attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float | None
) -> tuple[Tensor, Tensor]:
    """Return attention [B, H, T, D] and the logarithms of its sums of exponentials [B, H, T]."""
    attention, log_sum = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, attn_mask=mask, scale=scaling
    )
    return attention, log_sum


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
    text_part, text_log_sum = _attend(query, key, value, mask, scaling)
    slot_keys, slot_values, bias = prefix
    one_row = query.transpose(1, 2).reshape(1, rows * tokens, heads, size).transpose(1, 2)
    slot_bias = (
        None
        if bias is None
        else bias.clamp(min=lowest(bias.dtype))[None, :, None, :].expand(
            1, heads, rows * tokens, -1
        )
    )
    slot_part, slot_log_sum = _attend(
        one_row, slot_keys[None], slot_values[None], slot_bias, scaling
    )
    # [B, H, T]
    share = torch.sigmoid(slot_log_sum.view(heads, rows, tokens).transpose(0, 1) - text_log_sum)
    slot_part = slot_part.transpose(1, 2).reshape(rows, tokens, heads, size)
    return torch.lerp(
        text_part.transpose(1, 2), slot_part, share.transpose(1, 2).unsqueeze(-1).to(query.dtype)
    )
