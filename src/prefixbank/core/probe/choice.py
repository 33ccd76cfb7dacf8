"""Choose what of a vector a probe reads: cross-validation on the train rows compares candidates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from prefixbank.choices import PoolingPosition, ProbeLayers, ProbePositions, Reading
from prefixbank.core.layout import Layout, Segment
from prefixbank.core.probe.model import ProbeModel


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """The segments that a probe reads: those of these readings, layers and positions.

    Segments that have neither, as the blocks of sources, are read at every layer and position.

    Args:
        readings: one, or both side by side.
        layers: one or several; None is the mean of several layers.
        positions: one or several.
    """

    readings: tuple[Reading, ...]
    layers: tuple[int | None, ...]
    positions: tuple[PoolingPosition, ...]

    def segments(self, layout: Layout) -> tuple[Segment, ...]:
        """Return its segments, in the order of the layout."""
        return tuple(
            one
            for one in layout.segments
            if one.reading in self.readings
            and (one.undivided or (one.layer in self.layers and one.position in self.positions))
        )


def candidates_in(
    layout: Layout, *, choose_reading: bool, layers: ProbeLayers, positions: ProbePositions
) -> tuple[Candidate, ...]:
    """Return what a probe chooses from, the first being preferred where scores tie.

    They are all combinations of the three axes. The joint reading comes before the separate one and
    both side by side, a later layer before an earlier one, and positions are in their order.
    Vectors of nothing but blocks, and transformed ones, have readings only.

    Args:
        layout: of the vectors.
        choose_reading: compare the readings of pairs; else all lie side by side.
        layers: `joined`: all side by side; `last`: the last one only; `best`: each.
        positions: `joined`: all side by side; `best`: each.
    """
    readings = [layout.readings]
    if choose_reading and len(layout.readings) > 1:
        readings = [*((one,) for one in layout.readings), layout.readings]
    from_last = sorted(layout.layers, key=lambda layer: -1 if layer is None else layer)[::-1]
    by_layer: dict[ProbeLayers, list[tuple[int | None, ...]]] = {
        "joined": [layout.layers],
        "last": [tuple(from_last[:1])],
        "best": [(one,) for one in from_last] or [()],
    }
    by_position: dict[ProbePositions, list[tuple[PoolingPosition, ...]]] = {
        "joined": [layout.positions],
        "best": [(one,) for one in layout.positions] or [()],
    }
    return tuple(
        Candidate(readings=reading, layers=layer, positions=position)
        for reading, layer, position in product(readings, by_layer[layers], by_position[positions])
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class ChosenProbe:
    """A probe for each candidate, and the one that predicts.

    Args:
        layout: of whole vectors.
        candidates: one or more.
        models: a probe for each of them.
        index: of the one that predicts.
    """

    layout: Layout
    candidates: tuple[Candidate, ...]
    models: tuple[ProbeModel, ...]
    index: int

    @property
    def chosen(self) -> Candidate:
        """The candidate that predicts."""
        return self.candidates[self.index]

    @property
    def model(self) -> ProbeModel:
        """The probe of the chosen candidate."""
        return self.models[self.index]

    def decision(self, vectors: np.ndarray) -> np.ndarray:
        """Return the chosen probe's decision values, [N, C], for whole vectors [N, F]."""
        return self.decision_with(self.index, vectors)

    def decision_with(self, index: int, vectors: np.ndarray) -> np.ndarray:
        """Return the decision values of the probe at `index` for whole vectors [N, F]."""
        segments = self.candidates[index].segments(self.layout)
        return self.models[index].decision(self.layout.take(vectors, segments))


def fit_best(
    vectors: np.ndarray,
    labels: np.ndarray,
    layout: Layout,
    candidates: Sequence[Candidate],
    fit: Callable[[np.ndarray, np.ndarray], ProbeModel],
) -> ChosenProbe:
    """Fit a probe for each candidate and choose one by its cross-validation score.

    Args:
        vectors: float [N, F].
        labels: [N] or [N, C], as in `fit_probe`.
        layout: of the vectors.
        candidates: what to compare, one or more; a single one is taken as it is.
        fit: chooses the strength and fits, on the train rows of one candidate. It has to divide
            the rows into the same folds for each.

    Raises:
        DataError: the size of the vectors is not that of the layout.
    """
    models = tuple(fit(layout.take(vectors, one.segments(layout)), labels) for one in candidates)
    return ChosenProbe(
        layout=layout, candidates=tuple(candidates), models=models, index=best_index(models)
    )


def best_index(models: Sequence[ProbeModel]) -> int:
    """Return the index of the probe with the highest cross-validation score.

    The first one wins a tie, and is taken where too few rows leave no scores.
    """
    scores = [-np.inf if model.cv_score is None else model.cv_score for model in models]
    return int(np.argmax(scores))
