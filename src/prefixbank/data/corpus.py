"""Read a corpus: texts without labels, from txt, CSV, TSV, JSONL, Parquet, or lines of standard input."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, ClassVar

import numpy as np
import pyarrow as pa

from prefixbank.config.commands import CorpusConfig
from prefixbank.config.schema import ColumnNames
from prefixbank.data.raw import rows_fault
from prefixbank.data.read_files import SUFFIXES, read_split
from prefixbank.data.texts import Texts
from prefixbank.errors import DataError

STDIN = "-"


class CorpusColumns(ColumnNames):
    """The columns of a corpus, by the names that the reader of tasks knows; the id stands in the label's place."""

    SETTINGS: ClassVar[dict[str, str]] = {"text": "corpus.column", "text_pair": "corpus.column_pair", "label": "corpus.id_column"}


def read_corpus(config: CorpusConfig, stdin: BinaryIO) -> Texts:
    """Return the rows of a corpus, checked.

    Args:
        config: path and columns; a path of `-` reads one text for each line of `stdin`.
        stdin: bytes of standard input.

    Raises:
        DataError: no such file, an unknown ending, no rows, a missing column, a row without text, bytes that are not UTF-8.
    """
    if not config.path:
        raise DataError(
            "no corpus given", expected="corpus.path=FILE, or corpus.path=- for lines of standard input", fix="corpus.path=texts.txt"
        )
    if config.path == STDIN:
        return _lines(stdin.read(), "standard input")
    path = Path(config.path).expanduser()
    if not path.is_file():
        raise DataError(f"no file '{config.path}'", expected=f"a file ending in .txt, {', '.join(SUFFIXES)}", fix="corpus.path=FILE")
    if path.suffix.lower() == ".txt":
        return _lines(path.read_bytes(), str(path))
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(
            f"'{path}' has an ending that says nothing about its form",
            expected=f".txt, {', '.join(SUFFIXES)}",
            fix=f"mv '{path}' '{path}.txt'",
        )
    return _columns(path, config)


def _lines(data: bytes, where: str) -> Texts:
    """Return one text for each line; an empty line is a fault, since row numbers would no longer be line numbers."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where} is not UTF-8: byte {data[error.start]:#04x} at offset {error.start}",
            expected="text in UTF-8",
            fix="iconv -f latin1 -t utf-8 IN > OUT",
        ) from error
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    if lines == [""]:
        raise DataError(f"{where} has no rows", expected="one text for each line", fix="name a file with rows")
    return _checked(where, Texts(texts=tuple(lines)))


def _columns(path: Path, config: CorpusConfig) -> Texts:
    """Return the named columns of a table, read as those of a task are."""
    if not config.column:
        raise DataError("corpus.column is empty", expected="the name of the column that holds the texts", fix="corpus.column=text")
    raw = read_split(path, CorpusColumns(text=config.column, text_pair=config.column_pair, label=config.id_column))
    texts = _strings(path, raw.table, config.column)
    pairs = _strings(path, raw.table, config.column_pair) if config.column_pair else None
    ids = _ids(path, raw.table, config.id_column) if config.id_column else None
    return _checked(str(path), Texts(texts=texts, pairs=pairs, ids=ids))


def _ids(path: Path, table: pa.Table, name: str) -> tuple[str, ...]:
    """Return the values of any type as text; a row without one is a fault."""
    values = table.column(name).to_pylist()
    absent = np.array([row for row, value in enumerate(values, start=1) if value is None or value == ""])
    if len(absent):
        raise rows_fault(
            str(path),
            f"without an id in column '{name}'",
            absent,
            [None] * len(absent),
            expected="an id in every row",
            fix="fill these, or corpus.id_column='' to number rows",
        )
    return tuple(str(value) for value in values)


def _strings(path: Path, table: pa.Table, name: str) -> tuple[str, ...]:
    values = table.column(name).to_pylist()
    odd = np.array([row for row, value in enumerate(values, start=1) if not isinstance(value, str)])
    if len(odd):
        raise rows_fault(
            str(path),
            f"without text in column '{name}'",
            odd,
            [values[row - 1] for row in odd[:3]],
            expected="a text in every row",
            fix="fill or drop these rows",
        )
    return tuple(values)


def _checked(where: str, rows: Texts) -> Texts:
    """Refuse rows that hold nothing but spaces."""
    for column in (rows.texts, rows.pairs or ()):
        blank = np.array([row for row, text in enumerate(column, start=1) if not text.strip()])
        if len(blank):
            raise rows_fault(
                where,
                "empty or only spaces",
                blank,
                [column[row - 1] for row in blank[:3]],
                expected="a text in every row",
                fix="drop these rows",
            )
    return rows
