"""Layout: which reading, layer and position each feature of a vector comes from. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from prefixbank.choices import Pairs, PoolingPosition, Reading
from prefixbank.errors import DataError

if TYPE_CHECKING:
    from prefixbank.core.pooling import Pooling


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Features of a vector that lie side by side and have one origin.

    Args:
        reading: `joint`: a text, or both texts of a pair in one input; `separate`: u, v, |u - v|
            or u * v of the two texts of a pair, each read alone.
        layer: 0 is the embedding layer, L the last; None: the mean of several layers.
        position: of the tokens.
        start: index of the first feature.
        size: number of features.
        readouts: whether it is the block of a source.
        transformed: whether its features are made of all those of the reading.
    """

    reading: Reading
    layer: int | None
    position: PoolingPosition
    start: int
    size: int
    readouts: bool = False
    transformed: bool = False

    @property
    def undivided(self) -> bool:
        """Whether it has neither layers nor positions to choose from."""
        return self.readouts or self.transformed


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The segments of a vector, in order and without gaps.

    Several segments may have the same reading, layer and position: u, v, |u - v| and u * v, and one
    for each pass of a bank that concatenates vectors.
    """

    segments: tuple[Segment, ...]

    @property
    def size(self) -> int:
        """F, the number of features."""
        return sum(segment.size for segment in self.segments)

    @property
    def readings(self) -> tuple[Reading, ...]:
        """The readings that occur, in order."""
        return tuple(dict.fromkeys(segment.reading for segment in self.segments))

    @property
    def layers(self) -> tuple[int | None, ...]:
        """The layers to choose from, in order."""
        return tuple(dict.fromkeys(one.layer for one in self.segments if not one.undivided))

    @property
    def positions(self) -> tuple[PoolingPosition, ...]:
        """The positions to choose from, in order."""
        return tuple(dict.fromkeys(one.position for one in self.segments if not one.undivided))

    def take(self, vectors: np.ndarray, segments: Sequence[Segment]) -> np.ndarray:
        """Return some segments of vectors [N, F], side by side; all of them: the vectors as given.

        Raises:
            DataError: the size of the vectors is not that of the layout.
        """
        if vectors.shape[1] != self.size:
            raise DataError(
                f"vectors of size {vectors.shape[1]}",
                expected=f"{self.size} features, as their layout says",
                fix="embed them with the same bank, pooling and reading of pairs",
            )
        if tuple(segments) == self.segments:
            return vectors
        return np.concatenate(
            [vectors[:, one.start : one.start + one.size] for one in segments], axis=1
        )


_APART: tuple[Reading, ...] = ("separate",) * 4
READINGS: dict[Pairs, tuple[Reading, ...]] = {
    "joint": ("joint",),
    "separate": _APART,
    "both": ("joint", *_APART),
}
"""The parts of a vector, in order: the joint vector, u, v, |u - v| and u * v."""


def layout_of(
    pooling: Pooling, *, pairs: Pairs, layers: int, hidden_size: int, passes: int = 1
) -> Layout:
    """Return the layout of vectors as they are embedded.

    The joint vector comes first, then u, v, |u - v| and u * v. Each holds the passes, each pass its
    layers, and each layer its positions, in the order of the pooling.

    Args:
        pooling: how hidden states become one vector.
        pairs: how pairs of texts are read; `joint` for single texts.
        layers: L of the encoder.
        hidden_size: E of the encoder.
        passes: number of vectors of single passes or prefixes that lie side by side.
    """
    if pooling.size:
        return _projected(pooling, READINGS[pairs], passes)
    origins = [
        (reading, layer, position)
        for reading in READINGS[pairs]
        for _ in range(passes)
        for layer in pooling.layers_of(layers)
        for position in pooling.positions
    ]
    segments = [
        Segment(
            reading=reading,
            layer=layer,
            position=position,
            start=number * hidden_size,
            size=hidden_size,
        )
        for number, (reading, layer, position) in enumerate(origins)
    ]
    return Layout(segments=tuple(segments))


def _projected(pooling: Pooling, readings: Sequence[Reading], passes: int) -> Layout:
    """Return the layout of vectors after a projection, which leaves no layer and position apart."""
    segments = [
        Segment(
            reading=reading,
            layer=None,
            position=pooling.positions[0],
            start=number * pooling.size,
            size=pooling.size,
            transformed=True,
        )
        for number, reading in enumerate(reading for reading in readings for _ in range(passes))
    ]
    return Layout(segments=tuple(segments))


def layout_of_block(features: int, pairs: Pairs) -> Layout:
    """Return the layout of the block of a source.

    Args:
        features: F of the whole block.
        pairs: how pairs of texts are read; `joint` for single texts.
    """
    readings = READINGS[pairs]
    size = features // len(readings)
    segments = [
        Segment(
            reading=reading,
            layer=None,
            position="mean",
            start=number * size,
            size=size,
            readouts=True,
        )
        for number, reading in enumerate(readings)
    ]
    return Layout(segments=tuple(segments))


def layout_of_transformed(sizes: Sequence[int], pairs: Pairs) -> Layout:
    """Return the layout of vectors of which each reading was transformed by itself.

    Args:
        sizes: number of features of each reading.
        pairs: how pairs of texts are read; `joint` for single texts.
    """
    ends = np.cumsum(sizes).tolist()
    segments = [
        Segment(
            reading=reading,
            layer=None,
            position="mean",
            start=end - size,
            size=size,
            transformed=True,
        )
        for reading, size, end in zip(dict.fromkeys(READINGS[pairs]), sizes, ends, strict=True)
    ]
    return Layout(segments=tuple(segments))


def features_of_readings(features: int, pairs: Pairs) -> list[int]:
    """Return how many of the features of a vector, F in all, are of each reading, in order."""
    parts = READINGS[pairs]
    return [features // len(parts) * parts.count(one) for one in dict.fromkeys(parts)]


def side_by_side(layouts: Sequence[Layout]) -> Layout:
    """Return the layout of concatenated vectors."""
    segments: list[Segment] = []
    start = 0
    for layout in layouts:
        segments += [replace(one, start=start + one.start) for one in layout.segments]
        start += layout.size
    return Layout(segments=tuple(segments))
