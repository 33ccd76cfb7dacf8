"""How similar the tasks of a transfer map are, and how that goes with what transfer gains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from torch import Tensor

from prefixbank.artifacts.json_files import number_or_none
from prefixbank.choices import Compare, CorrelationKind, Similarity
from prefixbank.core.stats.similarity import similarity_matrix, similarity_matrix_by_layer
from prefixbank.core.stats.transfer import (
    TaskCorrelation,
    correlation,
    correlation_over_tasks,
)
from prefixbank.reports.transfer_map.study import TransferMap
from prefixbank.transfer.task_embeddings import read_embedding, unknown_movement

SIMILARITIES: tuple[Similarity, ...] = get_args(Similarity)
COMPARED: tuple[Compare, ...] = get_args(Compare)
ALL_LAYERS = "all"
LEAST_MOVEMENT, SOURCE_ALONE = "least_movement", "source alone"
"""Similarity, and what is compared, of the control that ranks sources without their targets."""

Embeddings = Sequence[Mapping[int, Tensor]]
"""For each task, seed to its embedding: [L, 2, H, P, D] or [P, E]."""


@dataclass(frozen=True, kw_only=True)
class Similarities:
    """Similarities of S rows and T columns, compared seed by seed (N of them, ascending).

    Args:
        whole: [N, S, T], over all layers together.
        layers: [N, S, T, L], each layer alone; L is 1 for soft prompts.
    """

    whole: np.ndarray
    layers: np.ndarray


@dataclass(frozen=True, kw_only=True)
class TaskSimilarities:
    """Similarities of all N tasks with each other.

    Args:
        tasks: N names.
        similarity: [N][N].
    """

    tasks: tuple[str, ...]
    similarity: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """A `TaskCorrelation` with None where a number is undefined."""

    value: float | None
    low: float | None
    high: float | None
    pairs: int
    bootstrap_samples: int

    @staticmethod
    def of(one: TaskCorrelation) -> Correlation:
        """Return the correlation as JSON can hold it."""
        return Correlation(
            value=number_or_none(one.value),
            low=number_or_none(one.low),
            high=number_or_none(one.high),
            pairs=one.pairs,
            bootstrap_samples=one.bootstrap_samples,
        )


@dataclass(frozen=True, kw_only=True)
class CorrelationsByTarget:
    """Target to the correlation over its sources; None where undefined."""

    pearson: dict[str, float | None]
    spearman: dict[str, float | None]


@dataclass(frozen=True, kw_only=True)
class WithinTargets:
    """Correlations over the sources of each target.

    Args:
        spearman: mean over targets; None if it is undefined on all.
        targets: how many it is defined on.
        by_target: each target's own.
    """

    spearman: float | None
    targets: int
    by_target: CorrelationsByTarget


@dataclass(frozen=True, kw_only=True)
class CorrelationRow:
    """How the similarity of tasks goes with relative error reduction.

    Args:
        similarity: of two task embeddings, or `LEAST_MOVEMENT`.
        compare: what of the prefixes is compared, or `SOURCE_ALONE`.
        layer: `ALL_LAYERS`, or the index of one.
        pearson: over all pairs of tasks.
        spearman: over all pairs of tasks.
        within: over the sources of each target, which is what choosing a source needs.
    """

    similarity: str
    compare: str
    layer: int | str
    pearson: Correlation
    spearman: Correlation
    within: WithinTargets


def compare_tasks(
    similarity: Similarity, rows: Embeddings, columns: Embeddings, seeds: Sequence[int]
) -> Similarities:
    """Compare tasks by embeddings of any kind, those of one seed with each other."""
    pairs = [([one[seed] for one in rows], [one[seed] for one in columns]) for seed in seeds]
    return Similarities(
        whole=np.array([similarity_matrix(similarity, *pair) for pair in pairs]),
        layers=np.array([similarity_matrix_by_layer(similarity, *pair) for pair in pairs]),
    )


@dataclass(frozen=True, kw_only=True)
class TaskEmbeddings:
    """The task embeddings of a map's sources, and of its targets' cold starts."""

    seeds: tuple[int, ...]
    sources: Mapping[str, Mapping[int, Tensor]]
    targets: Mapping[str, Mapping[int, Tensor]]

    @staticmethod
    def of(study: TransferMap, compare: Compare) -> TaskEmbeddings:
        """Read them from the prefixes' files."""
        return TaskEmbeddings(
            seeds=tuple(sorted(study.facts.seeds)),
            sources={
                name: {seed: read_embedding(entry, compare) for seed, entry in by_seed.items()}
                for name, by_seed in study.sources.items()
            },
            targets={
                name: {seed: read_embedding(one.prefix, compare) for seed, one in by_seed.items()}
                for name, by_seed in study.cold.items()
            },
        )

    def source_to_target(self, similarity: Similarity) -> Similarities:
        """Compare sources with targets."""
        return compare_tasks(
            similarity, list(self.sources.values()), list(self.targets.values()), self.seeds
        )

    def least_movement(self) -> Similarities:
        """Return minus how far each source has moved, whatever the target; only of movement.

        A control: what a similarity has to beat.
        """
        by_layer = np.array(
            [
                [
                    [float(layer.norm()) for layer in _layers(one[seed])]
                    for one in self.sources.values()
                ]
                for seed in self.seeds
            ]
        )
        layers = -np.repeat(by_layer[:, :, None], len(self.targets), axis=2)
        return Similarities(whole=-np.sqrt((layers**2).sum(axis=-1)), layers=layers)

    def between(self, similarity: Similarity) -> TaskSimilarities:
        """Compare all tasks with each other, mean over seeds.

        A task that is a source and a target counts once, as the source.
        """
        tasks = {**self.targets, **self.sources}
        names = tuple(dict.fromkeys((*self.sources, *self.targets)))
        embeddings = [tasks[name] for name in names]
        whole = compare_tasks(similarity, embeddings, embeddings, self.seeds).whole.mean(axis=0)
        return TaskSimilarities(tasks=names, similarity=tuple(map(tuple, whole.tolist())))


