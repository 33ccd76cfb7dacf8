"""The parameters of learned pooling in training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from prefixbank.core.pooling import Pooling, PoolingWeights
from prefixbank.core.shapes import EncoderShape, ShapeError
from prefixbank.core.training.heads import new_head
from prefixbank.core.training.loop import Part

PROJECTION_SEED = 500_041
"""Distance of the seed of the projection from that of the training."""


class TrainablePooling(nn.Module):
    """What of a pooling is learned; `forward` returns the pooling, with gradients.

    Attention begins as the mean over tokens and the mix as the mean of all layers: queries and
    logits are zero, and the scale is one. The projection begins with a linear layer's usual values.

    Args:
        pooling: its settings. Of one that is not learned there are no parameters.
        shape: sizes of the encoder.
        seed: of the training.

    Raises:
        ShapeError: the heads of attention do not divide the features.
    """

    def __init__(self, pooling: Pooling, shape: EncoderShape, seed: int) -> None:
        super().__init__()
        self.pooling = pooling
        size = shape.hidden_size
        _check_heads(pooling, size)
        self.queries = self.mix = self.scale = self.weight = self.bias = None
        if "attention" in pooling.positions:
            self.queries = nn.Parameter(torch.zeros(pooling.layers_joined, pooling.heads, size))
        if pooling.layers == "mix":
            self.mix = nn.Parameter(torch.zeros(shape.layers + 1))
            self.scale = nn.Parameter(torch.ones(1))
        if pooling.size:
            linear = new_head(pooling.joined_size(size), pooling.size, seed + PROJECTION_SEED)
            self.weight, self.bias = linear.weight, linear.bias

    def forward(self) -> Pooling:
        """Return the pooling."""
        if not self.pooling.is_learned:
            return self.pooling
        return replace(self.pooling, weights=PoolingWeights.of(dict(self.named_parameters())))

    def snapshot(self) -> dict[str, Tensor]:
        """Return copies of the weights as `pooling.<name>`, fp32, on the CPU."""
        return {
            f"pooling.{name}": parameter.detach().float().to("cpu", copy=True)
            for name, parameter in self.named_parameters()
        }


def pooling_part(pooling: TrainablePooling, rate: float) -> Mapping[str, Part]:
    """Return the part of a training that learned pooling is, none if nothing of it is learned."""
    return {"pooling": Part(module=pooling, rate=rate)} if pooling.pooling.is_learned else {}


def _check_heads(pooling: Pooling, size: int) -> None:
    if size % pooling.heads:
        fitting = [heads for heads in range(1, size + 1) if size % heads == 0]
        near = max(heads for heads in fitting if heads < pooling.heads or heads == 1)
        raise ShapeError(
            f"pooling.heads={pooling.heads} for an encoder of size {size}",
            expected=f"a number that divides {size}: each head has its share of the features",
            fix=f"pooling.heads={near}",
        )
