"""Fit a linear transform to a sample of vectors: PCA, random rotation, ITQ or an autoencoder.

Whatever is random comes from a seed, and principal directions have a sign of their own, so that the
same sample gives the same transform.

Sources: Gong & Lazebnik 2011 (iterative quantization, ITQ); Du et al. 2020 (2004.14287), section 5
(binary vectors with a straight-through gradient).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import assert_never

import numpy as np
import torch

from prefixbank.choices import Transform
from prefixbank.core.signs import straight_through_sign
from prefixbank.core.transform import LinearTransform
from prefixbank.errors import DataError, UsageError

NO_VARIANCE = 1e-12
"""Share of the largest variance up to which a direction holds the rounding of float32 alone."""
ALTERNATIONS = 50
"""Alternations of ITQ between signs and rotation, as in the paper."""

STEPS, BATCH, RATE = 1000, 256, 1e-2
"""Training of the autoencoder: steps, rows in each, and Adam's first learning rate."""


def fit_transform(kind: Transform, sample: np.ndarray, size: int, seed: int) -> LinearTransform:
    """Return the transform of a kind for a sample of vectors.

    Args:
        kind: which transform.
        sample: [M, F] float32.
        size: D, number of features that it gives; 0: F.
        seed: of rotations, and of the rows of the autoencoder's steps.

    Raises:
        UsageError: more features than `pca` or `itq` can give.
        DataError: fewer rows than these need, or rows that differ in fewer directions.
    """
    rows, features = sample.shape
    check_size(kind, size, features=features, rows=rows)
    size = size or features
    mean = sample.mean(axis=0, dtype=np.float64)
    centred = sample - mean
    match kind:
        case "pca":
            matrix = principal_directions(centred, size)
        case "rotation":
            matrix = random_rotation(features, size, seed)
        case "itq":
            directions = principal_directions(centred, size)
            start = random_rotation(size, size, seed)
            matrix = directions @ itq_rotation(centred @ directions, start)
        case "autoencoder":
            matrix = autoencoder(centred, size, seed)
        case _:
            assert_never(kind)
    return LinearTransform(mean=mean.astype(np.float32), matrix=matrix.astype(np.float32))


def check_size(
    kind: Transform, size: int, *, features: int, rows: int, of: str = "vectors"
) -> None:
    """Refuse more features of `pca` and `itq` than vectors or the rows of a sample have.

    Args:
        kind: which transform.
        size: D, number of features that it gives; 0: F.
        features: F of the vectors.
        of: what the errors call the vectors.
        rows: M of the sample. Less their mean they span M - 1 directions at most.

    Raises:
        UsageError: D is more than F.
        DataError: D is more than M - 1.
    """
    if kind not in ("pca", "itq"):
        return
    if size > features:
        raise UsageError(
            f"transform={kind} transform_size={size} on {of} of {features} features",
            expected="as many features after the transform as before, or fewer",
            fix=f"transform_size={features}    or transform=rotation, which can give more",
        )
    size = size or features
    if rows <= size:
        smaller = f"transform_size={rows - 1}    or " if rows > 1 else ""
        raise DataError(
            f"transform={kind} of {of} to {size} features, fitted on {rows} rows",
            expected=f"more rows than features: {size + 1} or more",
            fix=f"{smaller}transform=rotation, which any number of rows will do for",
        )


def principal_directions(centred: np.ndarray, size: int) -> np.ndarray:
    """Return the directions of the largest variance, [F, D], in falling order.

    The sign of each is such that its component of the largest size is positive.

    Args:
        centred: [M, F] float64, of mean zero.
        size: D, at most F.

    Raises:
        DataError: the sample has fewer directions with any variance.
    """
    variances, every = np.linalg.eigh(centred.T @ centred)
    spanned = int((variances > variances[-1] * NO_VARIANCE).sum()) if variances[-1] > 0 else 0
    if spanned < size:
        raise DataError(
            f"a sample of vectors that vary in {spanned} directions, for {size} principal ones",
            expected="texts that differ in as many directions as there are to be features",
            fix=f"transform_size={max(1, spanned)}    or more and other texts among the first "
            "transform_rows",
        )
    directions = every[:, ::-1][:, :size]
    largest = np.abs(directions).argmax(axis=0)
    return np.asarray(directions * np.sign(directions[largest, np.arange(size)]))


def random_rotation(features: int, size: int, seed: int) -> np.ndarray:
    """Return the first D columns of random orthogonal matrices side by side, [F, D].

    With D up to F its columns are orthonormal. With more, they are in each F of them.

    Args:
        features: F.
        size: D.
        seed: of the matrices, which are uniform among all orthogonal ones.
    """
    rng = np.random.default_rng(seed)
    matrices = []
    for _ in range(-(-size // features)):
        orthogonal, triangle = np.linalg.qr(rng.standard_normal((features, features)))
        matrices.append(orthogonal * np.sign(np.diag(triangle)))
    return np.concatenate(matrices, axis=1)[:, :size]


def itq_rotation(vectors: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return the rotation R [D, D] by which ITQ brings V R near to its signs B.

    Each alternation takes B = sign(V R), and then the R with the least |B - V R|, which is U W' of
    the singular value decomposition V' B = U S W'.

    Args:
        vectors: V [M, D], of mean zero, after PCA.
        start: the first R.

    Source: Gong & Lazebnik 2011, section 2.2.
    """
    rotation = start
    for _ in range(ALTERNATIONS):
        signs = np.where(vectors @ rotation < 0, -1.0, 1.0)
        left, _, right = np.linalg.svd(vectors.T @ signs)
        rotation = left @ right
    return np.asarray(rotation)


def autoencoder(centred: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Return the encoder [F, D] of a linear autoencoder whose code is the signs of D features.

    Encoder and decoder minimise the squared error of the vectors by Adam, from a random rotation
    and its transpose, with a learning rate that falls to zero along a line. Computed in one thread.

    Args:
        centred: [M, F] float64, of mean zero.
        size: D.
        seed: of the rotation, and of the rows of each step.
    """
    features = centred.shape[1]
    scale = np.sqrt(np.square(centred).mean()) or 1.0
    rows = torch.from_numpy((centred / scale).astype(np.float32))
    start = random_rotation(features, size, seed).astype(np.float32)
    encoder = torch.from_numpy(start.copy()).requires_grad_()
    # The best decoder of the signs of normal variables, which share what F features hold.
    share = np.float32(np.sqrt(2 / np.pi) * min(1.0, features / size))
    decoder = torch.from_numpy((start.T * share).copy()).requires_grad_()
    optimizer = torch.optim.Adam([encoder, decoder], lr=RATE)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / STEPS)
    order = torch.Generator().manual_seed(seed)
    with _one_thread(), torch.enable_grad():
        for _ in range(STEPS):
            batch = rows[torch.randint(len(rows), (BATCH,), generator=order)]
            error = batch - straight_through_sign(batch @ encoder) @ decoder
            optimizer.zero_grad()
            torch.autograd.backward(error.square().mean())
            optimizer.step()
            schedule.step()
    return encoder.detach().double().numpy()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute in one thread, so that sums do not depend on the number of cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
