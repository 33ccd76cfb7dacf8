"""Several groups of rows in one pass, each of which gets what it gets alone, to the last bit.

A matrix product adds in another order when it gets more rows. So each layer multiplies the rows of
each group by itself, one group after the other while the layer's weights are at hand. That costs
little more than one product, and much less than a pass over all layers for each group.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from prefixbank.core.packed import PackedLinear

BY_ROW = (nn.Embedding, nn.LayerNorm, nn.Dropout, nn.Identity)
"""Layers that compute each row of features by itself, however many there are."""
ACTIVATIONS = {"torch.nn.modules.activation", "transformers.activations"}
"""Modules of activation functions, whose last numbers can be computed in another way."""
ALIGNED = 16
"""fp32 numbers in a cache line, at which each group has to start: products may depend on it."""


class EachAlone(nn.Module):
    """Applies a layer to each of several groups of rows, which are one after the other."""

    def __init__(self, layer: nn.Module, groups: int) -> None:
        super().__init__()
        self.layer, self.groups = layer, groups

    def forward(self, states: Tensor) -> Tensor:
        """Return what the layer gives for each part of the first axis, [G·B, ..] to [G·B, ..]."""
        return torch.cat([self.layer(part) for part in states.chunk(self.groups)])


def each_alone(model: nn.Module, groups: int) -> nn.Module | None:
    """Return a copy of a frozen model whose layers take several groups of rows, each alone.

    Its weights are those of the model. Attention is left to the caller.

    Args:
        model: in evaluation mode.
        groups: G.
    Returns:
        None if the model has layers of which it is not known whether rows depend on each other.
    """
    layers = [module for module in model.modules() if not any(module.children())]
    split = [layer for layer in layers if _splits(layer)]
    known = all(isinstance(layer, BY_ROW) or _splits(layer) for layer in layers)
    if not known or any(_weights_beside(module) for module in model.modules()):
        return None
    tensors = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    # For `deepcopy` these are copied already, and it takes what stands here.
    return copy.deepcopy(
        model, {**tensors, **{id(layer): EachAlone(layer, groups) for layer in split}}
    )


def _splits(layer: nn.Module) -> bool:
    """Return whether a layer can be applied to each group of rows alone."""
    if type(layer) is nn.Linear or isinstance(layer, PackedLinear):
        return layer.in_features % ALIGNED == layer.out_features % ALIGNED == 0
    return type(layer).__module__ in ACTIVATIONS


def _weights_beside(module: nn.Module) -> bool:
    """Return whether a module has weights beside those of the modules within it."""
    return any(module.children()) and len([*module.parameters(recurse=False)]) > 0
