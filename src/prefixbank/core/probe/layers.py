"""Sweep over layers: one probe for each layer's part of a vector.

Cross-validation on the train rows chooses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from prefixbank.core.probe.model import ProbeModel
from prefixbank.core.shapes import ShapeError


@dataclass(frozen=True, kw_only=True)
class LayerBlocks:
    """Where in a vector each layer is.

    Args:
        layers: k layer numbers in the order of their blocks; 0 is the embedding layer.
        size: E, numbers in one block.
    """

    layers: tuple[int, ...]
    size: int

    def split(self, vectors: np.ndarray) -> list[np.ndarray]:
        """Return the k layers' own vectors, each [N, O·E], of vectors [N, O·k·E].

        O is how often the k blocks come one after another: for each pass of a bank that lays
        vectors side by side, for each of the features of a pair. Every layer gets its block of
        each.

        Raises:
            ShapeError: vectors are not made of such blocks.
        """
        rows, features = vectors.shape
        if features % (len(self.layers) * self.size):
            raise ShapeError(
                f"vectors of size {features}",
                expected=f"a multiple of {len(self.layers)} layers x {self.size}",
                fix="embed again with pooling.layers=concat_last",
            )
        blocks = vectors.reshape(rows, -1, len(self.layers), self.size)
        return [blocks[:, :, place].reshape(rows, -1) for place in range(len(self.layers))]


@dataclass(frozen=True, kw_only=True, eq=False)
class LayeredProbe:
    """One probe for each layer, and which of them predicts.

    Args:
        blocks: where each layer is.
        models: k probes, in the order of `blocks.layers`.
        place: of the chosen one.
    """

    blocks: LayerBlocks
    models: tuple[ProbeModel, ...]
    place: int

    @property
    def layer(self) -> int:
        """Return the number of the chosen layer."""
        return self.blocks.layers[self.place]

    @property
    def chosen(self) -> ProbeModel:
        """Return the probe of the chosen layer."""
        return self.models[self.place]

    def predict(self, vectors: np.ndarray) -> np.ndarray:
        """Return the chosen probe's predictions for whole vectors [N, O·k·E]."""
        return self.chosen.predict(self.blocks.split(vectors)[self.place])


def fit_layers(
    vectors: np.ndarray,
    labels: np.ndarray,
    blocks: LayerBlocks,
    fit: Callable[[np.ndarray, np.ndarray], ProbeModel],
) -> LayeredProbe:
    """Fit one probe for each layer and choose by cross-validation score.

    Args:
        vectors: float [N, O·k·E].
        labels: [N] or [N, C], as in `fit_probe`.
        blocks: where each layer is.
        fit: chooses the strength and fits, on the train rows of one layer.

    Raises:
        ShapeError: vectors are not made of such blocks.
    """
    models = tuple(fit(block, labels) for block in blocks.split(vectors))
    return LayeredProbe(blocks=blocks, models=models, place=best_place(models))


def best_place(models: Sequence[ProbeModel]) -> int:
    """Return the place of the highest cross-validation score.

    A tie, or no scores for lack of rows, goes to the last layer.
    """
    scores = [-np.inf if model.cv_score is None else model.cv_score for model in models]
    return max(range(len(models)), key=lambda place: (scores[place], place))
