"""A corpus: texts without labels, of any size, from a file or from lines of standard input.

It is read once to check every row and to compute the digests of its shards, and a second time,
shard by shard, to embed it.
"""

from __future__ import annotations

import hashlib
import shutil
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO, ClassVar

import numpy as np

from prefixbank.config.commands import CorpusConfig
from prefixbank.config.schema import ColumnNames
from prefixbank.data.corpus.texts import Texts, is_empty
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

    @property
    def drops(self) -> bool:
        """Whether rows without text are left out."""
        return self.config.empty == "drop"

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The columns of texts."""
        return tuple(filter(None, (self.config.column, self.config.column_pair)))

    def is_empty(self, row: Row) -> bool:
        """Whether a text of a row is missing or has no visible character."""
        texts = row[: len(self.text_columns)]
        return any(text is None or isinstance(text, str) and is_empty(text) for text in texts)

    def kept(self, first: int) -> Iterator[tuple[int, Row]]:
        """Yield number and values of the rows that are embedded, from row `first` on."""
        numbered = enumerate(self.rows(RowFaults(self.where), first), first)
        if not self.drops:
            return numbered
        return ((number, row) for number, row in numbered if not self.is_empty(row))

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
        rows: N, the number of all rows that are embedded.
        digests: digest of each shard's texts.
        file: the file that they come from.
        empty_rows: number of rows without text, which are dropped or get zero vectors.
        repeated_ids: number of rows with the id of an earlier row.
    """

    rows: int
    digests: tuple[str, ...]
    file: _CorpusFile
    empty_rows: int = 0
    repeated_ids: int = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user on its rows, a sentence each."""
        empty, repeated, notes = self.empty_rows, self.repeated_ids, []
        if empty and self.file.drops:
            notes.append(f"{empty} rows without text left out of {self.rows + empty}")
        elif empty:
            notes.append(f"{empty} of {self.rows} rows without text get zero vectors")
        if repeated:
            notes.append(f"{repeated} of {self.rows} rows have the id of an earlier row")
        return tuple(notes)

    @property
    def shard_rows(self) -> int:
        """Rows in every shard but the last."""
        return self.file.config.shard_rows

    @property
    def gives_zeros(self) -> bool:
        """Whether rows without text get zero vectors."""
        return self.file.config.empty == "zero"

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
        self._rows: Iterator[tuple[int, Row]] = iter(())
        self._next: int | None = None

    def __call__(self, number: int, digest: str) -> Texts:
        """Return a shard.

        Raises:
            DataError: its digest differs, so the file changed since it was checked.
        """
        size = self._file.config.shard_rows
        if self._next is None or number < self._next:
            # Which rows are dropped before a shard is known only when they are read.
            self._next = 0 if self._file.drops else number
            self._rows = self._file.kept(self._next * size)
        rows = list(
            islice(self._rows, (number - self._next) * size, (number - self._next + 1) * size)
        )
        self._next = number + 1
        texts = _texts(self._file, rows)
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
    check = _RowCheck(file, faults)
    rows, digests = 0, []
    for texts in _shards(file, check, faults):
        rows += len(texts)
        digests.append(texts.digest())
    raise_faults(faults.faults())
    if rows == 0:
        dropped = f"{file.where} has no row with a text: {check.empty} are empty"
        raise DataError(
            dropped if check.empty else f"{file.where} has no rows",
            expected="a text in each row",
            fix="name a file with rows",
        )
    return Corpus(
        rows=rows,
        digests=tuple(digests),
        file=file,
        empty_rows=check.empty,
        repeated_ids=check.repeated_ids(),
    )


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


def _shards(file: _CorpusFile, check: _RowCheck, faults: RowFaults) -> Iterator[Texts]:
    """Yield all rows in shards.

    Faulty rows are counted, too, so that row numbers are those of the file.
    """
    shard: list[tuple[int, Row]] = []
    begun = False
    for number, row in enumerate(file.rows(faults)):
        if faults.enough:
            return
        if row is not UNREADABLE and not check(number + 1, row):
            continue
        shard.append((number, row))
        if len(shard) == file.config.shard_rows:
            yield _texts(file, shard)
            begun, shard = True, []
    # A file with one empty line has no rows.
    if not file.form.has_columns and not begun and shard == [(0, ("",))]:
        faults.clear()
        check.empty = 0
        return
    if shard:
        yield _texts(file, shard)


class _RowCheck:
    """Checks rows.

    Attributes:
        empty: number of rows without text so far, where these are no faults.
    """

    def __init__(self, file: _CorpusFile, faults: RowFaults) -> None:
        self.empty = 0
        self._ids = array("Q")
        self._file, self._faults, self._config = file, faults, file.config

    def __call__(self, number: int, row: Row) -> bool:
        """Add what is wrong with a row to the faults; return whether it is embedded."""
        if self._config.empty != "error" and self._file.is_empty(row):
            self.empty += 1
            if self._file.drops:
                return False
        for name, value in zip(self._file.text_columns, row, strict=False):
            self._check_text(number, name, value)
        if self._config.id_column:
            self._check_id(number, row[-1])
        return True

    def repeated_ids(self) -> int:
        """Return the number of rows whose id an earlier row has.

        8 bytes of the hash of each id are kept, so that a large corpus does not fill the memory.
        """
        return len(self._ids) - len(np.unique(np.frombuffer(self._ids, dtype=np.uint64)))

    def _check_id(self, number: int, value: object) -> None:
        if value is None or value == "":
            problem = f"without an id in column '{self._config.id_column}'"
            fix = "fill these, or corpus.id_column='' to number rows"
            self._faults.add(number, problem, None, expected="an id in every row", fix=fix)
            return
        digest = hashlib.blake2b(str(value).encode("utf-8"), digest_size=8).digest()
        self._ids.append(int.from_bytes(digest, "little"))

    def _check_text(self, number: int, name: str, value: object) -> None:
        """Add a value that is no text, or an empty one where these are faults."""
        if isinstance(value, str):
            fault, problem = is_empty(value), "empty or only spaces"
        else:
            fault, problem = value is None, f"without text in column '{name}'"
            if value is not None:
                self._add(number, problem, value, fix="write the text, or name another column")
        if fault and self._config.empty == "error":
            fix = "fill in the text    or corpus.empty=drop where there is none"
            self._add(number, problem, value, fix=fix)

    def _add(self, number: int, problem: str, value: object, *, fix: str) -> None:
        self._faults.add(number, problem, value, expected="a text in every row", fix=fix)


def _texts(file: _CorpusFile, rows: list[tuple[int, Row]]) -> Texts:
    """Return rows as texts, with their numbers in the file; a missing text is empty."""
    readable = [row for _, row in rows if row is not UNREADABLE]
    columns = list(zip(*readable, strict=True)) or [()] * 3
    texts, pairs = (
        tuple("" if value is None else str(value) for value in columns[at])
        if at < len(file.text_columns)
        else None
        for at in range(2)
    )
    return Texts(
        texts=texts or (),
        pairs=pairs,
        ids=tuple(map(str, columns[-1])) if file.config.id_column else None,
        first_row=rows[0][0] if rows else 0,
        row_numbers=tuple(number for number, row in rows if row is not UNREADABLE)
        if file.drops
        else None,
    )
