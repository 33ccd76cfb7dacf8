"""Vectors in Parquet."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

import prefixbank as pb
from prefixbank.artifacts.embeddings import finished_part, publish_part, read_vectors
from prefixbank.artifacts.json_files import write_json
from prefixbank.data.corpus.texts import Texts

VECTORS = np.arange(12, dtype=np.float32).reshape(3, 4)
ROWS = Texts(texts=("a", "b", "c"))


def test_part_has_numbers_and_vectors(tmp_path):
    publish_part(tmp_path / "part.parquet", ROWS, VECTORS, 0, 4)
    table = parquet.read_table(tmp_path / "part.parquet")
    assert (table["id"].to_pylist(), table["vector"].type) == ([0, 1, 2], pa.list_(pa.float32(), 4))
    assert table["row"].to_pylist() == [0, 1, 2]
    assert table["vector"].to_pylist() == VECTORS.tolist()


def test_part_keeps_names(tmp_path):
    publish_part(
        tmp_path / "part.parquet", Texts(texts=ROWS.texts, ids=("x", "y", "7")), VECTORS, 0, 4
    )
    assert parquet.read_table(tmp_path / "part.parquet")["id"].to_pylist() == ["x", "y", "7"]


def test_part_is_the_same_bytes_each_time(tmp_path):
    for name in ("one", "other"):
        publish_part(tmp_path / name, ROWS, VECTORS, 2, 4)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_finished_part_remembers_how_many_rows_were_cut(tmp_path):
    publish_part(tmp_path / "part.parquet", ROWS, VECTORS, 2, 4)
    assert finished_part(tmp_path / "part.parquet") == (2, 4)


def test_missing_part_is_not_finished(tmp_path):
    assert finished_part(tmp_path / "part.parquet") is None
    (tmp_path / "part.parquet").touch()  # its bytes were lost
    assert finished_part(tmp_path / "part.parquet") is None


def test_part_that_failed_has_no_name(tmp_path, monkeypatch):
    def half(table: pa.Table, file, **options: object) -> None:
        file.write(b"PAR1")
        raise OSError("disk")

    monkeypatch.setattr(parquet, "write_table", half)
    with pytest.raises(OSError, match="disk"):
        publish_part(tmp_path / "part.parquet", ROWS, VECTORS, 0, 4)
    assert finished_part(tmp_path / "part.parquet") is None


def test_vectors_are_read_as_written(put):
    def write(out) -> None:
        publish_part(out / "test.parquet", ROWS, VECTORS, 0, 4)
        write_json(out / "embeddings.json", {"vectors": {"type": "float32", "features": 4}})

    entry = put("embed", write)
    assert np.array_equal(read_vectors(entry, "test"), VECTORS)


@pytest.mark.parametrize(
    ("settings", "notes"),
    [((), 1), (("pooling.skip_first=true",), 0), (("pooling.position=cls",), 0)],
)
def test_note_says_once_where_the_first_token_is_most_of_the_mean(
    prepared, tmp_path, monkeypatch, settings, notes
):
    from prefixbank.steps.embed import rows

    monkeypatch.setattr(rows, "LARGE_FIRST_TOKEN", 0.01)
    (tmp_path / "texts.txt").write_text("one\ntwo words\n", encoding="utf-8")
    heard = []
    path = f"corpus.path={tmp_path / 'texts.txt'}"
    embedding = ("embed", "bank=none", "encoder=tiny", path, "corpus.shard_rows=1", *settings)
    pb.run(*embedding, store=tmp_path / "store", on_event=heard.append)
    said = [event for event in heard if "first token" in event.text]
    assert len(said) == notes and all(event.kind == "note" for event in said)
