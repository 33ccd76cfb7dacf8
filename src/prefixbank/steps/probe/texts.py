"""The texts of a task as a probe embeds them: each distinct row once, whatever its split.

Their order depends on the texts alone. So tasks with the same texts share vectors however each of
them is split, as columns of labels of one file do, which are stratified by different labels.
Calibrated vectors, int8, binary and transformed ones, lie by split instead: train rows calibrate
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from prefixbank.artifacts.embeddings import FACTS, read_vectors
from prefixbank.artifacts.json_files import read_json
from prefixbank.config.schema import VectorRecipe
from prefixbank.core.probe.model import check_vectors
from prefixbank.data.corpus.row_digests import row_digests
from prefixbank.data.corpus.texts import Texts
from prefixbank.data.tasks.task import Task
from prefixbank.steps.embed.step import parts_of_task
from prefixbank.store.artifact import Entry

PART = "texts"
"""The part that holds the rows of all splits."""


@dataclass(frozen=True, kw_only=True)
class _Distinct:
    """Distinct rows of some splits.

    Args:
        texts: D rows, ordered by their digests.
        rows: by split, the number in `texts` of each of its N rows, int64 [N].
    """

    texts: Texts
    rows: dict[str, np.ndarray]


def probe_parts(task: Task, splits: Sequence[str], recipe: VectorRecipe) -> dict[str, Texts]:
    """Return the texts that a probe of a task needs, as parts to embed.

    Args:
        task: the task.
        splits: names of the splits that the probe reads.
        recipe: how they are embedded.
    """
    if recipe.calibrated_by:
        return parts_of_task(task, splits)
    return {PART: _distinct(task, splits).texts}


def read_splits(
    embeddings: Sequence[Entry], task: Task, splits: Sequence[str]
) -> dict[str, np.ndarray]:
    """Return the vectors of each split, float32 [N, F].

    Args:
        embeddings: of the parts of `probe_parts`, of the same splits; several lie side by side.
        task: the task.
        splits: names of the splits.

    Raises:
        DataError: the vectors are not as many as the rows.
    """
    if read_json(embeddings[0], FACTS)["parts"] != [PART]:
        found = {split: _side_by_side(embeddings, split) for split in splits}
        for split, vectors in found.items():
            check_vectors(vectors, len(task.split(split)))
        return found
    distinct = _distinct(task, splits)
    vectors = _side_by_side(embeddings, PART)
    check_vectors(vectors, len(distinct.texts))
    return {split: vectors[rows] for split, rows in distinct.rows.items()}


def _side_by_side(embeddings: Sequence[Entry], stem: str) -> np.ndarray:
    """Return the vectors of a part, float32 [N, F]."""
    parts = [read_vectors(entry, stem) for entry in embeddings]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _distinct(task: Task, splits: Sequence[str]) -> _Distinct:
    parts = parts_of_task(task, splits)
    every = Texts(
        texts=tuple(text for rows in parts.values() for text in rows.texts),
        pairs=None
        if task.train.pairs is None
        else tuple(text for rows in parts.values() for text in rows.pairs or ()),
    )
    _, first, number = np.unique(row_digests(every), axis=0, return_index=True, return_inverse=True)
    ends = np.cumsum([len(rows) for rows in parts.values()])[:-1]
    words = next(iter(parts.values())).words
    return _Distinct(
        texts=replace(every.take(first), words=words),
        rows=dict(zip(parts, np.split(number.reshape(-1), ends), strict=True)),
    )
