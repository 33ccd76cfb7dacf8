"""Read one split from a CSV, TSV, JSONL or Parquet file, without guessing the type of a value.

* CSV: comma, quotes as in RFC 4180 (a quoted field may hold line breaks), first record is the
  header, every value is text.
* TSV: tab, no quoting at all (as the format's registration has it): each line is a row, a quotation
  mark is a character.
* JSONL: one object in each line; values keep the type they have in JSON.
* Parquet: values keep their type.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as parquet

from prefixbank.config.schema import ColumnNames
from prefixbank.data.tasks.raw import (
    RawSplit,
    missing_columns,
    near_names,
    rows_fault,
    wanted_columns,
)
from prefixbank.errors import DataError, raise_faults

SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl", ".ndjson")
"""Endings of the files that can be read; also the order in which a name without ending is tried."""

MAX_BLOCK_BYTES = 2**31 - 1


def find_file(folder: Path, name: str, setting: str) -> Path:
    """Return the file of a split.

    Args:
        folder: where to look.
        name: file name; without one of the known endings, each of them is tried.
        setting: the setting that gave the name, for the error.

    Raises:
        DataError: there is no such file; the error lists the folder.
    """
    exact = folder / name
    candidates = (
        [exact]
        if exact.suffix.lower() in SUFFIXES
        else [exact.with_name(exact.name + suffix) for suffix in SUFFIXES]
    )
    for path in candidates:
        if path.is_file():
            return path
    raise DataError(
        f"no file '{exact}'"
        + ("" if len(candidates) == 1 else f" with the ending {', '.join(SUFFIXES)}"),
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
        path: an existing file with one of the endings in `SUFFIXES`.
        columns: which columns to read; others are ignored.

    Returns:
        The split; its rows are not checked yet.

    Raises:
        DataError: the file cannot be read, is empty, is not UTF-8, or lacks a column.
        Faults: several of these.
    """
    match path.suffix.lower():
        case ".parquet":
            table = _read_parquet(path, columns)
        case ".csv":
            table = _read_delimited(path, columns, delimiter=",", quote='"')
        case ".tsv":
            table = _read_delimited(path, columns, delimiter="\t", quote=False)
        case _:
            table = _read_jsonl(path, columns)
    if table.num_rows == 0:
        raise _empty(path)
    return RawSplit(where=str(path), table=table, columns=columns)


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a UTF-8 text file.

    Raises:
        DataError: the file is empty, cannot be opened, or has a byte that is not UTF-8 (its offset
            is named).
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"cannot read '{path}': {error.strerror}",
            expected="a readable file",
            fix=f"ls -l '{path}'",
        ) from error
    if not data.strip():
        raise _empty(path)
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"'{path}' is not UTF-8: byte {data[error.start]:#04x} at offset {error.start} (line "
            f"{line})",
            expected="a file in UTF-8",
            fix=(
                f"iconv -f latin1 -t utf-8 '{path}' > utf8{path.suffix}    "
                "with the encoding that the file has in place of latin1"
            ),
        ) from error
    return data


def _empty(path: Path) -> DataError:
    return DataError(
        f"'{path}' has no rows", expected="at least one row", fix="name a file with rows"
    )


def _read_parquet(path: Path, columns: ColumnNames) -> pa.Table:
    try:
        with parquet.ParquetFile(path) as file:
            raise_faults(missing_columns(str(path), columns, file.schema_arrow.names))
            return file.read(columns=list(dict.fromkeys(wanted_columns(columns).values())))
    except (pa.ArrowException, OSError) as error:
        what = f"'{path}' cannot be read as Parquet: {str(error).splitlines()[0]}"
        raise DataError(
            what, expected="a Parquet file", fix="write it again, or use CSV or JSONL"
        ) from error


