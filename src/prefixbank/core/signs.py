"""Signs of numbers, with a gradient to learn them by."""

from __future__ import annotations

import torch
from torch import Tensor


def straight_through_sign(values: Tensor) -> Tensor:
    """Return 1 above zero and -1 elsewhere, with the gradient of values clipped to [-1, 1].

    Sources: Courbariaux et al. 2016 (1602.02830), equation 4; Du et al. 2020 (2004.14287).
    """
    clipped = values.clamp(-1, 1)
    signs = torch.where(values > 0, 1.0, -1.0).to(values.dtype)
    return (clipped - clipped.detach()) + signs


def codes_of(vectors: Tensor) -> Tensor:
    """Return the signs of vectors [B, D], with gradients.

    Each vector is first divided by its root mean square, which is taken as given. It changes no
    sign, and keeps about two thirds of the features between -1 and 1 whatever the size of the
    vectors, where the gradient of `straight_through_sign` is not zero. Computed in float32 at
    least, in which squares of half precision do not overflow.
    """
    precise = vectors.to(torch.promote_types(vectors.dtype, torch.float32))
    scale = precise.detach().square().mean(dim=-1, keepdim=True).sqrt()
    scaled = precise / scale.clamp_min(torch.finfo(precise.dtype).tiny)
    return straight_through_sign(scaled).to(vectors.dtype)
