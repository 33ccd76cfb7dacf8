"""Linear layers for reading on a CPU.

Weights laid out once as oneDNN multiplies them, in the precision they are read in.

torch lays weights out again, and converts them under autocast, at every call. Results are those of
the layers as they were, up to the order in which products are added up.
"""

from __future__ import annotations

import copy
import platform

import torch
from torch import Tensor, nn

X86 = {"x86_64", "amd64"}
"""Where the packed form was measured to be faster; elsewhere models stay as they are."""


class PackedLinear(nn.Module):
    """A frozen linear layer [.., in] to [.., out].

    Input is converted to `dtype`, and that is what comes out.
    """

    def __init__(self, layer: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach().to(dtype))
        self.bias = None if layer.bias is None else layer.bias.detach().to(dtype)

    def forward(self, states: Tensor) -> Tensor:
        """Return states · Wᵀ + b."""
        product: Tensor = torch.ops.mkldnn._linear_pointwise(
            states.to(self.dtype), self.weight, self.bias, "none", [], ""
        )
        return product


def packable(model: nn.Module, dtype: torch.dtype) -> bool:
    """Tell whether `pack_linear_layers` helps.

    On x86 CPUs, for numbers that oneDNN multiplies there.
    """
    device = next(model.parameters()).device.type
    return (
        device == "cpu"
        and platform.machine().lower() in X86
        # torch has not annotated it.
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and (dtype == torch.float32 or (dtype == torch.bfloat16 and multiplies_bf16()))
    )


def multiplies_bf16() -> bool:
    """Tell whether oneDNN has bf16 products for this CPU.

    Without AVX-512 or AVX-NE-CONVERT it refuses to lay weights out for them.
    """
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def pack_linear_layers(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Return a copy of a frozen model for reading only.

    All but the weights of linear layers is shared with it.

    Args:
        model: in evaluation mode, on the CPU.
        dtype: precision of the products; autocast to the same must surround the model if it is not
            float32.
    """
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    packed = copy.deepcopy(model, shared)
    for module in list(packed.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear:  # a subclass may compute something else
                setattr(module, name, PackedLinear(child, dtype))
    return packed
