"""A corpus: texts without labels, of any size, from a file or from lines of standard input.

It is read once to check every row and to compute the digests of its shards, and a second time,
shard by shard, to embed it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO, ClassVar

from prefixbank.config.commands import CorpusConfig
from prefixbank.config.schema import ColumnNames
from prefixbank.data.corpus.texts import Texts
from prefixbank.data.file_format import ENDINGS, LINES, FileFormat, format_of, listed
from prefixbank.data.row_faults import RowFaults
from prefixbank.data.rows import UNREADABLE, Row, read_rows
from prefixbank.errors import DataError, raise_faults
from prefixbank.store.reasons import Described

STDIN = "-"


class CorpusColumns(ColumnNames):
    """The columns of a corpus under the names of those of a task; the id takes the label's."""

    SETTINGS: ClassVar[dict[str, str]] = {
        "text": "corpus.column",
        "text_pair": "corpus.column_pair",
        "label": "corpus.id_column",
    }


@dataclass(frozen=True, kw_only=True)
class _CorpusFile:
    """The file that rows come from.

    Args:
        path: the file, or a copy of standard input.
        form: how its rows are written.
        where: its name in errors.
        config: which columns to read.
    """

    path: Path
    form: FileFormat
    where: str
    config: CorpusConfig

    def rows(self, faults: RowFaults, first: int = 0) -> Iterator[Row]:
        """Yield the rows, unchecked, from row `first` on."""
        columns = CorpusColumns(
            text=self.config.column, text_pair=self.config.column_pair, label=self.config.id_column
        )
        return read_rows(self.path, self.form, self.where, columns, faults, first)


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """A corpus that was read once, without faults.

    Args:
        rows: N, the number of all rows.
        digests: digest of each shard's texts.
        file: the file that they come from.
    """

    rows: int
    digests: tuple[str, ...]
    file: _CorpusFile

    @property
    def shard_rows(self) -> int:
        """Rows in every shard but the last."""
        return self.file.config.shard_rows

    @property
    def is_copy(self) -> bool:
        """Whether it is a copy of standard input, which is deleted when the command ends."""
        return self.file.config.path == STDIN

    @property
    def words(self) -> Described:
        """The corpus in words, for the reasons of misses."""
        settings = asdict(self.file.config)
        return Described(
            kind="corpus",
            name="standard input" if self.is_copy else self.file.path.name,
            is_file=True,
            rows=self.rows,
            origin={name: value for name, value in settings.items() if name != "path"},
        )

    @property
    def is_paired(self) -> bool:
        """Whether each row has two texts."""
        return bool(self.file.config.column_pair)

    def rows_of(self, number: int) -> int:
        """Return the number of rows in a shard."""
        return min(self.shard_rows, self.rows - number * self.shard_rows)

    def shards(self) -> Iterator[Texts]:
        """Read the corpus again and yield its shards in order.

        Raises:
            DataError: the file changed since it was checked.
        """
        read = Shards(self.file)
        for number, digest in enumerate(self.digests):
            yield read(number, digest)


class Shards:
    """Reads shards of a checked corpus by number; no row is read twice while numbers rise."""

    def __init__(self, file: _CorpusFile) -> None:
        self._file = file
        self._rows: Iterator[Row] = iter(())
        self._next: int | None = None

    def __call__(self, number: int, digest: str) -> Texts:
        """Return a shard.

        Raises:
            DataError: its digest differs, so the file changed since it was checked.
        """
        size = self._file.config.shard_rows
        if self._next is None or number < self._next:
            self._rows, self._next = (
                self._file.rows(RowFaults(self._file.where), number * size),
                number,
            )
        rows = list(
            islice(self._rows, (number - self._next) * size, (number - self._next + 1) * size)
        )
        self._next = number + 1
        texts = _RowCheck(self._file, RowFaults(self._file.where)).texts(rows, number * size)
        if texts.digest() != digest:
            raise DataError(
                f"{self._file.where} changed while it was read",
                expected="a file that nothing writes to; finished shards are kept",
                fix="run the same command again",
            )
        return texts


def shards_of(config: CorpusConfig) -> Shards:
    """Return a reader of shards for a file that another process has checked.

    Raises:
        DataError: there is no such file on this machine.
    """
    return Shards(_file(config))


@contextmanager
def open_corpus(config: CorpusConfig, stdin: BinaryIO) -> Iterator[Corpus]:
    """Read a corpus, check every row, and yield it for a second reading.

    Standard input is copied to a file, since it can be read only once.

    Args:
        config: path and columns; with the path `-`, that of `stdin`, where each line is a text
            unless the settings say otherwise.
        stdin: bytes of standard input.

    Raises:
        DataError: no such file, an unknown ending, no rows, a missing column, rows without text,
            bytes that are not UTF-8.
        Faults: several of these.
    """
    if config.path == STDIN:
        with NamedTemporaryFile(prefix="prefixbank-", suffix=".txt") as copy:
            file = _corpus_file(Path(copy.name), "standard input", config)
            shutil.copyfileobj(stdin, copy)
            copy.flush()
            yield _read_through(file)
    else:
        yield _read_through(_file(config))


