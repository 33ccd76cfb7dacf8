"""Heads in memory, and what they say of vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from prefixbank.artifacts.fitted_probe import read_probe
from prefixbank.artifacts.source_head import read_heads, source_names
from prefixbank.choices import Kind
from prefixbank.core.layout import Layout, side_by_side
from prefixbank.core.probe.decision import DecisionRule
from prefixbank.core.probe.solution import Solution, standardise
from prefixbank.steps.predict.heads import Head

Take = Callable[[Sequence[np.ndarray], Sequence[Layout]], np.ndarray]
"""Takes vectors and layouts of all embeddings; returns the features that a head reads, [N, R]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedHead:
    """A head in memory.

    Args:
        name: of its columns.
        rule: what it predicts, and how logits become probabilities and predictions.
        labels: names of its C classes or labels; empty for a regression.
        take: see `Take`.
        solution: weights on the features, standardised where there is a mean.
        mean: float64 [R]; None: features are not standardised.
        scale: float64 [R], beside a mean.
    """

    name: str
    rule: DecisionRule
    labels: tuple[str, ...]
    take: Take
    solution: Solution
    mean: np.ndarray | None = None
    scale: np.ndarray | None = None

    def decide(self, vectors: Sequence[np.ndarray], layouts: Sequence[Layout]) -> np.ndarray:
        """Return logits, or values of a regression, float64 [N, C]."""
        features = self.take(vectors, layouts)
        if self.mean is not None and self.scale is not None:
            features = standardise(features, self.mean, self.scale)
        return self.solution.decision(features).astype(np.float64, copy=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """What one head says of N texts.

    Args:
        kind: what it predicts.
        names: names of its C classes or labels; empty for a regression.
        values: classes int64 [N], flags uint8 [N, C] or values float64 [N].
        probabilities: float64 [N, C], of each class, or of each label alone; None for a regression.
        abstained: bool [N], where no class is probable enough.
    """

    kind: Kind
    names: tuple[str, ...]
    values: np.ndarray
    probabilities: np.ndarray | None
    abstained: np.ndarray

    def __repr__(self) -> str:
        """Return the number of texts and what is predicted."""
        return f"Predictions({len(self.values)} texts, kind={self.kind!r}, names={self.names!r})"

    @property
    def labels(self) -> list[str | None] | list[list[str]] | list[float]:
        """The class of each text by name, its labels by name, or its value.

        A class is None where the head abstains.
        """
        if self.kind == "regression":
            return [float(value) for value in self.values]
        if self.kind == "multilabel":
            flags: np.ndarray = self.values
            return [[self.names[int(index)] for index in np.flatnonzero(row)] for row in flags]
        return [
            None if abstained else self.names[value]
            for value, abstained in zip(self.values, self.abstained, strict=True)
        ]


def load_head(head: Head) -> LoadedHead:
    """Read a head."""
    if head.source is None:
        return _of_probe(head)
    index, number = head.source
    source = read_heads(head.entry)[source_names(head.entry)[index]][number]

    def take(vectors: Sequence[np.ndarray], layouts: Sequence[Layout]) -> np.ndarray:
        (place,) = head.needs
        wanted = [one for one in layouts[place].segments if one.reading == source.pairs]
        return layouts[place].take(vectors[place], wanted)

    return LoadedHead(
        name=head.name,
        rule=DecisionRule(kind=source.kind),
        labels=source.labels,
        take=take,
        solution=Solution(weights=source.weight.T, bias=source.bias),
    )


def _of_probe(head: Head) -> LoadedHead:
    probe = read_probe(head.entry, head.name)

    def take(vectors: Sequence[np.ndarray], layouts: Sequence[Layout]) -> np.ndarray:
        read = [vectors[index] for index in head.needs]
        layout = side_by_side([layouts[index] for index in head.needs])
        whole = read[0] if len(read) == 1 else np.concatenate(read, axis=1)
        return layout.take(whole, probe.reads.segments(layout))

    return LoadedHead(
        name=head.name,
        rule=probe.rule,
        labels=probe.labels,
        take=take,
        solution=probe.model.solution,
        mean=probe.model.mean,
        scale=probe.model.scale,
    )


def predictions_of(
    head: LoadedHead,
    vectors: Sequence[np.ndarray],
    layouts: Sequence[Layout],
    abstain_below: float,
) -> Predictions:
    """Return what a head says.

    Args:
        head: what predicts.
        vectors: float32 [N, F] of each of the embeddings.
        layouts: of these.
        abstain_below: least probability of a class that is named.
    """
    decision, kind = head.decide(vectors, layouts), head.rule.kind
    values = head.rule.predictions(decision)
    abstained = np.zeros(len(decision), dtype=bool)
    probabilities = None if kind == "regression" else head.rule.probabilities(decision)
    if kind == "classification" and probabilities is not None:
        # With a threshold, the class that is named may not be the most probable one.
        abstained = probabilities[np.arange(len(values)), values] < abstain_below
    return Predictions(
        kind=kind,
        names=head.labels,
        values=values,
        probabilities=probabilities,
        abstained=abstained,
    )
