"""The rows of a file, one after the other, without guessing the type of a value.

* txt: a text in each line.
* CSV: comma, quotes as in RFC 4180 (a quoted field may hold line breaks), the first record is the
  header, every value is text.
* TSV: tab, no quoting at all (as the format's registration has it): each line is a row, a quotation
  mark is a character.
* JSONL: one object in each line; values keep the type they have in JSON.
* JSON: an array of objects, or lines as in JSONL.
* Parquet: values keep their type.

Settings change separator and quotes of CSV and TSV. No more than a piece of the file is in memory,
but for arrays in JSON. Tasks and corpora are read by the same code, with the same checks.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
import zlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any, assert_never

import pyarrow as pa
import pyarrow.parquet as parquet

from prefixbank.config.schema import ColumnNames
from prefixbank.data.file_format import FileFormat
from prefixbank.data.row_faults import RowFaults, columns_in_use, missing_columns
from prefixbank.errors import DataError, raise_faults

Row = tuple[Any, ...]
"""The values of one row, for the columns in use: text, second text, label or id."""

UNREADABLE: Row = ()
"""Stands for a row that was added to the faults, so that rows after it keep their numbers."""

PIECE_ROWS = 8192
MAX_FIELD_BYTES = 2**26
"""A longer field of a CSV file is a quotation mark that is never closed."""

_LINE = re.compile(r"[^\r\n]*(?:\r\n?|\n)|[^\r\n]+")


def read_rows(
    path: Path,
    form: FileFormat,
    where: str,
    columns: ColumnNames,
    faults: RowFaults,
    first: int = 0,
) -> Iterator[Row]:
    """Yield the rows of a file from row `first` on.

    Args:
        path: the file.
        form: how it is written.
        where: what errors call it.
        columns: which columns to read; others are ignored. A txt file has none.
        faults: gets the rows that cannot be read; `UNREADABLE` stands for each of them.
        first: number of a row, from 0. Row groups of a Parquet file before it are not read.

    Raises:
        DataError: the file cannot be read, is not UTF-8, or lacks a column.
        Faults: several columns are missing.
    """
    match form.rows:
        case "parquet":
            yield from _parquet_rows(path, where, columns, faults, first)
            return
        case "txt":
            rows = _line_rows(path, form, where)
        case "csv" | "tsv":
            rows = _delimited_rows(path, form, where, columns, faults)
        case "jsonl":
            rows = _json_rows(_objects(path, form, where), where, columns, faults)
        case "json":
            rows = _json_rows(_objects_or_items(path, form, where), where, columns, faults)
        case _:
            assert_never(form.rows)
    yield from islice(rows, first, None)


def read_lines(path: Path, where: str, *, packed: bool = False) -> Generator[str, None, None]:
    """Yield the lines of a UTF-8 file with their ends; a byte order mark is no text.

    Args:
        path: the file.
        where: what errors call it.
        packed: whether gzip packs it.

    Raises:
        DataError: the file cannot be opened, or has a byte that is not UTF-8 (its offset is given).
    """
    offset = 0
    with _opened(path, where, packed=packed) as file:
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
def _opened(path: Path, where: str, *, packed: bool) -> Iterator[Iterable[bytes]]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(
            f"{where} cannot be read: {error.strerror}",
            expected="a readable file",
            fix=f"ls -l '{path}'",
        ) from error
    with file:
        if not packed:
            yield file
            return
        try:
            with gzip.open(file) as unpacked:
                yield unpacked
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataError(
                f"{where} cannot be unpacked: {error}",
                expected="a whole file packed by gzip",
                fix=f"gunzip -t '{path}'    and copy or download it again",
            ) from error


def _line_rows(path: Path, form: FileFormat, where: str) -> Iterator[Row]:
    """Yield each line as a text; only line feeds, alone or after a carriage return, end a line."""
    for line in read_lines(path, where, packed=form.packed):
        yield (line.removesuffix("\n").removesuffix("\r") if line.endswith("\n") else line,)


def _delimited_rows(
    path: Path, form: FileFormat, where: str, columns: ColumnNames, faults: RowFaults
) -> Iterator[Row]:
    """Yield the rows of a CSV or TSV file."""
    lines = _table_lines(path, form, where)
    start = next(lines, "")
    _refuse_other_separator(start, form, where, columns)
    reader = csv.reader(
        chain([start], lines),
        delimiter=form.separator,
        quoting=csv.QUOTE_MINIMAL if form.quoted else csv.QUOTE_NONE,
        strict=form.quoted,
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
                f"{len(record)} fields: {form.separator.join(record)}",
                expected=f"{len(header)} fields in every row: {', '.join(header)}",
                fix="put fields that hold the separator in double quotes"
                if form.quoted
                else "replace separators and line breaks inside a field by spaces    or, if fields "
                f"are in double quotes, {form.group}.quoting=double",
            )
            yield UNREADABLE
    except csv.Error as error:
        raise _csv_fault(where, number + 1, error) from error


def _refuse_other_separator(line: str, form: FileFormat, where: str, columns: ColumnNames) -> None:
    """Raise DataError for a header that has all columns if something else separates them."""

    def lacks(separator: str) -> bool:
        fields = next(csv.reader([line.rstrip("\r\n")], delimiter=separator), [])
        return bool(missing_columns(where, columns, fields))

    others = [one for one in (";", "\t", ",", "|") if one != form.separator and one in line]
    found = next((one for one in others if not lacks(one)), None)
    if found is not None and lacks(form.separator):
        raise DataError(
            f"{where}: the header is {line.strip()!r}",
            expected=f"columns with {form.separator!r} between them",
            fix=f"{form.group}.separator={found!r}",
        )


def _table_lines(path: Path, form: FileFormat, where: str) -> Iterator[str]:
    """Yield the lines of a table, which a carriage return alone may end, too."""
    for line in read_lines(path, where, packed=form.packed):
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


def _objects(path: Path, form: FileFormat, where: str) -> Iterator[tuple[Any, str]]:
    """Yield the value in each line that is not empty, and the line; what is no JSON is None."""
    lines = (line.strip() for line in read_lines(path, where, packed=form.packed))
    for line in lines:
        if line:
            yield _json_value(line), line


def _objects_or_items(path: Path, form: FileFormat, where: str) -> Iterator[tuple[Any, str]]:
    """Yield the items of an array, each with its text; a file that is no array has lines."""
    lines = read_lines(path, where, packed=form.packed)
    start = next((line for line in lines if line.strip()), "")
    if not start.lstrip().startswith("["):
        lines.close()
        yield from _objects(path, form, where)
        return
    items = _json_value("".join([start, *lines]))
    if not isinstance(items, list):
        raise DataError(
            f"{where} opens an array that is not JSON",
            expected="an array of objects, or an object in each line",
            fix=f"write it again, or name its format: {form.group}.format=jsonl",
        )
    for item in items:
        yield item, json.dumps(item)


def _json_value(text: str) -> Any:
    """Return a value written as JSON, or None if it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _json_rows(
    objects: Iterator[tuple[Any, str]], where: str, columns: ColumnNames, faults: RowFaults
) -> Iterator[Row]:
    """Yield the rows of JSON objects; an absent value is None."""
    names = list(columns_in_use(columns).values())
    present: dict[str, None] = {}
    for number, (value, text) in enumerate(objects, start=1):
        if not isinstance(value, dict):
            faults.add(
                number,
                "not a JSON object",
                text,
                expected=f"lines such as {json.dumps(dict.fromkeys(names, '...'))}",
                fix="write each row as one JSON object in one line",
            )
            yield UNREADABLE
            continue
        present.update(dict.fromkeys(value))
        row = tuple(value.get(name) for name in names)
        if "\\u" in text and not all(map(_is_unicode, row)):
            faults.add(
                number,
                "with half of a surrogate pair",
                text,
                expected="text that can be written as UTF-8",
                fix="write the row again with its characters as they are",
            )
            yield UNREADABLE
            continue
        yield row
        if faults.enough:
            break
    if present:
        raise_faults(missing_columns(where, columns, list(present)))


def _is_unicode(value: Any) -> bool:
    """Return whether a value can be written as UTF-8; JSON's escapes can spell text that cannot."""
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode("utf-8")
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
