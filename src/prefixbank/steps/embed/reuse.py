"""Copy vectors from earlier embeddings, so that only new texts are embedded.

The earlier embeddings were made with `reuse=true` by the same bank, encoder, settings and version.
Their Parquet files have two more columns: `digest`, 16 bytes of the row's texts (`row_digests`),
and `truncated`, whether a text of the row was truncated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from prefixbank.artifacts.embeddings import STEP, publish_part, stored_in
from prefixbank.data.corpus.row_digests import DIGEST_BYTES, distinct, row_digests
from prefixbank.data.corpus.texts import Texts
from prefixbank.errors import DamagedError
from prefixbank.store.artifact import Entry
from prefixbank.store.files import is_there
from prefixbank.store.key import JSON, key_of
from prefixbank.store.store import Store

DIGEST, CUT = "digest", "truncated"
Embed = Callable[[Texts], tuple[np.ndarray, np.ndarray]]
"""Embeds M texts; returns vectors as stored [M, S], and which were truncated, bool [M]."""


@dataclass(frozen=True, kw_only=True)
class ReusedRows:
    """Vectors of some rows.

    Args:
        rows: int64 [M] indices of the rows.
        stored: [M, S] vectors as stored.
        cut: bool [M] whether a text of the row was truncated.
    """

    rows: np.ndarray
    stored: np.ndarray
    cut: np.ndarray


@dataclass(frozen=True, kw_only=True)
class _File:
    """A Parquet file of an entry, already checked against its digest."""

    entry: Entry
    name: str
    path: Path

    def read(self, *columns: str) -> pa.Table | None:
        """Return some columns; None if the entry was deleted since."""
        try:
            return parquet.read_table(self.path, columns=list(columns))
        except FileNotFoundError:
            _checked(self.entry, self.name)
            return None


class VectorReuse:
    """Finds the vectors of rows in embeddings that differ from the new ones in their texts only.

    Shards made meanwhile are included.

    The index is built for the first missing shard. Every file is then read once, to check it and
    for its digests, and again, by column, for each shard that copies rows from it; a corpus in a
    completely new order therefore reads every file for every shard. Memory holds 16 bytes for each
    distinct row (`RowIndex`), and the vectors of one file at a time.

    Args:
        store: has the earlier embeddings.
        force: copy nothing from the store, only from shards that are added.

    Attributes:
        embedded: number of rows in each part that were embedded so far, not copied.
    """

    def __init__(self, store: Store, *, force: bool = False) -> None:
        self.embedded: Counter[Path] = Counter()
        self._store, self._force = store, force
        self._index: RowIndex | None = None
        self._files: list[_File] = []
        self._known: set[str] = set()

    @property
    def texts_embedded(self) -> int:
        """Number of all rows that were embedded so far."""
        return self.embedded.total()

    def open(self, document: JSON) -> None:
        """Build the index, the first time.

        Args:
            document: key document of the new embeddings; its texts are ignored.

        Raises:
            DamagedError: earlier embeddings are damaged, so that their content is unknown.
        """
        if self._index is not None:
            return
        self._index = RowIndex()
        if self._force:
            return
        for _, error in self._store.damaged(STEP):
            raise error
        key = _key_without_texts(document)
        for entry in reversed(self._store.entries(STEP)):
            if _key_without_texts(entry.document) == key:
                self.add(entry)

    def known(self) -> Entry | None:
        """Return embeddings that differ in their texts only; None if there are none."""
        return self._files[0].entry if self._files else None

    def add(self, entry: Entry) -> None:
        """Add the rows of embeddings just made; without effect before `open`, which finds them."""
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
        """Yield the vectors of known rows, file by file.

        Args:
            digests: uint8 [N, 16] digests of the rows.

        Raises:
            DamagedError: a file is missing from an entry that still exists.
        """
        if self._index is None:
            raise ValueError("`take` before `open`")
        files, rows_in_file = self._index.find(digests)
        for number in np.unique(files[files >= 0]).tolist():
            table = self._files[number].read(DIGEST, CUT, "vector")
            if table is None:
                continue
            rows = np.flatnonzero(files == number)
            same = (_digests_in(table)[rows_in_file[rows]] == digests[rows]).all(axis=1)
            rows = rows[same]
            at = rows_in_file[rows]
            if len(rows):
                cut = table.column(CUT).to_numpy()[at]
                yield ReusedRows(rows=rows, stored=stored_in(table)[at], cut=cut)


def write_part_reusing(
    path: Path, rows: Texts, reuse: VectorReuse, embed: Embed, on_rows: Callable[[int], None]
) -> tuple[int, int]:
    """Write one part: copy known vectors and embed the other rows, equal rows once.

    Args:
        path: the file.
        rows: N texts.
        reuse: known vectors.
        embed: embeds texts, and calls `on_rows` itself.
        on_rows: called with the number of copied rows.

    Returns:
        The number of truncated rows, and F.
    """
    digests = row_digests(rows)
    first, which = distinct(digests)
    pieces = list(reuse.take(digests[first]))
    missing = np.setdiff1d(
        np.arange(len(first)),
        np.concatenate([np.empty(0, np.int64), *(piece.rows for piece in pieces)]),
    )
    on_rows(len(rows) - len(missing))
    if len(missing):
        reuse.embedded[path] += len(missing)
        stored, cut = embed(rows.take(first[missing]))
        pieces.append(ReusedRows(rows=missing, stored=stored, cut=cut))
    stored, cut = _joined(pieces, len(first))
    columns = {
        DIGEST: pa.array([digest.tobytes() for digest in digests], pa.binary(DIGEST_BYTES)),
        CUT: pa.array(cut[which]),
    }
    publish_part(path, rows, stored[which], int(cut[which].sum()), stored.shape[1], columns=columns)
    return int(cut[which].sum()), stored.shape[1]


def _joined(pieces: list[ReusedRows], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the vectors of all rows as stored, [N, S], and which were truncated, bool [N]."""
    stored = np.empty((count, pieces[0].stored.shape[1]), dtype=pieces[0].stored.dtype)
    cut = np.empty(count, dtype=bool)
    for piece in pieces:
        stored[piece.rows], cut[piece.rows] = piece.stored, piece.cut
    return stored, cut


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
    """Check an entry's file and return its path; None if gc has deleted the entry meanwhile."""
    try:
        return entry.file(name)
    except DamagedError:
        if is_there(entry.path):
            raise
        return None


