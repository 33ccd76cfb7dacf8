"""Features of a pair of texts that were embedded separately."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from prefixbank.core.shapes import ShapeError


def pair_features(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return |u - v| and u * v side by side, [N, 2F]; the order of the two texts changes nothing.

    Args:
        u: [N, F] vectors of the first texts.
        v: [N, F] vectors of the second texts.
    Raises:
        ShapeError: the second vectors differ in number or size.
    Source: Tai et al. 2015 (arXiv 1503.00075), the model of relatedness; SentEval (Conneau & Kiela
    2018, arXiv 1803.05449), pair tasks.
    """
    if u.shape != v.shape:
        raise ShapeError(
            f"first vectors of shape {list(u.shape)}, second of {list(v.shape)}",
            expected="the same shape",
            fix="embed both texts with one bank",
        )
    return np.concatenate([np.abs(u - v), u * v], axis=1)


def side_by_side(vectors: Tensor) -> Tensor:
    """Return u, v, |u - v| and u * v side by side, [B, 4F].

    Args:
        vectors: [2B, F], u of all first texts, then v of all second texts.
    Source: InferSent, Conneau et al. 2017 (arXiv 1705.02364), section 3.1.
    """
    u, v = vectors.chunk(2)
    return torch.cat([u, v, (u - v).abs(), u * v], dim=1)
