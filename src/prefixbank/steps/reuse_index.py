"""Rows known by digests of their texts, and where the vector of each lies."""

from __future__ import annotations

import hashlib

import numpy as np

from prefixbank.data.texts import Texts

DIGEST_BYTES = 16
_ROW_BITS = 32


def row_digests(rows: Texts) -> np.ndarray:
    """Return for each row the BLAKE2b of its text and second text, uint8 [N, 16]; its name and number do not count.

    What is hashed begins with a byte that says whether there is a second text and with the length of the first, so that no two different
    rows are the same bytes.
    """
    seconds = [None] * len(rows) if rows.pairs is None else rows.pairs
    digests = b"".join(_digest(text, second) for text, second in zip(rows.texts, seconds, strict=True))
    return np.frombuffer(digests, dtype=np.uint8).reshape(len(rows), DIGEST_BYTES)


def _digest(text: str, second: str | None) -> bytes:
    first = text.encode("utf-8")
    more = b"" if second is None else second.encode("utf-8")
    head = bytes([second is not None]) + len(first).to_bytes(8, "little")
    return hashlib.blake2b(head + first + more, digest_size=DIGEST_BYTES, person=b"prefixbank.row.1").digest()


def distinct(digests: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first row of each digest, in row order, int64 [D], and for each row which of these it equals, int64 [N]."""
    numbers: dict[bytes, int] = {}
    which = np.array([numbers.setdefault(digest.tobytes(), len(numbers)) for digest in digests], dtype=np.int64)
    return np.unique(which, return_index=True)[1], which


class RowIndex:
    """Finds rows by the first 8 bytes of their digests.

    It holds 16 bytes for each distinct row: these 8 as a sorted uint64, and the place as an int64 (number of the file, 32 bits of row).
    While rows are added it takes some 10 more. Of rows whose digests begin alike the one added first stays, be they the same text or not:
    whoever reads a row compares the whole digest.
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
        """Return file and row of each digest, int64 [M] both; the file is -1 where there is none."""
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
