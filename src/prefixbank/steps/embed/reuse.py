"""Take over vectors that earlier embeddings hold, so that the encoder reads only new texts.

What may be taken over was made with `reuse=true` by the same bank, encoder, settings and version.
Its Parquet files have two columns more: `digest`, 16 bytes of the row's texts (`row_digests`), and
`truncated`, whether a text of the row was cut.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from prefixbank.artifacts.embeddings import STEP, publish_part, stored_in
from prefixbank.data.corpus.texts import Texts
from prefixbank.errors import DamagedError
from prefixbank.store.artifact import Entry
from prefixbank.store.files import is_there
from prefixbank.store.key import JSON, key_of
from prefixbank.store.store import Store

DIGEST, CUT = "digest", "truncated"
Read = Callable[[Texts], tuple[np.ndarray, np.ndarray]]
"""Texts to what is stored of their vectors [M, S] and whether one was cut, bool [M]."""


@dataclass(frozen=True, kw_only=True)
class ReusedRows:
    """Vectors of some rows.

    Args:
        places: int64 [M] which rows.
        stored: [M, S] as stored.
        cut: bool [M] rows of which a text was truncated.
    """

    places: np.ndarray
    stored: np.ndarray
    cut: np.ndarray


@dataclass(frozen=True, kw_only=True)
class _File:
    """A Parquet file of an entry, at a path that `Entry.file` has given after reading all of it."""

    entry: Entry
    name: str
    path: Path

    def read(self, *columns: str) -> pa.Table | None:
        """Return some columns; None if the whole entry was deleted since."""
        try:
            return parquet.read_table(self.path, columns=list(columns))
        except FileNotFoundError:
            _checked(self.entry, self.name)
            return None


class VectorReuse:
    """The rows of embeddings in the store that differ from those to be made in their texts only.

    Rows of shards made meanwhile are among them.

    The index is built when a shard is first found missing: every file is read whole once, to check
    it and for its digests, and once more, by column, for each shard that takes rows from it; a
    corpus in a wholly new order therefore reads every file for every shard. Sixteen bytes for each
    distinct row stay in memory (`RowIndex`), beside the vectors of one file at a time.

    Args:
        store: where to look.
        force: take nothing over from the store, only from shards that are added.

    Attributes:
        texts_read: rows that the encoder had to read so far.
    """

    def __init__(self, store: Store, *, force: bool = False) -> None:
        self.texts_read = 0
        self._store, self._force = store, force
        self._index: RowIndex | None = None
        self._files: list[_File] = []
        self._known: set[str] = set()

    def open(self, document: JSON) -> None:
        """Build the index, the first time.

        Args:
            document: of the embeddings to be made, with any texts.

        Raises:
            DamagedError: one of the embeddings is damaged, or cannot be read, so that it is unknown
                what it holds.
        """
        if self._index is not None:
            return
        self._index = RowIndex()
        if self._force:
            return
        for _, error in self._store.damaged(STEP):
            raise error
        wanted = _key_without_texts(document)
        for entry in reversed(self._store.entries(STEP)):
            if _key_without_texts(entry.document) == wanted:
                self.add(entry)

    def add(self, entry: Entry) -> None:
        """Add the rows of embeddings that were just made; before `open` there is no need to."""
        if self._index is None:
            return
        for name, record in entry.files.items():
            if not name.endswith(".parquet") or record.sha256 in self._known:
                continue
            if (path := _checked(entry, name)) is None:
                continue
            file = _File(entry=entry, name=name, path=path)
            if (table := file.read(DIGEST)) is not None:
                self._index.add(_digests_in(table), len(self._files))
                self._files.append(file)
                self._known.add(record.sha256)

    def take(self, digests: np.ndarray) -> Iterator[ReusedRows]:
        """Yield the vectors of the rows that are there, file by file.

        Args:
            digests: uint8 [N, 16].

        Raises:
            DamagedError: a file is gone from an entry that is still there.
        """
        if self._index is None:
            raise ValueError("rows were asked for before `open`")
        files, rows = self._index.find(digests)
        for number in np.unique(files[files >= 0]).tolist():
            table = self._files[number].read(DIGEST, CUT, "vector")
            if table is None:
                continue
            places = np.flatnonzero(files == number)
            same = (_digests_in(table)[rows[places]] == digests[places]).all(axis=1)
            places = places[same]
            cut = table.column(CUT).to_numpy()[rows[places]]
            if len(places):
                yield ReusedRows(places=places, stored=stored_in(table)[rows[places]], cut=cut)


def write_part_reusing(
    path: Path, rows: Texts, earlier: VectorReuse, read: Read, on_rows: Callable[[int], None]
) -> tuple[int, int]:
    """Write one part; `read` reads only rows that are not among the earlier ones, each text once.

    Args:
        path: the file.
        rows: N texts.
        earlier: what may be taken over.
        read: embeds texts, and tells of each.
        on_rows: told of the other rows.

    Returns:
        The number of truncated rows, and F.
    """
    digests = row_digests(rows)
    first, which = distinct(digests)
    pieces = list(earlier.take(digests[first]))
    missing = np.setdiff1d(
        np.arange(len(first)),
        np.concatenate([np.empty(0, np.int64), *(piece.places for piece in pieces)]),
    )
    on_rows(len(rows) - len(missing))
    if len(missing):
        earlier.texts_read += len(missing)
        stored, cut = read(_picked(rows, first[missing]))
        pieces.append(ReusedRows(places=missing, stored=stored, cut=cut))
    stored, cut = _joined(pieces, len(first))
    columns = {
        DIGEST: pa.array([digest.tobytes() for digest in digests], pa.binary(DIGEST_BYTES)),
        CUT: pa.array(cut[which]),
    }
    publish_part(path, rows, stored[which], int(cut[which].sum()), stored.shape[1], columns=columns)
    return int(cut[which].sum()), stored.shape[1]


def _joined(pieces: list[ReusedRows], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what is stored of all rows, [N, S], and whether each was cut, bool [N]."""
    stored = np.empty((count, pieces[0].stored.shape[1]), dtype=pieces[0].stored.dtype)
    cut = np.empty(count, dtype=bool)
    for piece in pieces:
        stored[piece.places], cut[piece.places] = piece.stored, piece.cut
    return stored, cut


