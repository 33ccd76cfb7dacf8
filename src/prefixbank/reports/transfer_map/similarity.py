"""How alike the tasks of a transfer map are, and how that goes with what transfer brings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

import numpy as np
from torch import Tensor

from prefixbank.artifacts.json_files import number_or_none
from prefixbank.choices import Compare, Correlation, Similarity
from prefixbank.core.stats.similarity import similarity_matrix, similarity_matrix_by_layer
from prefixbank.core.stats.transfer import correlation, correlation_over_tasks
from prefixbank.reports.transfer_map.study import TransferMap
from prefixbank.store.key import JSON
from prefixbank.transfer.task_embeddings import read_embedding, unknown_movement

MEASURES: tuple[Similarity, ...] = get_args(Similarity)
READINGS: tuple[Compare, ...] = get_args(Compare)
KINDS: tuple[Correlation, ...] = get_args(Correlation)
ALL_LAYERS = "all"
SOURCE_ALONE = {"measure": "least_movement", "reading": "source alone"}
"""What the control is called that ranks sources without looking at targets."""

Embeddings = Sequence[Mapping[int, Tensor]]
"""Of each task, seed to its embedding: [L, 2, H, P, D] or [P, E]."""


@dataclass(frozen=True, kw_only=True)
class Similarities:
    """Similarities of S rows and T columns, compared seed by seed (N of them, ascending).

    Args:
        whole: [N, S, T], over all layers together.
        layers: [N, S, T, L], each layer alone; L is 1 for soft prompts.
    """

    whole: np.ndarray
    layers: np.ndarray


def compare(
    measure: Similarity, rows: Embeddings, columns: Embeddings, seeds: Sequence[int]
) -> Similarities:
    """Compare tasks by embeddings of any kind, those of one seed with each other."""
    pairs = [([one[seed] for one in rows], [one[seed] for one in columns]) for seed in seeds]
    return Similarities(
        whole=np.array([similarity_matrix(measure, *pair) for pair in pairs]),
        layers=np.array([similarity_matrix_by_layer(measure, *pair) for pair in pairs]),
    )


@dataclass(frozen=True, kw_only=True)
class TaskEmbeddings:
    """The task embeddings of a map.

    Of its sources, and of its targets' trainings from a cold start.
    """

    seeds: tuple[int, ...]
    sources: Mapping[str, Mapping[int, Tensor]]
    targets: Mapping[str, Mapping[int, Tensor]]

    @staticmethod
    def of(study: TransferMap, reading: Compare) -> TaskEmbeddings:
        """Read them."""
        return TaskEmbeddings(
            seeds=tuple(sorted(study.facts.seeds)),
            sources={
                name: {seed: read_embedding(entry, reading) for seed, entry in of.items()}
                for name, of in study.sources.items()
            },
            targets={
                name: {seed: read_embedding(one.prefix, reading) for seed, one in of.items()}
                for name, of in study.cold.items()
            },
        )

    def compared(self, measure: Similarity) -> Similarities:
        """Compare sources with targets."""
        return compare(
            measure, list(self.sources.values()), list(self.targets.values()), self.seeds
        )

    def stillness(self) -> Similarities:
        """Return how little each source has moved, whatever the target.

        What similarity has to beat. Only of movement.
        """
        of_layers = np.array(
            [
                [
                    [float(layer.norm()) for layer in _layers(one[seed])]
                    for one in self.sources.values()
                ]
                for seed in self.seeds
            ]
        )
        layers = -np.repeat(of_layers[:, :, None], len(self.targets), axis=2)
        return Similarities(whole=-np.sqrt((layers**2).sum(axis=-1)), layers=layers)

    def between(self, measure: Similarity) -> JSON:
        """Compare all tasks with each other, mean over seeds.

        A source that also is a target is there once, as the source.
        """
        tasks = {**self.targets, **self.sources}
        names = list(dict.fromkeys((*self.sources, *self.targets)))
        whole = compare(
            measure, [tasks[name] for name in names], [tasks[name] for name in names], self.seeds
        ).whole.mean(axis=0)
        return {"tasks": names, "similarity": whole.tolist()}


def _layers(embedding: Tensor) -> Tensor:
    """Return an embedding by layer; a soft prompt is one."""
    return embedding.double() if embedding.ndim > 2 else embedding.double()[None]


def readings_of(study: TransferMap) -> list[Compare]:
    """Return what can be read of all the map's prefixes.

    Movement only where all start values are known.
    """
    entries = [entry for by_seed in study.sources.values() for entry in by_seed.values()]
    entries += [one.prefix for by_seed in study.cold.values() for one in by_seed.values()]
    return [
        reading
        for reading in READINGS
        if all(unknown_movement(entry.document, "", reading) is None for entry in entries)
    ]


def correlations(
    found: Sequence[tuple[JSON, Similarities]],
    reductions: np.ndarray,
    gains: np.ndarray,
    study: TransferMap,
    bootstrap_samples: int,
) -> list[JSON]:
    """Return for each comparison and layer how similarity goes with relative error reduction.

    Args:
        found: names of a comparison, and the similarities of sources and targets by it.
        reductions: [S, T] relative error reductions, NaN where there is none.
        gains: [S, T], NaN where a target lacks a source. They rank the sources of one target as
            reductions do, and are always defined.
        study: names the tasks.
        bootstrap_samples: draws of tasks behind the intervals.
    """
    tasks = (list(study.sources), list(study.cold))
    rows = []
    for names, similarities in found:
        for layer, values in _by_layer(similarities):
            over_tasks: JSON = {
                kind: _finite(
                    asdict(
                        correlation_over_tasks(
                            kind,
                            values,
                            reductions,
                            *tasks,
                            bootstrap_samples=bootstrap_samples,
                            seed=0,
                        )
                    )
                )
                for kind in KINDS
            }
            rows.append(
                {**names, "layer": layer, **over_tasks, "within": _within(values, gains, tasks[1])}
            )
    return rows


def _by_layer(similarities: Similarities) -> Iterator[tuple[str | int, np.ndarray]]:
    """Yield means over seeds, [S, T].

    Of all layers together, then of each alone if there are several.
    """
    yield ALL_LAYERS, similarities.whole.mean(axis=0)
    layers = similarities.layers.mean(axis=0)
    if layers.shape[-1] > 1:
        yield from ((layer, layers[..., layer]) for layer in range(layers.shape[-1]))


def _within(values: np.ndarray, gains: np.ndarray, targets: Sequence[str]) -> JSON:
    """Return the mean over targets of the correlation over sources; None where undefined.

    This is what choosing a source needs.
    """
    by_target = {
        kind: {
            target: number_or_none(along(kind, values[:, place], gains[:, place]))
            for place, target in enumerate(targets)
        }
        for kind in KINDS
    }
    there = [value for value in by_target["spearman"].values() if value is not None]
    return {
        "spearman": float(np.mean(there)) if there else None,
        "targets": len(there),
        "by_target": by_target,
    }


def along(kind: Correlation, x: np.ndarray, y: np.ndarray) -> float:
    """Return the correlation of x [S] and y [S] over the sources that have both.

    NaN where undefined.
    """
    there = np.isfinite(x) & np.isfinite(y)
    return correlation(kind, x[there], y[there])


def _finite(values: Mapping[str, Any]) -> JSON:
    return {
        name: number_or_none(value) if isinstance(value, float) else value
        for name, value in values.items()
    }


def ranking_row(table: JSON) -> JSON:
    """Return the row on the similarity that ranks sources."""
    asked = (table["measure"], table["reading"], ALL_LAYERS)
    found: JSON = next(
        row
        for row in table["correlations"]
        if (row["measure"], row["reading"], row["layer"]) == asked
    )
    return found
