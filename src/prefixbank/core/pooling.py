"""Pooling: from hidden states to one vector for each text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import torch
from torch import Tensor

from prefixbank.choices import PoolingLayers, PoolingPosition
from prefixbank.core.shapes import ShapeError


@dataclass(frozen=True, kw_only=True)
class Pooling:
    """Which layers and which positions of the text a vector is made from.

    Prefix slots have no positions, so they are never pooled.

    Args:
        position: `cls`: the first token; `mean`, `max`: over all tokens; `last`: the last token
            that is not padding.
        layers: `last`: the last layer; `mean_last`, `concat_last`: mean or concatenation of the
            last k; `single`: the one at index `layer`.
        last_k: k of `mean_last` and `concat_last`.
        layer: index for `single`; 0 is the embedding layer, L the last.
    """

    position: PoolingPosition
    layers: PoolingLayers
    last_k: int
    layer: int

    @property
    def needs_all_layers(self) -> bool:
        """Whether the hidden states of more than the last layer are needed."""
        return self.layers != "last"

    def output_size(self, hidden_size: int) -> int:
        """Return F, the size of a pooled vector."""
        return hidden_size * self.last_k if self.layers == "concat_last" else hidden_size


def pool(hidden_states: Sequence[Tensor], mask: Tensor, pooling: Pooling) -> Tensor:
    """Pool hidden states.

    Args:
        hidden_states: L + 1 tensors [B, T, E], embeddings first; the last one alone is enough for
            `layers="last"`.
        mask: [B, T] 1 for a token, 0 for padding, on either side.
        pooling: how to reduce them.
    Returns:
        [B, F].
    Raises:
        ShapeError: the encoder has fewer layers than pooling needs.
    Source: Du et al. 2020 (2004.14287), section 3 (layers and positions).
    """
    return _positions(_layers(hidden_states, pooling), mask, pooling.position)


def _layers(hidden_states: Sequence[Tensor], pooling: Pooling) -> Tensor:
    """Return [B, T, F]."""
    available = len(hidden_states)
    needed = {
        "last": 1,
        "mean_last": pooling.last_k,
        "concat_last": pooling.last_k,
        "single": pooling.layer + 1,
    }[pooling.layers]
    if needed > available:
        raise ShapeError(
            f"pooling needs {needed} layers of hidden states, the encoder has {available}",
            expected=f"at most {available} (embedding layer included)",
            fix=f"pooling.last_k={min(4, available)} or pooling.layer={available - 1}",
        )
    match pooling.layers:
        case "last":
            return hidden_states[-1]
        case "mean_last":
            return torch.stack(list(hidden_states[-pooling.last_k :])).mean(dim=0)
        case "concat_last":
            return torch.cat(list(hidden_states[-pooling.last_k :]), dim=-1)
        case "single":
            return hidden_states[pooling.layer]
    assert_never(pooling.layers)


def _positions(states: Tensor, mask: Tensor, position: PoolingPosition) -> Tensor:
    """Reduce [B, T, F] to [B, F] over the positions that hold a token."""
    rows = torch.arange(states.shape[0], device=states.device)
    match position:
        case "cls":
            return states[rows, mask.argmax(dim=1)]
        case "last":
            return states[rows, mask.shape[1] - 1 - mask.flip(1).argmax(dim=1)]
        case "mean":
            weights = mask.unsqueeze(-1).to(states.dtype)
            return (states * weights).sum(dim=1) / weights.sum(dim=1)
        case "max":
            return states.masked_fill(mask.unsqueeze(-1) == 0, float("-inf")).amax(dim=1)
    assert_never(position)
