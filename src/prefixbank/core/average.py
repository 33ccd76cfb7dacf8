"""The mean of several sources' prefixes, weighted by similarity, from which a target can start.

Slot i of one prefix is averaged with slot i of the others, as in the paper, although slots have no
order in attention.

Source: Vu et al. 2022 (2110.07904), section 3, "weighted average of top-k".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from prefixbank.core.combine import mean_prefix, weighted_mean
from prefixbank.core.prefix import Prefix
from prefixbank.core.shapes import ShapeError
from prefixbank.errors import UsageError


def retrieval_weights(similarities: np.ndarray) -> np.ndarray:
    """Return the weights of the sources in a mean: their similarities, scaled to a sum of 1.

    A negative similarity counts as 0, which leaves the source out. If none is above 0, all weights
    are equal.

    Args:
        similarities: [k] similarities of the k retrieved sources with the target.

    Returns:
        float64 [k].

    Raises:
        UsageError: no similarity, or one that is not finite.
    """
    values = np.asarray(similarities, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise UsageError(
            f"similarities {values.tolist()}",
            expected="one finite number for each retrieved source, at least one",
            fix="pass the similarities of the k nearest sources, shape [k]",
        )
    clipped = values.clip(min=0.0)
    highest = clipped.max()
    if highest == 0:
        return np.full(len(values), 1 / len(values))
    scaled = clipped / highest  # their sum is a normal number, however small the similarities
    weights: np.ndarray = scaled / scaled.sum()
    return weights


def average_prefixes(prefixes: Sequence[Prefix], weights: Sequence[float]) -> Prefix:
    """Return the weighted mean of deep prefixes and of their log-gates.

    A missing gate counts as 0; if all are missing, so is that of the mean.

    Args:
        prefixes: k of one shape [L, 2, H, P, D].
        weights: k numbers >= 0, scaled to a sum of 1.

    Raises:
        ShapeError: prefixes differ in shape.
        UsageError: no prefix, or weights that do not fit.
    """
    _check_mean([prefix.tensor for prefix in prefixes], weights)
    return mean_prefix(
        [(prefix, weight) for prefix, weight in zip(prefixes, weights, strict=True) if weight > 0]
    )


def average_tensors(tensors: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Return the weighted mean of soft prompts, or of one of the tensors of read-outs.

    Args:
        tensors: k of one shape.
        weights: k numbers >= 0, scaled to a sum of 1.

    Raises:
        ShapeError: tensors differ in shape.
        UsageError: no tensor, or weights that do not fit.
    """
    _check_mean(tensors, weights)
    used = [(tensor, weight) for tensor, weight in zip(tensors, weights, strict=True) if weight > 0]
    return weighted_mean([tensor for tensor, _ in used], [weight for _, weight in used])


def _check_mean(tensors: Sequence[Tensor], weights: Sequence[float]) -> None:
    """Raise ShapeError or UsageError unless the tensors have a mean under these weights."""
    if not tensors or len(tensors) != len(weights):
        raise UsageError(
            f"{len(weights)} weights for {len(tensors)} prefixes",
            expected="one weight for each of one or more prefixes",
            fix="pass as many weights as prefixes",
        )
    values = np.asarray(weights, dtype=np.float64)
    if not np.isfinite(values).all() or values.min() < 0 or values.max() == 0:
        raise UsageError(
            f"weights {values.tolist()}",
            expected="finite numbers >= 0, one of them above 0",
            fix="use what retrieval_weights returns",
        )
    shapes = sorted({tuple(tensor.shape) for tensor in tensors})
    if len(shapes) > 1:
        raise ShapeError(
            f"mean of prefixes of shapes {', '.join(str(list(shape)) for shape in shapes)}",
            expected="prefixes of one encoder and one length",
            fix="train the sources on one encoder with one prefix.length",
        )
