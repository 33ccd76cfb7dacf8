"""Read one split of a task from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from prefixbank.config.schema import ColumnNames
from prefixbank.data.row_faults import RowFaults, columns_in_use
from prefixbank.data.rows import TABLES, UNREADABLE, Row, parquet_pieces, read_rows, unknown_ending
from prefixbank.data.tasks.raw import RawSplit, near_names
from prefixbank.errors import DataError, raise_faults


def find_file(folder: Path, name: str, setting: str) -> Path:
    """Return the file of a split.

    Args:
        folder: the folder of the file.
        name: file name; without one of the endings in `TABLES`, each of them is tried.
        setting: the setting with the name, for the error.

    Raises:
        DataError: there is no such file (the error lists the folder), or its format is unknown.
    """
    exact = folder / name
    candidates = (
        [exact]
        if exact.suffix.lower() in TABLES
        else [exact.with_name(exact.name + suffix) for suffix in TABLES]
    )
    for path in candidates:
        if path.is_file():
            return path
    if exact.is_file():
        raise unknown_ending(exact, TABLES)
    raise DataError(
        f"no file '{exact}'"
        + ("" if len(candidates) == 1 else f" with the ending {', '.join(TABLES)}"),
        expected=(
            f"the {setting.removeprefix('task.splits.')} rows; {folder} holds: "
            f"{near_names(folder, name)}"
        ),
        fix=f"{setting}=FILE"
        + ("" if setting.endswith("train") else f"    or have it split from train: {setting}=''"),
    )


def read_split(path: Path, columns: ColumnNames) -> RawSplit:
    """Read the named columns of one file.

    Args:
        path: an existing file with one of the endings in `TABLES`.
        columns: which columns to read; others are ignored.

    Returns:
        The split, whose rows are not checked yet.

    Raises:
        DataError: the file cannot be read, is empty, is not UTF-8, or lacks a column.
        Faults: several of these.
    """
    where, suffix = f"'{path}'", path.suffix.lower()
    if suffix == ".parquet":
        pieces = list(parquet_pieces(path, where, columns))
        table = pa.Table.from_batches(pieces) if pieces else pa.table({})
    else:
        rows = _right_rows(path, where, columns)
        typed = suffix in (".jsonl", ".ndjson")
        table = pa.table(
            {
                name: _json_column(where, name, list(values))
                if typed
                else pa.array(values, pa.large_string())
                for name, values in zip(
                    columns_in_use(columns).values(), zip(*rows, strict=True), strict=True
                )
            }
            if rows
            else {}
        )
    if table.num_rows == 0:
        raise DataError(
            f"{where} has no rows", expected="at least one row", fix="name a file with rows"
        )
    return RawSplit(where=str(path), table=table, columns=columns)


def _right_rows(path: Path, where: str, columns: ColumnNames) -> list[Row]:
    """Return all rows of a file; raise the faults of all rows that cannot be read."""
    faults = RowFaults(where)
    rows = []
    for row in read_rows(path, where, columns, faults):
        if row is not UNREADABLE:
            rows.append(row)
        if faults.enough:
            break
    raise_faults(faults.faults())
    return rows


def _json_column(where: str, name: str, values: list[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError) as error:
        types = sorted({type(value).__name__ for value in values if value is not None})
        raise DataError(
            f"{where}: column '{name}' cannot be read as one type (found: {', '.join(types)}): "
            f"{str(error).splitlines()[0]}",
            expected="values of one type: all text, all numbers or all lists",
            fix=f"write every '{name}' in the same way, labels for example as text",
        ) from error
