"""The rows of a corpus, one after the other, from a file of any form.

No more than a piece of the file is in memory.

The forms are those of `read_files`: a line for each text, CSV with quotes, TSV without, JSON lines,
Parquet.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as parquet

from prefixbank.config.schema import ColumnNames
from prefixbank.data.corpus.row_faults import RowFaults
from prefixbank.data.tasks.raw import missing_columns, wanted_columns
from prefixbank.errors import DataError, raise_faults

Row = tuple[Any, ...]
"""The values of one row, for the columns in use: text, second text, id."""

UNREADABLE: Row = ()
"""Stands for a row that is noted as a fault, so that rows after it keep their numbers."""

PIECE_ROWS = 8192
MAX_FIELD_BYTES = 2**26
"""A longer field of a CSV file is a quotation mark that is never closed."""


def line_rows(file: BinaryIO, where: str) -> Iterator[Row]:
    """Yield each line as a text; only line feeds, alone or after a carriage return, end a line."""
    for line in _decoded(file, where):
        yield (line.removesuffix("\n").removesuffix("\r") if line.endswith("\n") else line,)


def delimited_rows(
    file: BinaryIO, where: str, columns: ColumnNames, faults: RowFaults, *, tabs: bool
) -> Iterator[Row]:
    """Yield the rows of a CSV or TSV file.

    CSV has quotes as in RFC 4180; in TSV a quotation mark is a character.
    """
    limit = csv.field_size_limit(MAX_FIELD_BYTES)
    rows = 0
    try:
        lines, separator = _decoded(file, where), "\t" if tabs else ","
        reader = csv.reader(
            lines,
            delimiter=separator,
            quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL,
            strict=not tabs,
        )
        records = (record for record in reader if record)
        header = next(records, [])
        if not header:
            return
        raise_faults(missing_columns(where, columns, header))
        places = [header.index(name) for name in wanted_columns(columns).values()]
        for record in records:
            rows += 1
            if len(record) == len(header):
                yield tuple(record[place] for place in places)
            else:
                yield UNREADABLE
                faults.add(
                    rows,
                    f"with another number of fields than the header's {len(header)}",
                    f"{len(record)} fields: {separator.join(record)}",
                    expected=f"{len(header)} fields in every row: {', '.join(header)}",
                    fix="replace tabs and line breaks inside a field by spaces"
                    if tabs
                    else "put fields that hold the separator in double quotes",
                )
    except csv.Error as error:
        raise _csv_fault(where, rows + 1, error) from error
    finally:
        csv.field_size_limit(limit)


def json_rows(file: BinaryIO, where: str, columns: ColumnNames, faults: RowFaults) -> Iterator[Row]:
    """Yield the rows of a file with one JSON object in each line.

    A value that is not there is None.
    """
    wanted = list(wanted_columns(columns).values())
    present: dict[str, None] = {}
    lines = (line.strip() for line in _decoded(file, where))
    for row, line in enumerate((line for line in lines if line), start=1):
        try:
            value = json.loads(line)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            yield UNREADABLE
            example = 'lines such as {"text": "a text"}'
            faults.add(
                row,
                "not a JSON object",
                line,
                expected=example,
                fix="write each row as one JSON object in one line",
            )
            continue
        present.update(dict.fromkeys(value))
        values = tuple(value.get(name) for name in wanted)
        if "\\u" in line and not all(_is_unicode(one) for one in values):
            yield UNREADABLE
            fix = "write the row again with its characters as they are"
            faults.add(
                row,
                "with half of a surrogate pair",
                line,
                expected="text that can be written as UTF-8",
                fix=fix,
            )
            continue
        yield values
    if present:
        raise_faults(missing_columns(where, columns, list(present)))


def parquet_rows(path: Path, columns: ColumnNames, first: int = 0) -> Iterator[Row]:
    """Yield the rows of a Parquet file from row `first` on, row group after row group.

    Groups before it are not read.
    """
    try:
        with parquet.ParquetFile(path) as file:
            raise_faults(missing_columns(str(path), columns, file.schema_arrow.names))
            wanted = list(wanted_columns(columns).values())
            groups, skipped = _groups_from(file, first)
            for piece in file.iter_batches(
                batch_size=PIECE_ROWS, row_groups=groups, columns=list(dict.fromkeys(wanted))
            ):
                yield from islice(
                    zip(*(_plain(piece, name) for name in wanted), strict=True), skipped, None
                )
                skipped = max(0, skipped - len(piece))
    except (pa.ArrowException, OSError) as error:
        what = f"'{path}' cannot be read as Parquet: {str(error).splitlines()[0]}"
        raise DataError(
            what, expected="a Parquet file", fix="write it again, or use CSV or JSONL"
        ) from error


def _groups_from(file: parquet.ParquetFile, first: int) -> tuple[list[int], int]:
    """Return the row groups with rows from `first` on, and how many of their rows precede it."""
    groups = list(range(file.num_row_groups))
    while groups and first >= (rows := file.metadata.row_group(groups[0]).num_rows):
        first -= rows
        groups.pop(0)
    return groups, first


def _is_unicode(value: Any) -> bool:
    """Tell whether a value can be written as UTF-8; JSON's escapes can spell text that cannot."""
    try:
        str(value).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _plain(piece: pa.RecordBatch, name: str) -> Sequence[Any]:
    values: list[Any] = piece.column(piece.schema.get_field_index(name)).to_pylist()
    return values


def _decoded(file: BinaryIO, where: str) -> Iterator[str]:
    """Yield lines with their ends; a byte order mark is no text."""
    offset = 0
    for number, line in enumerate(file, start=1):
        mark = 3 if number == 1 and line.startswith(b"\xef\xbb\xbf") else 0
        try:
            yield line[mark:].decode("utf-8")
        except UnicodeDecodeError as error:
            place = offset + mark + error.start
            raise DataError(
                f"{where} is not UTF-8: byte {line[mark + error.start]:#04x} at offset {place} "
                f"(line {number})",
                expected="text in UTF-8",
                fix=(
                    "iconv -f latin1 -t utf-8 IN > OUT    "
                    "with the encoding that the file has in place of latin1"
                ),
            ) from error
        offset += len(line)


def _csv_fault(where: str, row: int, error: csv.Error) -> DataError:
    if "unexpected end" in str(error) or "field limit" in str(error):
        return DataError(
            f"{where}: row {row} opens a quotation mark that is never closed",
            expected='fields in double quotes, a quotation mark inside one written as ""',
            fix=f"close the quotation mark in row {row}",
        )
    return DataError(
        f"{where}: row {row} cannot be read: {error}",
        expected="a CSV file",
        fix="write it again, or use JSONL",
    )
