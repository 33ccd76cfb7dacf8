"""What it costs to turn one text into its vector."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from prefixbank.core.blocks import BlockBank
from prefixbank.core.combine import Bank
from prefixbank.core.embed import batch_encoder


def inputs_of(texts: int, tokens: int) -> dict[str, Tensor]:
    """Return inputs [B, T] that cost what texts of so many tokens cost."""
    ones = torch.ones(texts, tokens, dtype=torch.int64)
    return {"input_ids": ones, "attention_mask": ones.clone()}


def text_operations(
    model: nn.Module, bank: Bank | BlockBank, inputs: Mapping[str, Tensor]
) -> tuple[int, int]:
    """Run a batch of one text, and count the operations of all matrix products.

    A multiplication with its addition is two operations.

    Args:
        model: encoder loaded with our attention, whose layers are not packed.
        bank: prefixes, and how they turn texts into vectors.
        inputs: its keyword arguments, [1, T] each.
    Returns:
        Operations, and F, the features of the vector.
    """
    run = batch_encoder(bank, model, torch.float32)
    # The counter does not know the CPU's fused attention; the plain one consists of products.
    with (
        torch.no_grad(),
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):
        vectors = run(inputs)
    return int(counter.get_total_flops()), sum(block.shape[1] for block in vectors)
