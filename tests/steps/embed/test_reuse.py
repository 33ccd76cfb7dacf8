"""Rows that embeddings made before hold already: how they are known and found."""

from __future__ import annotations

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from prefixbank.data.corpus.row_digests import row_digests
from prefixbank.data.corpus.texts import Texts
from prefixbank.errors import DamagedError
from prefixbank.steps.embed.reuse import (
    RowIndex,
    VectorReuse,
    write_part_reusing,
)
from prefixbank.store.key import document
from prefixbank.store.store import Store


def of(*texts: str, pairs: tuple[str, ...] | None = None) -> Texts:
    return Texts(texts=texts, pairs=pairs)


def test_index_finds_what_a_dictionary_finds():
    rng, index, expected = np.random.default_rng(0), RowIndex(), {}
    for file in range(7):
        digests = row_digests(of(*map(str, rng.integers(0, 60, size=20))))
        index.add(digests, file)
        for row, digest in enumerate(digests):
            expected.setdefault(digest.tobytes(), (file, row))
    asked = row_digests(of(*map(str, range(80))))
    files, rows = index.find(asked)
    assert [
        place if place[0] >= 0 else None
        for place in zip(files.tolist(), rows.tolist(), strict=True)
    ] == [expected.get(digest.tobytes()) for digest in asked]
    assert len(index) == len(expected)


def test_index_takes_sixteen_bytes_for_a_row():
    index = RowIndex()
    index.add(row_digests(of(*map(str, range(1000)))), 3)
    assert sum(column.nbytes for column in vars(index).values()) == 16_000


def test_empty_index_finds_nothing():
    assert RowIndex().find(row_digests(of("a")))[0].tolist() == [-1]


VECTORS = {"a": (1.0, 2.0), "b": (3.0, 4.0), "c": (5.0, 6.0)}


def read(rows: Texts) -> tuple[np.ndarray, np.ndarray]:
    """Stand for the encoder; `b` is too long for it."""
    return np.array([VECTORS[text] for text in rows.texts], np.float32), np.array(
        [text == "b" for text in rows.texts]
    )


def made_of(digest: str):
    return document(
        step="embed",
        version=1,
        config={"reuse": True},
        inputs={"bank": None, "encoder": "e", "texts": {"part": digest}},
    )


@pytest.fixture
def earlier(store: Store) -> VectorReuse:
    """What a store with embeddings of a, b and a has."""

    def make(out, work):
        begin = VectorReuse(store)
        begin.open(made_of("1"))
        write_part_reusing(out / "part.parquet", of("a", "b", "a"), begin, read, lambda count: None)
        return {}

    store.build(made_of("1"), make)
    return VectorReuse(store)


def test_part_has_digests_and_says_which_rows_were_cut(store, earlier):
    table = parquet.read_table(store.entries("embed")[0].path / "part.parquet")
    assert table.schema.names == ["id", "row", "vector", "digest", "truncated"]
    assert (table.schema.field("digest").type, table["truncated"].to_pylist()) == (
        pa.binary(16),
        [False, True, False],
    )
    assert b"".join(table["digest"].to_pylist()) == row_digests(of("a", "b", "a")).tobytes()


def test_only_new_rows_are_embedded_and_each_row_is_counted(tmp_path, earlier):
    earlier.open(made_of("2"))
    embedded, copied = [], []

    def embed(rows):
        embedded.append(rows.texts)
        return read(rows)

    counts = write_part_reusing(
        tmp_path / "part", of("c", "b", "a", "c", "b"), earlier, embed, copied.append
    )
    table = parquet.read_table(tmp_path / "part")
    assert (embedded, copied, counts, earlier.texts_embedded) == ([("c",)], [4], (2, 2), 1)
    assert table["vector"].to_pylist() == [list(VECTORS[text]) for text in "cbacb"]
    assert table["truncated"].to_pylist() == [False, True, False, False, True]


def test_rows_whose_digests_begin_alike_are_told_apart(tmp_path, earlier, monkeypatch):
    """All digests begin with the same eight bytes, so that the index leads every row to the first
    one.
    """
    whole = RowIndex.find
    monkeypatch.setattr(
        RowIndex,
        "find",
        lambda self, digests: whole(self, np.repeat(row_digests(of("a")), len(digests), axis=0)),
    )
    earlier.open(made_of("2"))
    assert [piece.rows.tolist() for piece in earlier.take(row_digests(of("b", "a", "c")))] == [[1]]
    write_part_reusing(tmp_path / "part", of("b", "a", "c"), earlier, read, lambda count: None)
    assert parquet.read_table(tmp_path / "part")["vector"].to_pylist() == [
        list(VECTORS[text]) for text in "bac"
    ]


def test_embeddings_deleted_before_they_are_opened_are_passed_over(store, earlier, monkeypatch):
    (entry,) = store.entries("embed")
    shutil.rmtree(entry.path)
    monkeypatch.setattr(store, "entries", lambda step: [entry])
    earlier.open(made_of("2"))
    assert list(earlier.take(row_digests(of("a")))) == []


def test_embeddings_deleted_after_they_were_opened_are_read_anew(store, earlier):
    earlier.open(made_of("2"))
    shutil.rmtree(store.entries("embed")[0].path)
    assert list(earlier.take(row_digests(of("a")))) == []


def test_file_deleted_from_embeddings_is_damage(store, earlier):
    earlier.open(made_of("2"))
    (store.entries("embed")[0].path / "part.parquet").unlink()
    with pytest.raises(DamagedError, match="part.parquet is missing"):
        list(earlier.take(row_digests(of("a"))))


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"config": {"reuse": True, "precision": "bf16"}},
        {"inputs": {"bank": None, "texts": {}}},
    ],
)
def test_embeddings_that_differ_in_more_than_their_texts_are_left_alone(earlier, change):
    earlier.open({**made_of("2"), **change})
    assert list(earlier.take(row_digests(of("a")))) == []


def test_rows_are_not_asked_for_before_the_store_was_read(earlier):
    with pytest.raises(ValueError, match="before `open`"):
        list(earlier.take(row_digests(of("a"))))
