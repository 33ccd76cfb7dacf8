"""One probe for each layer's part of a vector; cross-validation on the train rows chooses one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from prefixbank.core.probe.model import ProbeModel
from prefixbank.core.shapes import ShapeError


@dataclass(frozen=True, kw_only=True)
class LayerBlocks:
    """The position of each layer in a vector.

    Args:
        layers: k layer numbers in the order of their blocks; 0 is the embedding layer.
        size: E, features in one block.
    """

    layers: tuple[int, ...]
    size: int

    def split(self, vectors: np.ndarray) -> list[np.ndarray]:
        """Split vectors [N, O·k·E] into the vectors of the k layers, each [N, O·E].

        O is how often the sequence of k blocks repeats: once for each pass of a bank that
        concatenates vectors, and for each kind of feature of a pair. A layer gets its block of each
        repetition.

        Raises:
            ShapeError: the size of the vectors is not a multiple of k·E.
        """
        rows, features = vectors.shape
        if features % (len(self.layers) * self.size):
            raise ShapeError(
                f"vectors of size {features}",
                expected=f"a multiple of {len(self.layers)} layers x {self.size}",
                fix="embed again with pooling.layers=concat_last",
            )
        blocks = vectors.reshape(rows, -1, len(self.layers), self.size)
        return [blocks[:, :, index].reshape(rows, -1) for index in range(len(self.layers))]


@dataclass(frozen=True, kw_only=True, eq=False)
class LayeredProbe:
    """One probe for each layer, and the one that predicts.

    Args:
        blocks: position of each layer.
        models: k probes, in the order of `blocks.layers`.
        index: of the probe that predicts.
    """

    blocks: LayerBlocks
    models: tuple[ProbeModel, ...]
    index: int

    @property
    def layer(self) -> int:
        """Return the number of the chosen layer."""
        return self.blocks.layers[self.index]

    @property
    def chosen(self) -> ProbeModel:
        """Return the probe of the chosen layer."""
        return self.models[self.index]

    def predict(self, vectors: np.ndarray) -> np.ndarray:
        """Return the chosen probe's predictions for whole vectors [N, O·k·E]."""
        return self.chosen.predict(self.blocks.split(vectors)[self.index])


def fit_layers(
    vectors: np.ndarray,
    labels: np.ndarray,
    blocks: LayerBlocks,
    fit: Callable[[np.ndarray, np.ndarray], ProbeModel],
) -> LayeredProbe:
    """Fit one probe for each layer and choose one by its cross-validation score.

    Args:
        vectors: float [N, O·k·E].
        labels: [N] or [N, C], as in `fit_probe`.
        blocks: position of each layer.
        fit: chooses the strength and fits, on the train rows of one layer.

    Raises:
        ShapeError: the size of the vectors does not fit the blocks.
    """
    models = tuple(fit(block, labels) for block in blocks.split(vectors))
    return LayeredProbe(blocks=blocks, models=models, index=best_index(models))


def best_index(models: Sequence[ProbeModel]) -> int:
    """Return the index of the probe with the highest cross-validation score.

    The last layer wins a tie, and is taken where too few rows leave no scores.
    """
    scores = [-np.inf if model.cv_score is None else model.cv_score for model in models]
    return max(range(len(models)), key=lambda index: (scores[index], index))
