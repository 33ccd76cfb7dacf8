"""Similarity of tasks: that of their prefixes, taken as embeddings of the tasks.

A prefix is a deep one [L, 2, H, P, D] or a soft prompt [P, E]. Its tokens are P vectors. Those of a
soft prompt are its rows; it counts as one layer. Those of a deep prefix are the keys and values of
all heads side by side, in one layer [2·H·D] or in all layers [L·2·H·D].

`average_tokens` is the cosine of the two mean tokens; that of a prefix with itself is 1.
`per_token` is the mean cosine over all pairs of a token of the one and a token of the other; that
of a prefix with itself is less than 1 unless all its tokens point the same way.

Both are the dot product of one vector for each task, so many prefixes are compared by one matrix
product. All is computed in fp64. Lengths P may differ. The cosine with a vector of zeros is 0.

Source: Vu et al. 2022 (2110.07904), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

import numpy as np
import torch
from torch import Tensor

from prefixbank.choices import Similarity
from prefixbank.core.shapes import ShapeError
from prefixbank.errors import DataError, UsageError


def similarity_matrix(
    measure: Similarity, sources: Sequence[Tensor], targets: Sequence[Tensor]
) -> np.ndarray:
    """Compare each source with each target, over all layers.

    Args:
        measure: `average_tokens` or `per_token`.
        sources: S prefixes, each [L, 2, H, P, D] or each [P, E].
        targets: T prefixes like the sources.

    Returns:
        float64 [S, T] from -1 to 1.

    Raises:
        ShapeError: prefixes differ in more than P, or have no slots.
        UsageError: no sources or no targets.
        DataError: a prefix holds a number that is not finite.
    """
    _check(sources, targets)
    joined: np.ndarray = _products(
        _embeddings(measure, sources, by_layer=False), _embeddings(measure, targets, by_layer=False)
    )[..., 0]
    return joined


def similarity_matrix_by_layer(
    measure: Similarity, sources: Sequence[Tensor], targets: Sequence[Tensor]
) -> np.ndarray:
    """Compare as `similarity_matrix`, for each layer alone: float64 [S, T, L].

    L is 1 for soft prompts.
    """
    _check(sources, targets)
    return _products(
        _embeddings(measure, sources, by_layer=True), _embeddings(measure, targets, by_layer=True)
    )


def _products(sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return [S, T, G], dot products of [S, G, F] and [T, G, F].

    Values that rounding puts beyond -1 or 1 are clipped.
    """
    products = sources.transpose(1, 0, 2) @ targets.transpose(1, 2, 0)
    clipped: np.ndarray = products.transpose(1, 2, 0).clip(-1.0, 1.0)
    return clipped


def _embeddings(measure: Similarity, prefixes: Sequence[Tensor], *, by_layer: bool) -> np.ndarray:
    """Return [N, G, F]: G vectors of each prefix, whose dot products are the similarities.

    G is L or 1.
    """
    tokens = [_tokens(prefix, by_layer=by_layer) for prefix in prefixes]
    match measure:
        case "average_tokens":
            return np.stack([_unit(each.mean(axis=1)) for each in tokens])
        case "per_token":
            return np.stack([_unit(each).mean(axis=1) for each in tokens])
    assert_never(measure)


def _tokens(prefix: Tensor, *, by_layer: bool) -> np.ndarray:
    """Return [G, P, F], the tokens of each layer (G = L) or of all layers together (G = 1)."""
    values: np.ndarray = prefix.detach().to(device="cpu", dtype=torch.float64).numpy()
    if values.ndim == 2:
        return values[None]
    layers, length = values.shape[0], values.shape[3]
    if by_layer:
        return values.transpose(0, 3, 1, 2, 4).reshape(layers, length, -1)
    return values.transpose(3, 0, 1, 2, 4).reshape(1, length, -1)


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Scale vectors [..., F] to length 1; zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    units: np.ndarray = vectors / np.where(lengths > 0, lengths, 1.0)
    return units


def _check(sources: Sequence[Tensor], targets: Sequence[Tensor]) -> None:
    """Raise UsageError unless the prefixes can be compared."""
    if not sources or not targets:
        raise UsageError(
            f"{len(sources)} sources and {len(targets)} targets to compare",
            expected="one or more of each",
            fix="name the prefixes to compare",
        )
    prefixes = [*sources, *targets]
    first = _all_but_length(prefixes[0])
    for prefix in prefixes:
        if _all_but_length(prefix) != first:
            raise ShapeError(
                f"prefixes of shapes {list(prefixes[0].shape)} and {list(prefix.shape)} have "
                "tokens of different sizes",
                expected="shapes [L, 2, H, P, D] or [P, E] that differ in P only",
                fix="compare prefixes of one encoder and one prefix.kind",
            )
        if not bool(torch.isfinite(prefix).all()):
            raise DataError(
                f"a prefix of shape {list(prefix.shape)} holds numbers that are not finite",
                expected="finite numbers",
                fix="train it again with a smaller optim.lr",
            )


def _all_but_length(prefix: Tensor) -> tuple[int, ...]:
    """Return the shape of a prefix or soft prompt without P; raise ShapeError if it is neither."""
    shape = tuple(prefix.shape)
    deep = len(shape) == 5 and shape[1] == 2
    if not (deep or len(shape) == 2) or 0 in shape:
        raise ShapeError(
            f"a prefix has shape {list(shape)}",
            expected="[L, 2, H, P, D] (deep) or [P, E] (soft prompt), no size 0",
            fix="use the tensor of a prefix artifact whose length is 1 or more",
        )
    return (*shape[:3], shape[4]) if deep else shape[1:]
