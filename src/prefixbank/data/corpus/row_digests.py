"""Digests of rows, which tell equal texts wherever they stand."""

from __future__ import annotations

import hashlib

import numpy as np

from prefixbank.data.corpus.texts import Texts

DIGEST_BYTES = 16


def row_digests(rows: Texts) -> np.ndarray:
    """Return the BLAKE2b digest of each row's text and second text, uint8 [N, 16].

    Ids and row numbers are not hashed. The hashed bytes begin with a byte that says whether there
    is a second text, and the length of the first, so that no two different rows are equal.
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
    """Return the first row of each distinct digest, int64 [D], and which of them each row equals.

    The second array is int64 [N], with values below D.
    """
    numbers: dict[bytes, int] = {}
    which = np.array(
        [numbers.setdefault(digest.tobytes(), len(numbers)) for digest in digests], dtype=np.int64
    )
    return np.unique(which, return_index=True)[1], which
