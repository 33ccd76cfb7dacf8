"""Features of a pair of texts that were embedded separately."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from prefixbank.core.shapes import ShapeError


def pair_features(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return u, v, |u - v| and u * v side by side, [N, 4F].

    Args:
        u: [N, F] vectors of the first texts.
        v: [N, F] vectors of the second texts.
    Raises:
        ShapeError: the second vectors differ in number or size.
    Source: InferSent, Conneau et al. 2017 (arXiv 1705.02364), section 3.1.
    """
    if u.shape != v.shape:
        raise ShapeError(
            f"first vectors of shape {list(u.shape)}, second of {list(v.shape)}",
            expected="the same shape",
            fix="embed both texts with one bank",
        )
    return np.concatenate([u, v, np.abs(u - v), u * v], axis=1)


def side_by_side(vectors: Tensor) -> Tensor:
    """Return `pair_features` of pairs, [B, 4F], with gradients.

    Args:
        vectors: [2B, F], u of all first texts, then v of all second texts.
    """
    u, v = vectors.chunk(2)
    return torch.cat([u, v, (u - v).abs(), u * v], dim=1)
