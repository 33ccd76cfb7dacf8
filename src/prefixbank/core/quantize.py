"""Vectors in fewer bytes: float16, int8 with a range for each feature, or one bit for each feature.

Ranges and thresholds are computed once, from a sample of vectors. Values beyond a range are
clipped. numpy only.

Sources: Du et al. 2020 (2004.14287), section 5 (binary embeddings); sentence-transformers'
`ubinary` for the order of bits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import assert_never

import numpy as np

from prefixbank.choices import BinaryThreshold, VectorType
from prefixbank.core.transform import LinearTransform

LEVELS = 256
NEAR = 1e-4
"""Margin, relative to the spread of all features, below which rounding may flip a bit."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Statistics of each feature in a sample of vectors, and how vectors got their features.

    Args:
        low: [F] least value.
        high: [F] greatest value.
        median: [F].
        transforms: of consecutive features, before anything else; none: vectors as they are.
        near_threshold: share of the sample's bits that are near their threshold, see `share_near`;
            None: not for bits.
    """

    low: np.ndarray
    high: np.ndarray
    median: np.ndarray
    transforms: tuple[LinearTransform, ...] = ()
    near_threshold: float | None = None

    def threshold(self, threshold: BinaryThreshold) -> np.ndarray:
        """Return [F], the value above which a feature's bit is one; zero after a transform."""
        if threshold == "median" and not self.transforms:
            return self.median
        return np.zeros_like(self.median)


def calibrate(
    sample: np.ndarray,
    transforms: tuple[LinearTransform, ...] = (),
    *,
    bits: BinaryThreshold | None = None,
) -> Calibration:
    """Return the calibration of a sample of vectors.

    Args:
        sample: [M, F] float32, transformed.
        transforms: how.
        bits: the threshold of bits; None: the vectors keep more than these.
    """
    made = Calibration(
        low=sample.min(axis=0),
        high=sample.max(axis=0),
        median=np.median(sample, axis=0).astype(np.float32),
        transforms=transforms,
    )
    if bits is None:
        return made
    return replace(made, near_threshold=share_near(sample, made.threshold(bits)))


def share_near(sample: np.ndarray, threshold: np.ndarray) -> float:
    """Return the share of values that lie so near to a threshold that rounding may flip their bit.

    That is nearer than 1e-4 of the root mean square, over features, of their standard deviations:
    the rounding of a product depends on the size of whole vectors, not on that of a feature.

    Args:
        sample: [M, F].
        threshold: [F].
    """
    spread = np.sqrt(sample.var(axis=0, dtype=np.float64).mean())
    return float((np.abs(sample - threshold) <= NEAR * spread).mean())


def needs_calibration(kind: VectorType) -> bool:
    """Return whether `quantize` needs a calibration."""
    return kind in ("int8", "binary")


def bytes_per_vector(kind: VectorType, features: int) -> int:
    """Return the bytes of one vector of F features."""
    return {
        "float32": 4 * features,
        "float16": 2 * features,
        "int8": features,
        "binary": (features + 7) // 8,
    }[kind]


def quantize(
    vectors: np.ndarray,
    kind: VectorType,
    calibration: Calibration | None,
    threshold: BinaryThreshold,
) -> np.ndarray:
    """Convert vectors to the type that is stored.

    Args:
        vectors: [N, F] float32, transformed.
        kind: type to store them as.
        calibration: for `int8` and `binary`.
        threshold: for `binary`: a bit is one where the feature exceeds its median in the sample, or
            zero, which it is after a transform.
    Returns:
        [N, F] float32, float16 or int8; or [N, ceil(F / 8)] uint8 with eight features in a byte,
        the first one in the highest bit.
    """
    match kind:
        case "float32":
            return vectors
        case "float16":
            limit = np.finfo(np.float16).max
            return vectors.clip(-limit, limit).astype(np.float16)
        case "int8":
            low, step = _steps(_required(calibration))
            levels: np.ndarray = np.floor((vectors - low) / step).clip(0, LEVELS - 1) - LEVELS // 2
            return levels.astype(np.int8)
        case "binary":
            bits: np.ndarray = np.packbits(
                vectors > _required(calibration).threshold(threshold), axis=1, bitorder="big"
            )
            return bits
    assert_never(kind)


def dequantize(
    stored: np.ndarray, kind: VectorType, calibration: Calibration | None, features: int
) -> np.ndarray:
    """Return float32 vectors [N, F] from stored ones.

    `int8` gives the middle of each level, `binary` 1 and -1 for its bits.
    """
    match kind:
        case "float32" | "float16":
            return stored.astype(np.float32)
        case "int8":
            low, high = _required(calibration).low, _required(calibration).high
            step = (high - low) / LEVELS  # 0 of a constant feature
            levels = stored.astype(np.float32) + (LEVELS // 2 + 0.5)
            values: np.ndarray = (low + levels * step).astype(np.float32)
            return values
        case "binary":
            bits = np.unpackbits(stored, axis=1, count=features, bitorder="big")
            return bits.astype(np.float32) * 2 - 1
    assert_never(kind)


def _required(calibration: Calibration | None) -> Calibration:
    if calibration is None:
        raise ValueError("int8 and binary vectors need a calibration")
    return calibration


def _steps(calibration: Calibration) -> tuple[np.ndarray, np.ndarray]:
    """Return the low end [F] and the width of a level [F]; it is 1 for a constant feature."""
    width = (calibration.high - calibration.low) / LEVELS
    return calibration.low, np.where(width > 0, width, 1.0).astype(np.float32)
