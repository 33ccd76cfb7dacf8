"""Pooling: from hidden states to one vector for each text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import torch
from torch import Tensor
from torch.nn import functional

from prefixbank.choices import Norm, PoolingLayers, PoolingPosition
from prefixbank.core.shapes import ShapeError


@dataclass(frozen=True, kw_only=True)
class Pooling:
    """Which layers and which positions of the text a vector is made from.

    Prefix slots have no positions, so they are never pooled. Several layers or positions lie side
    by side: layer by layer in their order, and within a layer position by position in theirs.

    Args:
        position: `cls`: the first token; `mean`, `max`: over all tokens; `last`: the last token
            that is not padding. Or several of them.
        layers: `last`: the last layer; `mean_last`, `concat_last`: mean or concatenation of the
            last k, the lowest first; `single`: the one at index `layer`. Or several indices; 0 is
            the embedding layer, L the last.
        last_k: k of `mean_last` and `concat_last`.
        layer: index for `single`.
        norm: `layer`: each layer at each position is scaled to mean 0 and variance 1 over its
            features.
    """

    position: PoolingPosition | tuple[PoolingPosition, ...]
    layers: PoolingLayers | tuple[int, ...]
    last_k: int
    layer: int
    norm: Norm = "none"

    @property
    def positions(self) -> tuple[PoolingPosition, ...]:
        """The positions, one or several."""
        return self.position if isinstance(self.position, tuple) else (self.position,)

    @property
    def needs_all_layers(self) -> bool:
        """Whether the hidden states of more than the last layer are needed."""
        return self.layers != "last"

    def layers_of(self, count: int) -> tuple[int | None, ...]:
        """Return the layers that lie side by side, for an encoder with L = `count` layers.

        None stands for the mean of several.
        """
        match self.layers:
            case tuple():
                return self.layers
            case "last":
                return (count,)
            case "mean_last":
                return (None,)
            case "concat_last":
                return tuple(range(count + 1 - self.last_k, count + 1))
            case "single":
                return (self.layer,)
        assert_never(self.layers)

    def output_size(self, hidden_size: int) -> int:
        """Return F, the size of a pooled vector."""
        match self.layers:
            case tuple():
                layers = len(self.layers)
            case "concat_last":
                layers = self.last_k
            case _:
                layers = 1
        return hidden_size * layers * len(self.positions)


def pool(hidden_states: Sequence[Tensor], mask: Tensor, pooling: Pooling) -> Tensor:
    """Pool hidden states.

    Args:
        hidden_states: L + 1 tensors [B, T, E], embeddings first; the last one alone is enough for
            `layers="last"`.
        mask: [B, T] 1 for a token, 0 for padding, on either side.
        pooling: how to reduce them.
    Returns:
        [B, F], layer by layer, and within a layer position by position.
    Raises:
        ShapeError: the encoder has fewer layers than pooling needs.
    Source: Du et al. 2020 (2004.14287), section 3 (layers and positions).
    """
    states, size = _layers(hidden_states, pooling), hidden_states[-1].shape[-1]
    pooled = [_at_position(states, mask, position) for position in pooling.positions]
    by_layer = torch.stack([one.reshape(one.shape[0], -1, size) for one in pooled], dim=2)
    if pooling.norm == "layer":
        by_layer = functional.layer_norm(by_layer, (size,))
    return by_layer.flatten(1)


def _layers(hidden_states: Sequence[Tensor], pooling: Pooling) -> Tensor:
    """Return [B, T, F / number of positions]."""
    _check_layers(len(hidden_states), pooling)
    match pooling.layers:
        case tuple():
            return torch.cat([hidden_states[layer] for layer in pooling.layers], dim=-1)
        case "last":
            return hidden_states[-1]
        case "mean_last":
            return torch.stack(list(hidden_states[-pooling.last_k :])).mean(dim=0)
        case "concat_last":
            return torch.cat(list(hidden_states[-pooling.last_k :]), dim=-1)
        case "single":
            return hidden_states[pooling.layer]
    assert_never(pooling.layers)


def _check_layers(available: int, pooling: Pooling) -> None:
    """Raise ShapeError if pooling needs other hidden states than those that there are."""
    if isinstance(pooling.layers, tuple):
        beyond = [layer for layer in pooling.layers if layer >= available]
        if beyond:
            inside = [layer for layer in pooling.layers if layer < available]
            raise ShapeError(
                f"pooling.layers={_listed(pooling.layers)} of an encoder with {available - 1} "
                "layers",
                expected=f"numbers from 0, the embedding layer, to {available - 1}",
                fix=f"'pooling.layers={_listed(inside or [available - 1])}'",
            )
        return
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


def _listed(layers: Sequence[int]) -> str:
    return f"[{','.join(map(str, layers))}]"


def _at_position(states: Tensor, mask: Tensor, position: PoolingPosition) -> Tensor:
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
