"""Compare task embeddings: a prefix early in training, by its weights or by its movement.

Prefixes of one seed start from the same random values. After a few steps these dominate the prefix,
so that weights are similar whatever the tasks are, and most similar where least was learned.
Movement is the difference from the start.

Source: weights, Vu et al. 2022 (2110.07904), section 3; movement, the task vectors of Ilharco et
al. 2023 (2212.04089).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

import numpy as np

from prefixbank.artifacts.prefix import EMBEDDING
from prefixbank.choices import Compare, Similarity
from prefixbank.errors import UsageError
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How tasks are compared.

    Args:
        similarity: measure of similarity.
        compare: weights or movement.
    """

    similarity: Similarity
    compare: Compare

    def of(self, target: Entry, sources: Sequence[Entry]) -> np.ndarray:
        """Return the similarity of each source with a target over all layers, float64 [S]."""
        from prefixbank.core.stats.similarity import similarity_matrix

        whole: np.ndarray = similarity_matrix(
            self.similarity, self._read(sources), self._read([target])
        )[:, 0]
        return whole

    def by_layer(self, target: Entry, sources: Sequence[Entry]) -> np.ndarray:
        """Return the similarity in each layer, float64 [S, L]."""
        from prefixbank.core.stats.similarity import similarity_matrix_by_layer

        layers: np.ndarray = similarity_matrix_by_layer(
            self.similarity, self._read(sources), self._read([target])
        )[:, 0]
        return layers

    def _read(self, entries: Sequence[Entry]) -> list[Tensor]:
        return [read_embedding(entry, self.compare) for entry in entries]


def read_embedding(entry: Entry, compare: Compare) -> Tensor:
    """Read a task embedding, [L, 2, H, P, D], or [P, E] of a soft prompt.

    Args:
        entry: a trained prefix, or the short run of a task.
        compare: its weights or its movement.

    Raises:
        UsageError: see `unknown_movement`.
    """
    from prefixbank.artifacts.tensors import prefix_from, read_tensors
    from prefixbank.core.prefix import normal_start

    fault = unknown_movement(entry.document, f"prefix {entry.short_key}", compare)
    if fault is not None:
        raise fault
    tensor: Tensor = prefix_from(read_tensors(entry, EMBEDDING)).tensor
    match compare:
        case "weights":
            return tensor
        case "movement":
            config = entry.document["config"]
            return tensor - normal_start(
                tensor.shape, config["prefix"]["init_scale"], config["seed"]
            )
    assert_never(compare)


START = ("kind", "length", "init", "init_scale", "projection", "mlp_hidden_size")
"""Settings of a prefix that, with the seed, determine its start values."""


def incomparable(source: JSON, target: JSON, name: str, compare: Compare) -> UsageError | None:
    """Return why a prefix cannot be compared with that of a target, None if it can.

    Weights with different start values differ by the start, not by the task.

    Args:
        source: key document of the prefix.
        target: key document of the target's prefix.
        name: what messages call the prefix.
        compare: weights or movement.
    """
    if compare == "movement":
        return unknown_movement(source, name, compare)
    theirs, own = (
        {**{key: one["config"]["prefix"][key] for key in START}, "seed": one["config"]["seed"]}
        for one in (source, target)
    )
    different = [key for key in own if theirs[key] != own[key]]
    if not different:
        return None
    settings = [" ".join(_setting(key, start[key]) for key in different) for start in (theirs, own)]
    return UsageError(
        f"{name} started from {settings[0]}, the run on the task starts from {settings[1]}",
        expected="the same start values to compare weights",
        fix="compare=movement    or train both with the same settings",
    )


def _setting(key: str, value: object) -> str:
    return f"seed={value}" if key == "seed" else f"prefix.{key}={value}"


def unknown_movement(document: JSON, name: str, compare: Compare) -> UsageError | None:
    """Return why the movement of a prefix is not known, None if it is, or if weights are compared.

    The start values must follow from the seed alone.

    Args:
        document: key document of a prefix.
        name: what messages call the prefix.
        compare: weights or movement.
    """
    prefix = document["config"]["prefix"]
    if compare == "weights" or (prefix["init"], prefix["projection"]) == ("random", "none"):
        return None
    return UsageError(
        f"{name} has prefix.init={prefix['init']} and prefix.projection={prefix['projection']}",
        expected="random start values and no projection to compare movement",
        fix="compare=weights    or train it with prefix.init=random",
    )
