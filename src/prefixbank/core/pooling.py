"""Pooling: from hidden states to one vector for each text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import reduce
from typing import Literal, assert_never

import torch
from torch import Tensor
from torch.nn import functional

from prefixbank.choices import Norm, PoolingLayers, PoolingPosition
from prefixbank.core.shapes import ShapeError
from prefixbank.core.signs import codes_of


@dataclass(frozen=True, kw_only=True, eq=False)
class PoolingWeights:
    """What learned pooling has learned; None where there is nothing to learn.

    Args:
        queries: [S, A, E], for each of S layers side by side a query of each of A heads.
        mix: [L + 1], the logits of the mix of layers, that of the embedding layer first.
        scale: [1], of the mix.
        weight: [D, F] of the projection.
        bias: [D] of the projection.
    """

    queries: Tensor | None = None
    mix: Tensor | None = None
    scale: Tensor | None = None
    weight: Tensor | None = None
    bias: Tensor | None = None

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> PoolingWeights:
        """Return the weights that `tensors` took apart."""
        return cls(**tensors)

    def tensors(self) -> dict[str, Tensor]:
        """Return what there is by name."""
        every = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: tensor for name, tensor in every.items() if tensor is not None}

    def of_lowest(self, layers: int) -> PoolingWeights:
        """Return the weights for the lowest layers alone: of a mix, their logits."""
        return self if self.mix is None else replace(self, mix=self.mix[: layers + 1])

    def to(self, device: torch.device) -> PoolingWeights:
        """Return the weights on another device."""
        return self.of({name: tensor.to(device) for name, tensor in self.tensors().items()})


@dataclass(frozen=True, kw_only=True)
class Pooling:
    """Which layers and which positions of the text a vector is made from.

    Prefix slots have no positions, so they are never pooled. Several layers or positions lie side
    by side: layer by layer in their order, and within a layer position by position in theirs.

    Args:
        position: `cls`: the first token; `mean`, `max`: over all tokens; `last`: the last token
            that is not padding; `attention`: a mean over all tokens with weights that learned
            queries give them. Or several of them.
        layers: `last`: the last layer; `mean_last`, `concat_last`: mean or concatenation of the
            last k, the lowest first; `single`: the one at index `layer`; `mix`: a learned weighted
            mean of all, times a learned scale. Or several indices; 0 is the embedding layer, L the
            last.
        last_k: k of `mean_last` and `concat_last`.
        layer: index for `single`.
        norm: `layer`: each layer at each position is scaled to mean 0 and variance 1 over its
            features.
        heads: A of `attention`: each has a query of its own, and weighs the tokens for its share
            of the features, E / A.
        size: D of a learned projection of the whole vector; 0: none.
        skip_first: leave out the first token of a text that has others, but for `cls`.
        binary: the vector is the signs, 1 and -1, of the learned projection.
        weights: what was learned, if something is.
    """

    position: PoolingPosition | tuple[PoolingPosition, ...]
    layers: PoolingLayers | tuple[int, ...]
    last_k: int
    layer: int
    norm: Norm = "none"
    heads: int = 1
    size: int = 0
    skip_first: bool = False
    binary: bool = False
    weights: PoolingWeights | None = field(default=None, compare=False)

    def to(self, device: torch.device) -> Pooling:
        """Return the pooling with what was learned on another device."""
        if self.weights is None:
            return self
        return replace(self, weights=self.weights.to(device))

    @property
    def is_learned(self) -> bool:
        """Whether some of it is learned with source tasks."""
        return "attention" in self.positions or self.layers == "mix" or self.size > 0

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
            case "mean_last" | "mix":
                return (None,)
            case "concat_last":
                return tuple(range(count + 1 - self.last_k, count + 1))
            case "single":
                return (self.layer,)
        assert_never(self.layers)

    def output_size(self, hidden_size: int) -> int:
        """Return the size of a pooled vector."""
        return self.size or self.joined_size(hidden_size)

    def joined_size(self, hidden_size: int) -> int:
        """Return F, the size of all layers and positions side by side, before a projection."""
        return hidden_size * self.layers_joined * len(self.positions)

    @property
    def layers_joined(self) -> int:
        """S, the number of layers side by side."""
        match self.layers:
            case tuple():
                return len(self.layers)
            case "concat_last":
                return self.last_k
            case _:
                return 1


def pool(hidden_states: Sequence[Tensor], mask: Tensor, pooling: Pooling) -> Tensor:
    """Pool hidden states.

    Args:
        hidden_states: L + 1 tensors [B, T, E], embeddings first; the last one alone is enough for
            `layers="last"`.
        mask: [B, T] 1 for a token, 0 for padding, on either side.
        pooling: how to reduce them.
    Returns:
        [B, F], layer by layer, and within a layer position by position; or [B, D], projected.
    Raises:
        ShapeError: the encoder has fewer layers than pooling needs.
    Sources: Du et al. 2020 (2004.14287), sections 3 (layers and positions) and 5 (signs); Peters et
    al. 2018 (1802.05365), equation 1 (mix); Lin et al. 2017 (1703.03130) (attention).
    """
    weights = _weights_of(pooling)
    states, size = _layers(hidden_states, pooling, weights), hidden_states[-1].shape[-1]
    inner = _without_first(mask) if pooling.skip_first else mask
    pooled = [
        _attended(states, inner, _present(weights.queries))
        if position == "attention"
        else _at_position(states, mask if position == "cls" else inner, position)
        for position in pooling.positions
    ]
    by_layer = torch.stack([one.reshape(one.shape[0], -1, size) for one in pooled], dim=2)
    if pooling.norm == "layer":
        by_layer = functional.layer_norm(by_layer, (size,))
    vectors = by_layer.flatten(1)
    if pooling.size:
        vectors = functional.linear(vectors, _present(weights.weight), weights.bias)
    return codes_of(vectors) if pooling.binary else vectors


def _weights_of(pooling: Pooling) -> PoolingWeights:
    """Return what was learned, nothing if nothing is to be."""
    if pooling.weights is None and pooling.is_learned:
        raise ValueError("learned pooling has no weights")
    return pooling.weights or PoolingWeights()


def _present(tensor: Tensor | None) -> Tensor:
    if tensor is None:
        raise ValueError("the weights are those of another pooling")
    return tensor


def _layers(hidden_states: Sequence[Tensor], pooling: Pooling, weights: PoolingWeights) -> Tensor:
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
        case "mix":
            shares = _present(weights.mix).softmax(dim=0).unbind()
            parts = [share * layer for share, layer in zip(shares, hidden_states, strict=True)]
            return _present(weights.scale) * reduce(torch.add, parts)
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
        "mix": 1,
    }[pooling.layers]
    if needed > available:
        raise ShapeError(
            f"pooling needs {needed} layers of hidden states, the encoder has {available}",
            expected=f"at most {available} (embedding layer included)",
            fix=f"pooling.last_k={min(4, available)} or pooling.layer={available - 1}",
        )


def _listed(layers: Sequence[int]) -> str:
    return f"[{','.join(map(str, layers))}]"


def _without_first(mask: Tensor) -> Tensor:
    """Return a mask [B, T] without the first token of each text that has others."""
    rest = mask.scatter(1, mask.argmax(dim=1, keepdim=True), 0)
    return torch.where(rest.any(dim=1, keepdim=True), rest, mask)


def _attended(states: Tensor, mask: Tensor, queries: Tensor) -> Tensor:
    """Reduce [B, T, S·E] to [B, S·E] by a mean over tokens, weighted for each layer and head.

    A token's logit is the product of the head's query and of the token's state at mean 0 and
    variance 1, over the root of E: states of any size can be told apart. Queries of zeros give the
    mean over all tokens.
    """
    layers, heads, size = queries.shape
    states = states.view(*mask.shape, layers, size)
    scaled = functional.layer_norm(states, (size,))
    logits = torch.einsum("btse,sae->bsat", scaled, queries) * size**-0.5
    precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
    weights = precise.masked_fill(mask[:, None, None] == 0, float("-inf")).softmax(dim=-1)
    shares = states.view(*mask.shape, layers, heads, size // heads)
    return torch.einsum("bsat,btsad->bsad", weights.to(states.dtype), shares).flatten(1)


def _at_position(
    states: Tensor, mask: Tensor, position: Literal["cls", "mean", "max", "last"]
) -> Tensor:
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
