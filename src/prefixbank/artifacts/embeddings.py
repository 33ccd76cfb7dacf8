"""Embeddings artifacts: vectors in Parquet files, one for each part.

Columns are `id`, `row` (index in the whole corpus, from 0) and `vector`, a fixed-size list. Readers
select the columns they need, since a file may have more (`steps/embed/reuse.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from safetensors.numpy import load_file

from prefixbank.artifacts.json_files import read_json
from prefixbank.choices import VectorType
from prefixbank.core.layout import Layout, Segment
from prefixbank.core.quantize import Calibration, dequantize, needs_calibration
from prefixbank.data.corpus.texts import Texts
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON

STEP = "embed"
FACTS, CALIBRATION = "embeddings.json", "calibration.safetensors"

TRUNCATED, FEATURES = b"truncated_rows", b"features"
"""Keys of a part's Parquet metadata."""

Join = Literal["concat", "mean"]


def publish_part(
    path: Path,
    rows: Texts,
    stored: np.ndarray,
    truncated: int,
    features: int,
    *,
    columns: Mapping[str, pa.Array] | None = None,
) -> None:
    """Write the vectors of one part, with the ids of its rows, or their indices.

    Args:
        path: the file.
        rows: N texts.
        stored: [N, S] vectors as stored, from `quantize`.
        truncated: number of rows with a truncated text.
        features: F of the vectors.
        columns: further columns.
    """
    ids = (
        _row_indices(rows.first_row, len(rows))
        if rows.ids is None
        else pa.array(rows.ids, pa.string())
    )
    write_part(path, ids, stored, truncated, features, first_row=rows.first_row, columns=columns)


def _row_indices(first: int, count: int) -> pa.Array:
    return pa.array(np.arange(first, first + count), pa.int64())


def write_part(
    path: Path,
    ids: pa.Array,
    stored: np.ndarray,
    truncated: int,
    features: int = 0,
    *,
    first_row: int = 0,
    columns: Mapping[str, pa.Array] | None = None,
) -> None:
    """Write one part. The file gets its name when it is complete."""
    column = pa.FixedSizeListArray.from_arrays(pa.array(stored.reshape(-1)), stored.shape[1])
    table = pa.table(
        {
            "id": ids,
            "row": _row_indices(first_row, len(stored)),
            "vector": column,
            **(columns or {}),
        }
    )
    table = table.replace_schema_metadata(
        {TRUNCATED: str(truncated).encode(), FEATURES: str(features or stored.shape[1]).encode()}
    )
    fresh = path.with_suffix(".new")
    parquet.write_table(table, fresh, compression="none", use_dictionary=False)
    fresh.replace(path)


def finished_part(path: Path) -> tuple[int, int] | None:
    """Return the number of truncated rows and F of a finished part, None if there is none."""
    if not path.is_file():
        return None
    facts = parquet.read_schema(path).metadata
    return int(facts[TRUNCATED]), int(facts[FEATURES])


def read_stored(entry: Entry, stem: str) -> np.ndarray:
    """Return the vectors of one part as stored, [N, S]."""
    return stored_in(parquet.read_table(entry.file(f"{stem}.parquet"), columns=["vector"]))


def stored_in(table: pa.Table) -> np.ndarray:
    """Return the vectors in a Parquet table as stored, [N, S]."""
    column = table.column("vector").combine_chunks()
    flat: np.ndarray = column.values.to_numpy(zero_copy_only=False)
    return flat.reshape(len(column), column.type.list_size)


def read_vectors(entry: Entry, stem: str) -> np.ndarray:
    """Return the vectors of one part as float32 [N, F], however they are stored."""
    stored = read_stored(entry, stem)
    kind, features = stored_type(entry)
    calibration = read_calibration(entry.file(CALIBRATION)) if needs_calibration(kind) else None
    return dequantize(stored, kind, calibration, features or stored.shape[1])


def stored_type(entry: Entry) -> tuple[VectorType, int]:
    """Return the stored type of vectors, and F.

    F is 0 for joined vectors, which are not quantised.
    """
    facts = read_json(entry, FACTS).get("vectors", {"type": "float32", "features": 0})
    return facts["type"], facts["features"]


def describe_layout(layout: Layout) -> list[JSON]:
    """Return the segments of a vector as `embeddings.json` lists them under `layout`."""
    return [asdict(segment) for segment in layout.segments]


def read_layout(entry: Entry) -> Layout:
    """Return which reading, layer and position each feature of the vectors comes from."""
    described = read_json(entry, FACTS)["layout"]
    return Layout(segments=tuple(Segment(**segment) for segment in described))


def read_calibration(path: Path) -> Calibration:
    """Read a calibration."""
    return Calibration(**load_file(path))