def _picked(rows: Texts, numbers: np.ndarray) -> Texts:
    """Return some rows, without names."""
    picked = numbers.tolist()
    pairs = None if rows.pairs is None else tuple(rows.pairs[row] for row in picked)
    return Texts(texts=tuple(rows.texts[row] for row in picked), pairs=pairs)


def _digests_in(table: pa.Table) -> np.ndarray:
    column = table.column(DIGEST).combine_chunks()
    whole = np.frombuffer(column.buffers()[1], dtype=np.uint8)
    return whole[column.offset * DIGEST_BYTES :][: len(column) * DIGEST_BYTES].reshape(
        len(column), DIGEST_BYTES
    )


def _key_without_texts(document: JSON) -> str:
    inputs = {name: value for name, value in document["inputs"].items() if name != "texts"}
    return key_of({**document, "inputs": inputs})


def _checked(entry: Entry, name: str) -> Path | None:
    """Return the path of an entry's file, read whole and found right.

    None if gc has moved the entry away meanwhile.
    """
    try:
        return entry.file(name)
    except DamagedError:
        if is_there(entry.path):
            raise
        return None


DIGEST_BYTES = 16
_ROW_BITS = 32


def row_digests(rows: Texts) -> np.ndarray:
    """Return for each row the BLAKE2b of its text and second text, uint8 [N, 16].

    Its name and number do not count.

    What is hashed begins with a byte that says whether there is a second text and with the length
    of the first, so that no two different rows are the same bytes.
    """
    seconds = [None] * len(rows) if rows.pairs is None else rows.pairs
    digests = b"".join(
        _digest(text, second) for text, second in zip(rows.texts, seconds, strict=True)
    )
    return np.frombuffer(digests, dtype=np.uint8).reshape(len(rows), DIGEST_BYTES)


def _digest(text: str, second: str | None) -> bytes:
    first = text.encode("utf-8")
    more = b"" if second is None else second.encode("utf-8")
    head = bytes([second is not None]) + len(first).to_bytes(8, "little")
    return hashlib.blake2b(
        head + first + more, digest_size=DIGEST_BYTES, person=b"prefixbank.row.1"
    ).digest()


def distinct(digests: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first row of each digest, and for each row which of these it equals.

    Both int64, [D] in row order and [N].
    """
    numbers: dict[bytes, int] = {}
    which = np.array(
        [numbers.setdefault(digest.tobytes(), len(numbers)) for digest in digests], dtype=np.int64
    )
    return np.unique(which, return_index=True)[1], which


class RowIndex:
    """Finds rows by the first 8 bytes of their digests.

    It holds 16 bytes for each distinct row: these 8 as a sorted uint64, and the place as an int64
    (number of the file, 32 bits of row). While rows are added it takes some 10 more. Of rows whose
    digests begin alike the one added first stays, be they the same text or not: whoever reads a row
    compares the whole digest.
    """

    def __init__(self) -> None:
        self._starts = np.empty(0, dtype=np.uint64)
        self._places = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        """Return the number of distinct rows."""
        return len(self._starts)

    def add(self, digests: np.ndarray, file: int) -> None:
        """Add the rows of a file, uint8 [N, 16], unless they are there."""
        starts, rows = np.unique(starts_of(digests), return_index=True)
        at = np.searchsorted(self._starts, starts)
        fresh = ~self._holds(at, starts)
        self._starts = np.insert(self._starts, at[fresh], starts[fresh])
        self._places = np.insert(self._places, at[fresh], (file << _ROW_BITS) + rows[fresh])

    def find(self, digests: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return file and row of each digest, int64 [M] both.

        The file is -1 where there is none.
        """
        starts = starts_of(digests)
        at = np.searchsorted(self._starts, starts)
        places = np.full(len(starts), -1, dtype=np.int64)
        found = self._holds(at, starts)
        places[found] = self._places[at[found]]
        return places >> _ROW_BITS, places & ((1 << _ROW_BITS) - 1)

    def _holds(self, at: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """Return whether `starts` are those that stand at these places, bool [M]."""
        held = np.zeros(len(starts), dtype=bool)
        inside = at < len(self._starts)
        held[inside] = self._starts[at[inside]] == starts[inside]
        return held


def starts_of(digests: np.ndarray) -> np.ndarray:
    """Return the first 8 bytes of each digest, uint64 [N]."""
    return np.ascontiguousarray(digests[:, :8]).view("<u8").ravel()
