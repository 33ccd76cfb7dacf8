"""Digests of rows: what is hashed, and which rows are the same."""

from __future__ import annotations

import hashlib

import numpy as np

from prefixbank.data.corpus.row_digests import distinct, row_digests
from prefixbank.data.corpus.texts import Texts


def of(*texts: str, pairs: tuple[str, ...] | None = None) -> Texts:
    return Texts(texts=texts, pairs=pairs)


def test_digest_is_the_hash_of_what_the_docstring_says():
    """A byte for the second text, the length of the first as eight bytes, then both."""
    for rows, plain in (
        (of("ä"), b"\0\2\0\0\0\0\0\0\0\xc3\xa4"),
        (of("a", pairs=("bc",)), b"\1\1\0\0\0\0\0\0\0abc"),
    ):
        assert (
            row_digests(rows).tobytes()
            == hashlib.blake2b(plain, digest_size=16, person=b"prefixbank.row.1").digest()
        )


def test_no_two_different_rows_have_one_digest():
    pairs = [("ab", "c"), ("a", "bc"), ("abc", ""), ("", "abc"), ("c", "ab")]
    digests = [row_digests(of(first, pairs=(second,))).tobytes() for first, second in pairs]
    assert len({*digests, row_digests(of("abc")).tobytes()}) == 6


def test_digest_ignores_name_and_number():
    rows = Texts(texts=("a", "b"), ids=("x", "y"), first_row=7)
    assert np.array_equal(row_digests(rows), row_digests(of("a", "b")))


def test_distinct_rows_come_in_the_order_of_their_first():
    first, which = distinct(row_digests(of("b", "a", "b", "c", "a")))
    assert (first.tolist(), which.tolist()) == ([0, 1, 3], [0, 1, 0, 2, 1])
