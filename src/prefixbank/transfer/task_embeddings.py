"""Reading task embeddings.

The early prefix of a training as it stands, or how far it has moved from where it started.

Prefixes of one seed start from the same random values. After few steps these are most of a prefix,
so that values are alike whatever the tasks are, and most alike where least was learned; movement
leaves the start out.

Source: values, Vu et al. 2022 (2110.07904), section 3; movement, the task vectors of Ilharco et al.
2023 (2212.04089).
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
        similarity: of two embeddings.
        compare: of a prefix.
    """

    similarity: Similarity
    compare: Compare

    def of(self, target: Entry, sources: Sequence[Entry]) -> np.ndarray:
        """Return the similarity of each source with a target, over all layers, float64 [S]."""
        from prefixbank.core.stats.similarity import similarity_matrix

        whole: np.ndarray = similarity_matrix(
            self.similarity, self._read(sources), self._read([target])
        )[:, 0]
        return whole

    def by_layer(self, target: Entry, sources: Sequence[Entry]) -> np.ndarray:
        """Return the same for each layer alone, float64 [S, L]."""
        from prefixbank.core.stats.similarity import similarity_matrix_by_layer

        layers: np.ndarray = similarity_matrix_by_layer(
            self.similarity, self._read(sources), self._read([target])
        )[:, 0]
        return layers

    def _read(self, entries: Sequence[Entry]) -> list[Tensor]:
        return [read_embedding(entry, self.compare) for entry in entries]


def read_embedding(entry: Entry, compare: Compare) -> Tensor:
    """Return a task embedding, [L, 2, H, P, D] or of a soft prompt [P, E].

    Args:
        entry: a trained prefix, or the short run of a task.
        compare: its values or its movement.

    Raises:
        UsageError: see `unreadable`.
    """
    from prefixbank.artifacts.tensors import prefix_from, read_tensors
    from prefixbank.core.prefix import normal_start

    fault = unreadable(entry.document, f"prefix {entry.short_key}", compare)
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
"""Settings of a prefix that its start values follow from, with the seed."""


def incomparable(source: JSON, target: JSON, name: str, compare: Compare) -> UsageError | None:
    """Return why a prefix cannot be compared with that of a target.

    Values that started elsewhere tell of their start, not of their task.

    Args:
        source: document of the prefix.
        target: document of the target's training.
        name: what messages call the prefix.
        compare: what is compared.
    """
    if compare == "movement":
        return unreadable(source, name, compare)
    theirs, own = (
        {**{key: one["config"]["prefix"][key] for key in START}, "seed": one["config"]["seed"]}
        for one in (source, target)
    )
    other = [key for key in own if theirs[key] != own[key]]
    if not other:
        return None
    settings = [" ".join(_setting(key, start[key]) for key in other) for start in (theirs, own)]
    return UsageError(
        f"{name} started from {settings[0]}, the run on the task starts from {settings[1]}",
        expected="the same start values where values are compared",
        fix="compare=movement    or train one of them as the other",
    )


def _setting(key: str, value: object) -> str:
    return f"seed={value}" if key == "seed" else f"prefix.{key}={value}"


def unreadable(document: JSON, name: str, compare: Compare) -> UsageError | None:
    """Return why the movement of a prefix is not known.

    Where it started does not follow from its seed alone.

    Args:
        document: of a prefix that is trained, or is to be.
        name: what messages call it.
        compare: what is to be read.
    """
    prefix = document["config"]["prefix"]
    if compare == "weights" or (prefix["init"], prefix["projection"]) == ("random", "none"):
        return None
    return UsageError(
        f"{name} has prefix.init={prefix['init']} and prefix.projection={prefix['projection']}",
        expected="random start values and no network, where movement is read",
        fix="compare=weights    or train it with prefix.init=random",
    )
