"""Frozen linear layers on a CPU, their weights laid out once as oneDNN multiplies them.

torch lays weights out again, and converts them under autocast, at every call. Results are those of
the plain layers, up to the order in which products are added.
"""

from __future__ import annotations

import copy
import platform
from functools import cache, cached_property
from typing import Any

import torch
from torch import Tensor, nn

from prefixbank.core.self_check import agrees

X86 = {"x86_64", "amd64"}
"""Where the packed form was measured to be faster; elsewhere models stay as they are."""


class PackedLinear(nn.Module):
    """A frozen linear layer [.., in] to [.., out]; it computes and returns `dtype`."""

    def __init__(self, layer: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.plain_weight = layer.weight.detach()
        self.weight = _packed(self.plain_weight.to(dtype))
        self.bias = None if layer.bias is None else layer.bias.detach().to(dtype)

    @cached_property
    def transposed(self) -> Tensor:
        """The transposed weight, which only gradients need."""
        return _packed(self.plain_weight.T.to(self.dtype))

    def forward(self, states: Tensor) -> Tensor:
        """Return states · Wᵀ + b."""
        states = states.to(self.dtype)
        if states.requires_grad and torch.is_grad_enabled():
            # torch has not annotated it.
            product: Tensor = _WithGradient.apply(states, self)  # type: ignore[no-untyped-call]
            return product
        return _product(states, self.weight, self.bias)


class _WithGradient(torch.autograd.Function):
    """The product of a packed layer, with a gradient for its input."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, layer: PackedLinear) -> Tensor:
        """Return the product, and keep the layer."""
        ctx.layer = layer
        return _product(states, layer.weight, layer.bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Return the gradient of the input from that of the product."""
        return _product(gradient.contiguous(), ctx.layer.transposed, None), None


def _packed(weight: Tensor) -> Tensor:
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous())
    return packed


def _product(states: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(states, weight, bias, "none", [], "")
    return product


def packable(model: nn.Module, dtype: torch.dtype) -> bool:
    """Return whether `pack_linear_layers` helps: on x86 CPUs, for numbers that oneDNN multiplies.

    Where torch's private operators do not give what they should, it is no and warns.
    """
    device = next(model.parameters()).device.type
    return (
        device == "cpu"
        and platform.machine().lower() in X86
        # torch has not annotated it.
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and (dtype == torch.float32 or (dtype == torch.bfloat16 and multiplies_bf16()))
        and operators_agree(dtype)
    )


def multiplies_bf16() -> bool:
    """Return whether oneDNN has bf16 products for this CPU.

    Without AVX-512 or AVX-NE-CONVERT it refuses to lay weights out for them.
    """
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return supported is not None and bool(supported())


@cache
def operators_agree(dtype: torch.dtype) -> bool:
    """Return whether torch's private operators give what a linear layer is defined to give.

    Checked once in a process for each type.
    """
    weight, states = (
        torch.sin(1.7 * torch.arange(rows * 24, dtype=torch.float64) ** 1.3).view(rows, 24)
        for rows in (40, 6)
    )
    weight, states, bias = weight.to(dtype), states.to(dtype), weight[:, 0].to(dtype)
    with torch.device("meta"):
        layer = nn.Linear(24, 40)
    layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias)
    return agrees(
        "mkldnn._linear_pointwise",
        lambda: PackedLinear(layer, dtype)(states),
        states.double() @ weight.double().T + bias.double(),
        dtype,
    )


def pack_linear_layers(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Return a copy of a frozen model for inference, with packed linear layers.

    All but the weights of linear layers is shared with it.

    Args:
        model: in evaluation mode, on the CPU.
        dtype: precision of the products. If it is not float32, run the copy under autocast to it.
    """
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    packed = copy.deepcopy(model, shared)
    for module in list(packed.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear:  # a subclass may compute something else
                setattr(module, name, PackedLinear(child, dtype))
    return packed