def _layers(embedding: Tensor) -> Tensor:
    """Return an embedding by layer; a soft prompt is one."""
    return embedding.double() if embedding.ndim > 2 else embedding.double()[None]


def comparable(study: TransferMap) -> list[Compare]:
    """Return what can be compared of all the map's prefixes.

    Movement only where all start values are known.
    """
    entries = [entry for by_seed in study.sources.values() for entry in by_seed.values()]
    entries += [one.prefix for by_seed in study.cold.values() for one in by_seed.values()]
    return [
        compare
        for compare in COMPARED
        if all(unknown_movement(entry.document, "", compare) is None for entry in entries)
    ]


def correlations(
    similarity: str,
    compare: str,
    similarities: Similarities,
    reductions: np.ndarray,
    gains: np.ndarray,
    study: TransferMap,
    bootstrap_samples: int,
) -> list[CorrelationRow]:
    """Return for each layer how similarity goes with relative error reduction.

    Args:
        similarity: its name.
        compare: the name of what is compared.
        similarities: of sources and targets.
        reductions: [S, T] relative error reductions, NaN where there is none.
        gains: [S, T], NaN where a target lacks a source. They rank the sources of one target as
            reductions do, and are always defined.
        study: names the tasks.
        bootstrap_samples: draws of tasks behind the intervals.
    """
    sources, targets = list(study.sources), list(study.cold)

    def over_tasks(kind: CorrelationKind, values: np.ndarray) -> Correlation:
        return Correlation.of(
            correlation_over_tasks(
                kind,
                values,
                reductions,
                sources,
                targets,
                bootstrap_samples=bootstrap_samples,
                seed=0,
            )
        )

    return [
        CorrelationRow(
            similarity=similarity,
            compare=compare,
            layer=layer,
            pearson=over_tasks("pearson", values),
            spearman=over_tasks("spearman", values),
            within=_within(values, gains, targets),
        )
        for layer, values in _by_layer(similarities)
    ]


def _by_layer(similarities: Similarities) -> Iterator[tuple[str | int, np.ndarray]]:
    """Yield means over seeds, [S, T].

    Of all layers together, then of each alone if there are several.
    """
    yield ALL_LAYERS, similarities.whole.mean(axis=0)
    layers = similarities.layers.mean(axis=0)
    if layers.shape[-1] > 1:
        yield from ((layer, layers[..., layer]) for layer in range(layers.shape[-1]))


def _within(values: np.ndarray, gains: np.ndarray, targets: Sequence[str]) -> WithinTargets:
    """Return the correlations over the sources of each target."""
    by_target = CorrelationsByTarget(
        pearson=_by_target("pearson", values, gains, targets),
        spearman=_by_target("spearman", values, gains, targets),
    )
    defined = [value for value in by_target.spearman.values() if value is not None]
    return WithinTargets(
        spearman=float(np.mean(defined)) if defined else None,
        targets=len(defined),
        by_target=by_target,
    )


def _by_target(
    kind: CorrelationKind, values: np.ndarray, gains: np.ndarray, targets: Sequence[str]
) -> dict[str, float | None]:
    return {
        target: number_or_none(over_sources(kind, values[:, index], gains[:, index]))
        for index, target in enumerate(targets)
    }


def over_sources(kind: CorrelationKind, x: np.ndarray, y: np.ndarray) -> float:
    """Return the correlation of x [S] and y [S] over the sources that have both.

    NaN where undefined.
    """
    both = np.isfinite(x) & np.isfinite(y)
    return correlation(kind, x[both], y[both])