def _read_delimited(
    path: Path, columns: ColumnNames, *, delimiter: str, quote: str | Literal[False]
) -> pa.Table:
    data = read_bytes(path)
    header = _header(path, data, delimiter=delimiter, quote=quote)
    raise_faults(missing_columns(str(path), columns, header))
    wanted = list(dict.fromkeys(wanted_columns(columns).values()))
    uneven: list[Any] = []

    def keep(row: Any) -> str:
        uneven.append(row)
        return "skip"

    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(data),
            read_options=arrow_csv.ReadOptions(
                use_threads=False, block_size=min(len(data) + 1, MAX_BLOCK_BYTES)
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=delimiter,
                quote_char=quote,
                newlines_in_values=bool(quote),
                invalid_row_handler=keep,
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types={name: pa.large_string() for name in wanted},
                include_columns=wanted,
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowException as error:
        raise DataError(
            f"'{path}' cannot be read: {error}",
            expected=f"a {path.suffix} file",
            fix="write it again, or use JSONL",
        ) from error
    if uneven:
        raise rows_fault(
            str(path),
            f"with another number of fields than the header's {len(header)}",
            np.array([row.number - 1 for row in uneven]),
            [f"{row.actual_columns} fields: {row.text}" for row in uneven],
            expected=f"{len(header)} fields in every row: {', '.join(header)}",
            fix="put fields that hold the separator in double quotes"
            if quote
            else "replace tabs and line breaks inside a field by spaces",
        )
    return table


def _header(path: Path, data: bytes, *, delimiter: str, quote: str | Literal[False]) -> list[str]:
    """Return the names in the first record.

    Refuse a file whose last quotation mark is never closed.
    """
    text = data.decode("utf-8-sig")
    limit = csv.field_size_limit(len(data) + 1)
    try:
        if quote and data.count(b'"') % 2:
            _refuse_open_quote(
                path, csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
            )
        reader = csv.reader(
            io.StringIO(text, newline=""),
            delimiter=delimiter,
            quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
        )
        return next((row for row in reader if row), [])
    finally:
        csv.field_size_limit(limit)


def _refuse_open_quote(path: Path, reader: Iterator[list[str]]) -> None:
    records = 0
    try:
        for row in reader:
            records += bool(row)
    except csv.Error as error:
        if "unexpected end" in str(error):
            raise DataError(
                f"'{path}': row {records} opens a quotation mark that is never closed",
                expected='fields in double quotes, a quotation mark inside one written as ""',
                fix=f"close the quotation mark in row {records}",
            ) from error


def _read_jsonl(path: Path, columns: ColumnNames) -> pa.Table:
    data = read_bytes(path).removeprefix(b"\xef\xbb\xbf")
    lines = [line for line in data.split(b"\n") if line.strip()]
    objects: list[dict[str, Any]] = []
    bad: list[tuple[int, str]] = []
    for row, line in enumerate(lines, start=1):
        try:
            value = json.loads(line)
        except ValueError:
            value = None
        if isinstance(value, dict):
            objects.append(value)
        else:
            bad.append((row, line.decode("utf-8").strip()))
    if bad:
        rows = np.array([row for row, _ in bad])
        quoted = [line for _, line in bad]
        fix = "write each row as one JSON object in one line"
        raise rows_fault(
            str(path),
            "not a JSON object",
            rows,
            quoted,
            expected='lines such as {"text": "a text", "label": "yes"}',
            fix=fix,
        )
    present = list(dict.fromkeys(key for value in objects for key in value))
    raise_faults(missing_columns(str(path), columns, present))
    wanted = dict.fromkeys(wanted_columns(columns).values())
    return pa.table(
        {name: _json_column(path, name, [value.get(name) for value in objects]) for name in wanted}
    )


def _json_column(path: Path, name: str, values: list[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
        types = sorted({type(value).__name__ for value in values if value is not None})
        raise DataError(
            f"'{path}': column '{name}' cannot be read as one type (found: {', '.join(types)}): "
            f"{str(error).splitlines()[0]}",
            expected="values of one type: all text, all numbers or all lists",
            fix=f"write every '{name}' in the same way, labels for example as text",
        ) from error
