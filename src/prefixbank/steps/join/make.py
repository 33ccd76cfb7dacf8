"""Make the artifact of step `join`: join the vectors of each part."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import assert_never

import numpy as np
import pyarrow.parquet as parquet

from prefixbank.artifacts.embeddings import (
    FACTS,
    TRUNCATED,
    Join,
    describe_layout,
    part_file,
    read_layout,
    read_vectors,
    write_part,
)
from prefixbank.artifacts.json_files import read_json
from prefixbank.core.layout import side_by_side
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON


def join_facts(embeddings: Sequence[Entry], rule: Join) -> JSON:
    """Return the facts about joined vectors: those of the first, and where all segments lie."""
    facts: JSON = read_json(embeddings[0], FACTS)
    for fact in ("vectors", "blocks"):  # joined vectors are whole, and not quantised
        facts.pop(fact, None)
    if rule == "concat":
        layout = side_by_side([read_layout(entry) for entry in embeddings])
        facts["layout"] = describe_layout(layout)
    return facts


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
