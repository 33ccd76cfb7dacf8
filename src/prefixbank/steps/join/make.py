"""Make the artifact of step `join`: join the vectors of each part."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import assert_never

import numpy as np
import pyarrow.parquet as parquet

from prefixbank.artifacts.embeddings import (
    TRUNCATED,
    Join,
    part_file,
    read_vectors,
    write_part,
)
from prefixbank.store.artifact import Entry


def join_part(path: Path, embeddings: Sequence[Entry], stem: str, rule: Join) -> None:
    """Write one part of the joined vectors, with ids and truncation of the first embeddings."""
    first = parquet.read_table(part_file(embeddings[0], stem), columns=["id"])
    vectors = [read_vectors(entry, stem) for entry in embeddings]
    write_part(
        path,
        first.column("id").combine_chunks(),
        join_vectors(vectors, rule),
        int(first.schema.metadata[TRUNCATED]),
    )


def join_vectors(vectors: Sequence[np.ndarray], rule: Join) -> np.ndarray:
    """Return the concatenation or the mean of vectors, float32 [N, F]."""
    match rule:
        case "concat":
            return np.concatenate(vectors, axis=1)
        case "mean":
            mean: np.ndarray = np.stack(vectors).mean(axis=0, dtype=np.float64)
            return mean.astype(np.float32)
    assert_never(rule)
