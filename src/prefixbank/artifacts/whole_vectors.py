"""Copies of embeddings of a bank of blocks, in which each row has one whole vector.

In the store every block has files of its own, which the embeddings of other banks share. A copy
for other programs has one file for each part, in which the blocks lie side by side.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from safetensors.numpy import save_file

from prefixbank.artifacts.embeddings import (
    BLOCKS,
    CALIBRATION,
    FACTS,
    FEATURES,
    STEP,
    block_features,
    calibration_arrays,
    join_tables,
    part_file,
    prefixes_in,
    read_calibration,
    read_part,
    side_by_side_calibrations,
    stored_types,
    vector_column,
    write_table,
)
from prefixbank.artifacts.json_files import read_json
from prefixbank.store.artifact import ENTRY_FILE, Entry


def is_in_blocks(entry: Entry) -> bool:
    """Whether an artifact holds embeddings with files for each block."""
    return entry.step == STEP and bool(block_features(entry))


def parts_of(entry: Entry) -> list[str]:
    """Return the file stems of the parts of embeddings, in order."""
    stems: list[str] = read_json(entry, FACTS)["parts"]
    return stems


def copy_whole(entry: Entry, out: Path) -> None:
    """Write each part with whole vectors, the calibration of all features, and the JSON files.

    `entry.json` is that of the artifact in the store.
    """
    out.mkdir(parents=True, exist_ok=True)
    for stem in parts_of(entry):
        write_table(out / f"{stem}.parquet", whole_part(entry, stem))
    calibrations = [f"{start}{CALIBRATION}" for start in prefixes_in(entry)]
    if calibrations[0] in entry.files:
        each = [read_calibration(entry.file(name)) for name in calibrations]
        save_file(calibration_arrays(side_by_side_calibrations(each)), out / CALIBRATION)
    shutil.copyfile(entry.file(FACTS), out / FACTS)
    shutil.copyfile(entry.path / ENTRY_FILE, out / ENTRY_FILE)


def copy_whole_table(entry: Entry, path: Path) -> None:
    """Write one Parquet file with the whole vectors of all parts."""
    join_tables((whole_part(entry, stem) for stem in parts_of(entry)), path)


def whole_part(entry: Entry, stem: str) -> pa.Table:
    """Return one part with whole vectors, as they are stored.

    Its metadata have `features`, the number of all features, and `blocks`, a JSON list with the
    name and the number of features of each block, in the order of the vector.
    """
    table = parquet.read_table(part_file(entry, stem))
    column = vector_column(_whole(entry, stem))
    table = table.set_column(table.column_names.index("vector"), "vector", column)
    blocks = block_features(entry)
    described = [{"name": name, "features": count} for name, count in blocks.items()]
    metadata = {
        **(table.schema.metadata or {}),
        FEATURES: str(sum(blocks.values())).encode(),
        BLOCKS: json.dumps(described).encode(),
    }
    return table.replace_schema_metadata(metadata)


def _whole(entry: Entry, stem: str) -> np.ndarray:
    """Return whole vectors of one part as they are stored; bits of all blocks are packed anew."""
    blocks = [read_part(entry, f"{start}{stem}") for start in prefixes_in(entry)]
    types = stored_types(entry)
    if types[0][0] != "binary":
        return np.concatenate(blocks, axis=1)
    bits = [
        np.unpackbits(block, axis=1, count=features, bitorder="big")
        for block, (_, features) in zip(blocks, types, strict=True)
    ]
    return np.packbits(np.concatenate(bits, axis=1), axis=1, bitorder="big")
