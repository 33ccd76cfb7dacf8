"""Read one split of a task from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from prefixbank.config.schema import ColumnNames, FileSettings
from prefixbank.data.file_format import FileFormat, format_of, listed, names_to_try
from prefixbank.data.row_faults import RowFaults, columns_in_use
from prefixbank.data.rows import UNREADABLE, Row, parquet_pieces, read_rows
from prefixbank.data.tasks.raw import RawSplit, near_names
from prefixbank.errors import DataError, raise_faults


def find_file(folder: Path, name: str, setting: str) -> Path:
    """Return the file of a split.

    Args:
        folder: the folder of the file.
        name: file name; without an ending that tells a format, each of them is tried.
        setting: the setting with the name, for the error.

    Raises:
        DataError: there is no such file; the error lists the folder.
    """
    exact = folder / name
    candidates = names_to_try(name)
    for candidate in (*candidates, name):
        if (folder / candidate).is_file():
            return folder / candidate
    raise DataError(
        f"no file '{exact}'" + ("" if candidates == [name] else f" with an ending: {listed()}"),
        expected=(
            f"the {setting.removeprefix('task.splits.')} rows; {folder} holds: "
            f"{near_names(folder, name)}"
        ),
        fix=f"{setting}=FILE"
        + ("" if setting.endswith("train") else f"    or have it split from train: {setting}=''"),
    )


def read_split(path: Path, columns: ColumnNames, settings: FileSettings) -> RawSplit:
    """Read the named columns of one file.

    Args:
        path: an existing file.
        columns: which columns to read; others are ignored.
        settings: what the user says of how it is written.

    Returns:
        The split, whose rows are not checked yet.

    Raises:
        DataError: the file cannot be read, its format is unknown, it is empty or not UTF-8, or it
            lacks a column.
        Faults: several of these.
    """
    where, form = f"'{path}'", format_of(path, settings, "task")
    if form.rows == "parquet":
        pieces = list(parquet_pieces(path, where, columns))
        table = pa.Table.from_batches(pieces) if pieces else pa.table({})
    else:
        rows = _right_rows(path, form, where, columns)
        typed = form.rows in ("jsonl", "json")
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


def _right_rows(path: Path, form: FileFormat, where: str, columns: ColumnNames) -> list[Row]:
    """Return all rows of a file; raise the faults of all rows that cannot be read."""
    faults = RowFaults(where)
    rows = []
    for row in read_rows(path, form, where, columns, faults):
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