_ROW_BITS = 32


class RowIndex:
    """Finds rows by the first 8 bytes of their digests.

    It holds 16 bytes for each distinct row: these 8 as a sorted uint64, and the location as an
    int64 (number of the file, 32 bits of row). Adding rows takes some 10 bytes more. Of several
    rows with the same 8 bytes the one added first is kept, whether their texts are the same or not,
    so the caller must compare the whole digest.
    """

    def __init__(self) -> None:
        self._starts = np.empty(0, dtype=np.uint64)
        self._locations = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        """Return the number of distinct rows."""
        return len(self._starts)

    def add(self, digests: np.ndarray, file: int) -> None:
        """Add the rows of a file, digests uint8 [N, 16], unless they are known."""
        starts, rows = np.unique(starts_of(digests), return_index=True)
        at = np.searchsorted(self._starts, starts)
        fresh = ~self._holds(at, starts)
        self._starts = np.insert(self._starts, at[fresh], starts[fresh])
        self._locations = np.insert(self._locations, at[fresh], (file << _ROW_BITS) + rows[fresh])

    def find(self, digests: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return file and row of each digest, both int64 [M]; the file is -1 for unknown ones."""
        starts = starts_of(digests)
        at = np.searchsorted(self._starts, starts)
        locations = np.full(len(starts), -1, dtype=np.int64)
        known = self._holds(at, starts)
        locations[known] = self._locations[at[known]]
        return locations >> _ROW_BITS, locations & ((1 << _ROW_BITS) - 1)

    def _holds(self, at: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """Whether the index has `starts` at these positions, bool [M]."""
        held = np.zeros(len(starts), dtype=bool)
        inside = at < len(self._starts)
        held[inside] = self._starts[at[inside]] == starts[inside]
        return held


def starts_of(digests: np.ndarray) -> np.ndarray:
    """Return the first 8 bytes of each digest, uint64 [N]."""
    return np.ascontiguousarray(digests[:, :8]).view("<u8").ravel()
