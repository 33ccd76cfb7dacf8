"""The rows of a file, one after the other, without guessing the type of a value.

* txt: a text in each line.
* CSV: comma, quotes as in RFC 4180 (a quoted field may hold line breaks), the first record is the
  header, every value is text.
* TSV: tab, no quoting at all (as the format's registration has it): each line is a row, a quotation
  mark is a character.
* JSONL: one object in each line; values keep the type they have in JSON.
* Parquet: values keep their type.

No more than a piece of the file is in memory. Tasks and corpora are read by the same code, with the
same checks.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as parquet

from prefixbank.config.schema import ColumnNames
from prefixbank.data.row_faults import RowFaults, columns_in_use, missing_columns
from prefixbank.errors import DataError, raise_faults

TABLES = (".parquet", ".csv", ".tsv", ".jsonl", ".ndjson")
"""Endings of files with columns; also the order in which a name without ending is tried."""

Row = tuple[Any, ...]
"""The values of one row, for the columns in use: text, second text, label or id."""

UNREADABLE: Row = ()
"""Stands for a row that was added to the faults, so that rows after it keep their numbers."""

PIECE_ROWS = 8192
MAX_FIELD_BYTES = 2**26
"""A longer field of a CSV file is a quotation mark that is never closed."""

_LINE = re.compile(r"[^\r\n]*(?:\r\n?|\n)|[^\r\n]+")


def unknown_ending(path: Path, known: Sequence[str]) -> DataError:
    """Return the error for an existing file whose ending is none of the known ones."""
    match path.suffix.lower():
        case ".gz":
            fix = f"gunzip -k '{path}'"
        case ".bz2" | ".xz" | ".zip" | ".zst":
            fix = "unpack it, and name the file that was in it"
        case ".json":
            fix = f"mv '{path}' '{path.with_suffix('.jsonl')}'    if each line holds one object"
        case _:
            fix = f"mv '{path}' '{path}{known[0]}'    with the ending of what it holds"
    return DataError(
        f"'{path}' has an ending that does not tell its format",
        expected=f"a file that ends in {', '.join(known)}",
        fix=fix,
    )


def read_rows(
    path: Path, where: str, columns: ColumnNames, faults: RowFaults, first: int = 0
) -> Iterator[Row]:
    """Yield the rows of a file from row `first` on.

    Args:
        path: a file that ends in .txt or one of `TABLES`.
        where: what errors call it.
        columns: which columns to read; others are ignored. A txt file has none.
        faults: gets the rows that cannot be read; `UNREADABLE` stands for each of them.
        first: number of a row, from 0. Row groups of a Parquet file before it are not read.

    Raises:
        DataError: the file cannot be read, is not UTF-8, or lacks a column.
        Faults: several columns are missing.
    """
    match path.suffix.lower():
        case ".parquet":
            yield from _parquet_rows(path, where, columns, faults, first)
            return
        case ".txt":
            rows = _line_rows(path, where)
        case ".csv" | ".tsv" as suffix:
            rows = _delimited_rows(path, where, columns, faults, tabs=suffix == ".tsv")
        case _:
            rows = _json_rows(path, where, columns, faults)
    yield from islice(rows, first, None)


def read_lines(path: Path, where: str) -> Iterator[str]:
    """Yield the lines of a UTF-8 file with their ends; a byte order mark is no text.

    Raises:
        DataError: the file cannot be opened, or has a byte that is not UTF-8 (its offset is given).
    """
    offset = 0
    with _opened(path, where) as file:
        for number, line in enumerate(file, start=1):
            mark = 3 if number == 1 and line.startswith(b"\xef\xbb\xbf") else 0
            try:
                yield line[mark:].decode("utf-8")
            except UnicodeDecodeError as error:
                byte = line[mark + error.start]
                raise DataError(
                    f"{where} is not UTF-8: byte {byte:#04x} at offset "
                    f"{offset + mark + error.start} (line {number})",
                    expected="text in UTF-8",
                    fix=(
                        f"iconv -f latin1 -t utf-8 IN > OUT{path.suffix}    "
                        "with the encoding that the file has in place of latin1"
                    ),
                ) from error
            offset += len(line)


def parquet_pieces(
    path: Path, where: str, columns: ColumnNames, first: int = 0
) -> Iterator[pa.RecordBatch]:
    """Yield the columns in use of a Parquet file, from row `first` on, in pieces.

    Raises:
        DataError: the file cannot be read or lacks a column.
        Faults: several columns are missing.
    """
    try:
        with parquet.ParquetFile(path) as file:
            raise_faults(missing_columns(where, columns, file.schema_arrow.names))
            groups, skipped = _groups_from(file, first)
            for piece in file.iter_batches(
                batch_size=PIECE_ROWS,
                row_groups=groups,
                columns=list(dict.fromkeys(columns_in_use(columns).values())),
            ):
                yield piece.slice(skipped)
                skipped = max(0, skipped - len(piece))
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{where} cannot be read as Parquet: {str(error).splitlines()[0]}",
            expected="a Parquet file",
            fix="write it again, or use CSV or JSONL",
        ) from error


@contextmanager
def _opened(path: Path, where: str) -> Iterator[BinaryIO]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(
            f"{where} cannot be read: {error.strerror}",
            expected="a readable file",
            fix=f"ls -l '{path}'",
        ) from error
    with file:
        yield file


def _line_rows(path: Path, where: str) -> Iterator[Row]:
    """Yield each line as a text; only line feeds, alone or after a carriage return, end a line."""
    for line in read_lines(path, where):
        yield (line.removesuffix("\n").removesuffix("\r") if line.endswith("\n") else line,)


def _delimited_rows(
    path: Path, where: str, columns: ColumnNames, faults: RowFaults, *, tabs: bool
) -> Iterator[Row]:
    """Yield the rows of a CSV or TSV file."""
    separator = "\t" if tabs else ","
    reader = csv.reader(
        _table_lines(path, where),
        delimiter=separator,
        quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL,
        strict=not tabs,
    )
    number = 0
    try:
        records = _records(reader)
        header = next(records, [])
        if not header:
            return
        raise_faults(missing_columns(where, columns, header))
        places = [header.index(name) for name in columns_in_use(columns).values()]
        for record in records:
            number += 1
            if len(record) == len(header):
                yield tuple(record[place] for place in places)
                continue
            faults.add(
                number,
                f"with another number of fields than the header's {len(header)}",
                f"{len(record)} fields: {separator.join(record)}",
                expected=f"{len(header)} fields in every row: {', '.join(header)}",
                fix="replace tabs and line breaks inside a field by spaces"
                if tabs
                else "put fields that hold the separator in double quotes",
            )
            yield UNREADABLE
    except csv.Error as error:
        raise _csv_fault(where, number + 1, error) from error


def _table_lines(path: Path, where: str) -> Iterator[str]:
    """Yield the lines of a table, which a carriage return alone may end, too."""
    for line in read_lines(path, where):
        if "\r" in line[:-2]:
            yield from _LINE.findall(line)
        else:
            yield line


def _records(reader: Iterator[list[str]]) -> Iterator[list[str]]:
    """Yield all but empty lines.

    The limit of the length of a field is that of the whole process, so it is put back at once.
    """
    while True:
        limit = csv.field_size_limit(MAX_FIELD_BYTES)
        try:
            record = next(reader, None)
        finally:
            csv.field_size_limit(limit)
        if record is None:
            return
        if record:
            yield record


def _csv_fault(where: str, row: int, error: csv.Error) -> DataError:
    expected = 'fields in double quotes, a quotation mark inside one written as ""'
    if "unexpected end" in str(error) or "field limit" in str(error):
        return DataError(
            f"{where}: row {row} opens a quotation mark that is never closed",
            expected=expected,
            fix=f"close the quotation mark in row {row}",
        )
    if "expected after" in str(error):
        return DataError(
            f"{where}: row {row} continues after the closing quotation mark of a field",
            expected=expected,
            fix=f'double the quotation marks inside the field in row {row}: the ""best"" food',
        )
    return DataError(
        f"{where}: row {row} cannot be read: {error}",
        expected="a CSV file",
        fix="write it again, or use JSONL",
    )


def _json_rows(path: Path, where: str, columns: ColumnNames, faults: RowFaults) -> Iterator[Row]:
    """Yield the rows of a file with one JSON object in each line; an absent value is None."""
    names = list(columns_in_use(columns).values())
    present: dict[str, None] = {}
    lines = (line.strip() for line in read_lines(path, where))
    for number, line in enumerate((line for line in lines if line), start=1):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            faults.add(
                number,
                "not a JSON object",
                line,
                expected=f"lines such as {json.dumps(dict.fromkeys(names, '...'))}",
                fix="write each row as one JSON object in one line",
            )
            yield UNREADABLE
            continue
        present.update(dict.fromkeys(value))
        row = tuple(value.get(name) for name in names)
        if "\\u" in line and not all(map(_is_unicode, row)):
            faults.add(
                number,
                "with half of a surrogate pair",
                line,
                expected="text that can be written as UTF-8",
                fix="write the row again with its characters as they are",
            )
            yield UNREADABLE
            continue
        yield row
    if present:
        raise_faults(missing_columns(where, columns, list(present)))


def _is_unicode(value: Any) -> bool:
    """Return whether a value can be written as UTF-8; JSON's escapes can spell text that cannot."""
    try:
        str(value).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _parquet_rows(
    path: Path, where: str, columns: ColumnNames, faults: RowFaults, first: int
) -> Iterator[Row]:
    """Yield the rows of a Parquet file as Python values."""
    names, number = list(columns_in_use(columns).values()), first
    for piece in parquet_pieces(path, where, columns, first):
        for row in zip(*(_values(piece, name) for name in names), strict=True):
            number += 1
            bad = next((value for value in row if isinstance(value, _Undecodable)), None)
            if bad is None:
                yield row
                continue
            faults.add(
                number,
                "not UTF-8",
                bytes(bad),
                expected="texts in UTF-8",
                fix="write the file again from texts in UTF-8",
            )
            yield UNREADABLE


class _Undecodable(bytes):
    """A text that is not UTF-8."""


def _values(piece: pa.RecordBatch, name: str) -> list[Any]:
    column = piece.column(piece.schema.get_field_index(name))
    try:
        values: list[Any] = column.to_pylist()
    except UnicodeDecodeError:
        values = [_decoded(value) for value in column.cast(pa.large_binary()).to_pylist()]
    return values


def _decoded(value: bytes | None) -> str | _Undecodable | None:
    if value is None:
        return None
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return _Undecodable(value)


def _groups_from(file: parquet.ParquetFile, first: int) -> tuple[list[int], int]:
    """Return the row groups with rows from `first` on, and how many of their rows precede it."""
    groups = list(range(file.num_row_groups))
    while groups and first >= (rows := file.metadata.row_group(groups[0]).num_rows):
        first -= rows
        groups.pop(0)
    return groups, first
