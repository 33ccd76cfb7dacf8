"""Embeddings artifacts: vectors in Parquet files, one for each part.

Columns are `id`, `row` (index in the whole corpus, from 0) and `vector`, a fixed-size list. Readers
select the columns they need, since a file may have more (`steps/embed/reuse.py`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from safetensors.numpy import load_file

from prefixbank.artifacts.json_files import read_json
from prefixbank.choices import BinaryThreshold, VectorType
from prefixbank.core.layout import Layout, Segment
from prefixbank.core.quantize import Calibration, dequantize, needs_calibration, quantize
from prefixbank.core.transform import LinearTransform, transformed
from prefixbank.data.corpus.texts import Texts
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON

STEP = "embed"
FACTS, CALIBRATION = "embeddings.json", "calibration.safetensors"

TRUNCATED, FEATURES, BLOCKS = b"truncated_rows", b"features", b"blocks"
"""Keys of a part's Parquet metadata; copies with whole vectors have the last one."""

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
        truncated: number of rows with a text that is longer than the encoder reads at once.
        features: F of the vectors.
        columns: further columns.
    """
    numbers = pa.array(rows.numbers)
    ids = numbers if rows.ids is None else pa.array(rows.ids, pa.string())
    write_part(path, ids, stored, truncated, features, numbers=numbers, columns=columns)


def write_part(
    path: Path,
    ids: pa.Array,
    stored: np.ndarray,
    truncated: int,
    features: int = 0,
    *,
    numbers: pa.Array | None = None,
    columns: Mapping[str, pa.Array] | None = None,
) -> None:
    """Write one part, of rows 0..N-1 without `numbers`. It gets its name when it is complete."""
    table = pa.table(
        {
            "id": ids,
            "row": pa.array(np.arange(len(stored))) if numbers is None else numbers,
            "vector": vector_column(stored),
            **(columns or {}),
        }
    )
    table = table.replace_schema_metadata(
        {TRUNCATED: str(truncated).encode(), FEATURES: str(features or stored.shape[1]).encode()}
    )
    write_table(path, table)


def vector_column(stored: np.ndarray) -> pa.Array:
    """Return vectors as stored, [N, S], as a column of lists of S numbers."""
    return pa.FixedSizeListArray.from_arrays(pa.array(stored.reshape(-1)), stored.shape[1])


def write_table(path: Path, table: pa.Table) -> None:
    """Write a Parquet file. It gets its name when it is complete."""
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        parquet.write_table(table, file, compression="none", use_dictionary=False)
        file.flush()
        os.fsync(file.fileno())  # else the name may outlive a loss of power, and the bytes not
    fresh.replace(path)


def join_tables(tables: Iterable[pa.Table], path: Path) -> None:
    """Write parts of one table to one Parquet file, with a part in memory at a time.

    Its metadata are those of the first part less the number of truncated rows, which is of a part.
    """
    tables = iter(tables)
    first = next(tables)
    metadata = {**(first.schema.metadata or {})}
    metadata.pop(TRUNCATED, None)
    schema = first.schema.with_metadata(metadata)
    with parquet.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
        for table in chain([first], tables):
            writer.write_table(table.replace_schema_metadata(metadata))


def finished_part(path: Path) -> tuple[int, int] | None:
    """Return the number of truncated rows and F of a finished part, None if there is none."""
    try:
        facts = parquet.read_schema(path).metadata
    except (FileNotFoundError, pa.ArrowInvalid):  # or its bytes were lost with the power
        return None
    return int(facts[TRUNCATED]), int(facts[FEATURES])


def block_prefix(index: int) -> str:
    """Return what the files of a block begin with, in the embeddings of a bank of blocks."""
    return f"block-{index}."


def block_features(entry: Entry) -> dict[str, int]:
    """Return the name of each block, in order, and its number of features; empty without blocks."""
    return {one["name"]: one["features"] for one in read_json(entry, FACTS).get("blocks", [])}


def prefixes_in(entry: Entry) -> list[str]:
    """Return what the files of each block begin with; one empty text if there are no blocks."""
    return [block_prefix(index) for index in range(len(block_features(entry)))] or [""]


def part_file(entry: Entry, stem: str) -> Path:
    """Return the file of a part with its ids: that of the first block."""
    return entry.file(f"{prefixes_in(entry)[0]}{stem}.parquet")


def read_stored(entry: Entry, stem: str) -> np.ndarray:
    """Return the vectors of one part as stored, [N, S]; blocks are side by side."""
    return np.concatenate(
        [read_part(entry, f"{start}{stem}") for start in prefixes_in(entry)], axis=1
    )


def read_part(entry: Entry, stem: str) -> np.ndarray:
    """Return the vectors of one file as stored, [N, S]."""
    return stored_in(parquet.read_table(entry.file(f"{stem}.parquet"), columns=["vector"]))


def stored_in(table: pa.Table) -> np.ndarray:
    """Return the vectors in a Parquet table as stored, [N, S]."""
    column = table.column("vector").combine_chunks()
    flat: np.ndarray = column.values.to_numpy(zero_copy_only=False)
    return flat.reshape(len(column), column.type.list_size)


def read_vectors(entry: Entry, stem: str) -> np.ndarray:
    """Return the vectors of one part as float32 [N, F], however they are stored."""
    vectors = []
    for start, (kind, features) in zip(prefixes_in(entry), stored_types(entry), strict=True):
        stored = read_part(entry, f"{start}{stem}")
        calibration = (
            read_calibration(entry.file(f"{start}{CALIBRATION}"))
            if needs_calibration(kind)
            else None
        )
        vectors.append(dequantize(stored, kind, calibration, features or stored.shape[1]))
    return vectors[0] if len(vectors) == 1 else np.concatenate(vectors, axis=1)


def stored_types(entry: Entry) -> list[tuple[VectorType, int]]:
    """Return the stored type of the vectors, and F, for each block.

    F is 0 for joined vectors, which are not quantised.
    """
    whole = read_json(entry, FACTS).get("vectors", {"type": "float32", "features": 0})
    features = list(block_features(entry).values()) or [whole["features"]]
    return [(whole["type"], each) for each in features]


def transform_as(entry: Entry, blocks: Sequence[np.ndarray]) -> np.ndarray:
    """Return vectors of each block as the encoder gives them, with the features of embeddings.

    Args:
        entry: the embeddings, whose transforms are applied, if they have any.
        blocks: [N, F] for each block; a single one if there are no blocks.
    """
    return np.concatenate(
        [
            block if one is None else transformed(block, one.transforms)
            for block, one in zip(blocks, _calibrations(entry), strict=True)
        ],
        axis=1,
    )


def quantize_as(entry: Entry, vectors: np.ndarray, threshold: BinaryThreshold) -> np.ndarray:
    """Return vectors [N, F], transformed, as those of these embeddings are stored, [N, S]."""
    return np.concatenate(
        [
            quantize(block, kind, calibration, threshold)
            for block, kind, calibration in _by_block(entry, vectors)
        ],
        axis=1,
    )


def centre_as(entry: Entry, vectors: np.ndarray, threshold: BinaryThreshold) -> np.ndarray:
    """Return vectors [N, F], transformed, minus what the bits of embeddings were compared with."""
    return np.concatenate(
        [
            block if calibration is None else block - calibration.threshold(threshold)
            for block, _, calibration in _by_block(entry, vectors)
        ],
        axis=1,
    )


def _by_block(
    entry: Entry, vectors: np.ndarray
) -> Iterator[tuple[np.ndarray, VectorType, Calibration | None]]:
    """Yield the columns of each block, how it is stored, and its calibration if it has one."""
    types = stored_types(entry)
    ends = np.cumsum([features for _, features in types])[:-1]
    blocks = np.split(vectors, ends, axis=1)
    for block, (kind, _), calibration in zip(blocks, types, _calibrations(entry), strict=True):
        yield block, kind, calibration


def _calibrations(entry: Entry) -> list[Calibration | None]:
    """Return the calibration of each block, or the only one; None where there is none."""
    files = [f"{start}{CALIBRATION}" for start in prefixes_in(entry)]
    return [read_calibration(entry.file(one)) if one in entry.files else None for one in files]


def describe_layout(layout: Layout) -> list[JSON]:
    """Return the segments of a vector as `embeddings.json` lists them under `layout`."""
    return [
        {name: value for name, value in asdict(segment).items() if value is not False}
        for segment in layout.segments
    ]


def read_layout(entry: Entry) -> Layout:
    """Return which reading, layer and position each feature of the vectors comes from."""
    return layout_in(read_json(entry, FACTS)["layout"])


def layout_in(described: list[JSON]) -> Layout:
    """Return a layout from what `describe_layout` made of it."""
    return Layout(segments=tuple(Segment(**segment) for segment in described))


def origin_in(document: JSON) -> JSON:
    """Return the part of a key document that is the same for all texts: how they are embedded.

    Whether vectors were copied is no part of it.
    """
    kept = {name: document[name] for name in ("step", "version")}
    config = {name: value for name, value in document["config"].items() if name != "reuse"}
    inputs = {name: one for name, one in document["inputs"].items() if name != "texts"}
    return {**kept, "config": config, "inputs": inputs}


STATISTICS = ("low", "high", "median")
NEAR = "near_zero"


def calibration_arrays(calibration: Calibration) -> dict[str, np.ndarray]:
    """Return a calibration as the arrays of its file.

    Those of transforms are `<number>.mean` and `<number>.matrix`.
    """
    arrays = {name: getattr(calibration, name) for name in STATISTICS}
    for number, one in enumerate(calibration.transforms):
        arrays |= {f"{number}.mean": one.mean, f"{number}.matrix": one.matrix}
    if calibration.near_threshold is not None:
        arrays[NEAR] = np.array([calibration.near_threshold])
    return arrays


def read_calibration(path: Path) -> Calibration:
    """Read a calibration."""
    arrays = load_file(path)
    count = sum(name.endswith(".matrix") for name in arrays)
    return Calibration(
        **{name: arrays[name] for name in STATISTICS},
        transforms=tuple(
            LinearTransform(mean=arrays[f"{number}.mean"], matrix=arrays[f"{number}.matrix"])
            for number in range(count)
        ),
        near_threshold=float(arrays[NEAR][0]) if NEAR in arrays else None,
    )


def side_by_side_calibrations(every: Sequence[Calibration]) -> Calibration:
    """Return the calibration of whole vectors, from those of their blocks, in order."""
    near = [(one.near_threshold, len(one.low)) for one in every]
    known = [(share, size) for share, size in near if share is not None]
    return Calibration(
        **{name: np.concatenate([getattr(one, name) for one in every]) for name in STATISTICS},
        transforms=tuple(transform for one in every for transform in one.transforms),
        near_threshold=sum(share * size for share, size in known) / sum(size for _, size in known)
        if len(known) == len(near)
        else None,
    )
