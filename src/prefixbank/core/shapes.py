"""Sizes of an encoder, a batch of token ids, and the letters for sizes in all of `core`.

Letters: B batch, T tokens, P prefix length, L layers, H key/value heads, D head size, E hidden
size, K prefixes, S slots of a bank (sum of P), C classes, N examples, F size of a pooled vector.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from prefixbank.errors import UsageError


class ShapeError(UsageError):
    """A tensor does not have the shape that is needed."""


@dataclass(frozen=True, kw_only=True)
class EncoderShape:
    """Sizes that decide which prefixes fit an encoder.

    Args:
        layers: L, number of attention layers.
        heads: query heads.
        kv_heads: H, key/value heads; fewer than `heads` in grouped-query models.
        head_size: D.
        hidden_size: E.
    """

    layers: int
    heads: int
    kv_heads: int
    head_size: int
    hidden_size: int

    def prefix_shape(self, length: int) -> tuple[int, int, int, int, int]:
        """Return [L, 2, H, P, D] for a prefix of `length` slots."""
        return (self.layers, 2, self.kv_heads, length, self.head_size)

    def attention_bytes(self, *, rows: int, tokens: int, slots: int) -> int:
        """Estimate the bytes that attention keeps for the backward pass.

        These are the scores and weights of all layers in fp32.
        """
        return 2 * 4 * self.layers * self.heads * rows * tokens * (tokens + slots)

    def __str__(self) -> str:
        """Return the sizes as errors quote them."""
        heads = (
            f"{self.heads} heads"
            if self.heads == self.kv_heads
            else f"{self.heads} heads ({self.kv_heads} key/value)"
        )
        return f"{self.layers} layers, {heads} of size {self.head_size}"


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Some rows of a data set, padded to one length.

    Args:
        rows: [B] row numbers in the data set, so that order can be restored.
        inputs: keyword arguments of the model, `input_ids` and `attention_mask` [B, T] among them.
            For pairs whose texts are read apart they are [2B, T]: first texts, then second ones.
        labels: [B] int64 or float32, or [B, C] float32 for several labels; None for texts that are
            only embedded.
        task: index of the rows' task, where several are trained together.
    """

    rows: np.ndarray
    inputs: Mapping[str, Tensor]
    labels: Tensor | None = None
    task: int = 0