def _read_through(file: _CorpusFile) -> Corpus:
    faults = RowFaults(file.where)
    rows, digests = 0, []
    for texts in _shards(file, faults):
        rows += len(texts)
        digests.append(texts.digest())
    raise_faults(faults.faults())
    if rows == 0:
        raise DataError(
            f"{file.where} has no rows",
            expected="a text in each row",
            fix="name a file with rows",
        )
    return Corpus(rows=rows, digests=tuple(digests), file=file)


def _file(config: CorpusConfig) -> _CorpusFile:
    """Return the file that the settings name; raise DataError if it cannot be read with them."""
    if not config.path:
        raise DataError(
            "corpus.path is empty",
            expected="corpus.path=FILE, or corpus.path=- for lines of standard input",
            fix="corpus.path=texts.txt",
        )
    path = Path(config.path).expanduser()
    if not path.is_file():
        raise DataError(
            f"no file '{config.path}'",
            expected=f"a file that ends in {listed([*LINES, *ENDINGS])}",
            fix="corpus.path=FILE",
        )
    return _corpus_file(path, f"'{path}'", config)


def _corpus_file(path: Path, where: str, config: CorpusConfig) -> _CorpusFile:
    """Return a file as the settings read it; raise DataError if they do not fit."""
    form = format_of(path, config, "corpus", lines=True)
    if not form.has_columns:
        _refuse_columns(config, where)
    elif not config.column:
        raise DataError(
            "corpus.column is empty",
            expected="the name of the column that holds the texts",
            fix="corpus.column=text",
        )
    return _CorpusFile(path=path, form=form, where=where, config=config)


def _refuse_columns(config: CorpusConfig, where: str) -> None:
    """Raise DataError if settings name columns, which lines of text do not have."""
    for setting, name in (
        ("corpus.column", config.column if config.column != CorpusConfig().column else ""),
        ("corpus.column_pair", config.column_pair),
        ("corpus.id_column", config.id_column),
    ):
        if name:
            raise DataError(
                f"{setting}={name}, but {where} holds one text in each line",
                expected=f"columns in a file that ends in {listed()}",
                fix=f"drop {setting}    or say how the rows are written: corpus.format=jsonl",
            )


def _shards(file: _CorpusFile, faults: RowFaults) -> Iterator[Texts]:
    """Yield all rows in shards.

    Faulty rows are counted, too, so that row numbers are those of the file.
    """
    check = _RowCheck(file, faults)
    shard: list[Row] = []
    first = 0
    for row in file.rows(faults):
        if row is not UNREADABLE:
            check(first + len(shard) + 1, row)
        if faults.enough:
            return
        shard.append(row)
        if len(shard) == file.config.shard_rows:
            yield check.texts(shard, first)
            first, shard = first + len(shard), []
    # A file with one empty line has no rows.
    if not file.form.has_columns and first == 0 and shard == [("",)]:
        faults.clear()
        return
    if shard:
        yield check.texts(shard, first)


class _RowCheck:
    """Checks rows, and turns readable ones into texts."""

    def __init__(self, file: _CorpusFile, faults: RowFaults) -> None:
        self._faults = faults
        self._config = file.config
        self._pairs, self._ids = bool(file.config.column_pair), bool(file.config.id_column)

    def __call__(self, number: int, row: Row) -> None:
        """Add what is wrong with a row to the faults."""
        names = (self._config.column, *([self._config.column_pair] if self._pairs else []))
        for name, value in zip(names, row, strict=False):
            if not isinstance(value, str):
                problem = f"without text in column '{name}'"
                self._faults.add(
                    number,
                    problem,
                    value,
                    expected="a text in every row",
                    fix="fill or drop these rows",
                )
            elif not value or value.isspace():
                self._faults.add(
                    number,
                    "empty or only spaces",
                    value,
                    expected="a text in every row",
                    fix="drop these rows",
                )
        if self._ids and (row[-1] is None or row[-1] == ""):
            problem = f"without an id in column '{self._config.id_column}'"
            fix = "fill these, or corpus.id_column='' to number rows"
            self._faults.add(number, problem, None, expected="an id in every row", fix=fix)

    def texts(self, rows: list[Row], first: int) -> Texts:
        """Return rows as texts; the first one has the number `first`, counted from 0."""
        columns = (
            list(zip(*(row for row in rows if row is not UNREADABLE), strict=True)) or [()] * 3
        )
        pairs = tuple(map(str, columns[1])) if self._pairs else None
        ids = tuple(map(str, columns[-1])) if self._ids else None
        return Texts(texts=tuple(map(str, columns[0])), pairs=pairs, ids=ids, first_row=first)
