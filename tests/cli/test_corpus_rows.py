"""What is wrong with rows of a corpus: `corpus.empty=...`, and ids that come again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

import prefixbank
from prefixbank.store.store import Store
from tests.cli.test_predict import columns_of, gamma, predict, probe

TEXTS = ("the food was good", "", "a bad and noisy place", " ", "warm")
SHARDS = pytest.mark.parametrize("shard_rows", [10, 2, 1])


@pytest.fixture
def gaps(tmp_path: Path) -> Path:
    path = tmp_path / "gaps.txt"
    path.write_text("".join(f"{text}\n" for text in TEXTS), encoding="utf-8")
    return path


def embed(cli, path: Path, *settings: str, bank: str = "demo"):
    return cli.done("embed", f"bank={bank}", f"corpus.path={path}", *settings)


def rows_of(ran) -> pa.Table:
    parts = sorted(Path(ran.result["path"]).glob("*.parquet"))
    return pa.concat_tables([parquet.read_table(part) for part in parts])


def vectors_of(ran) -> np.ndarray:
    return np.array(rows_of(ran)["vector"].to_pylist())


def test_empty_texts_are_refused_unless_told_otherwise(cli, gaps):
    fault = cli.expect_fault(2, "embed", "bank=demo", f"corpus.path={gaps}")
    assert "2 rows empty or only spaces: row 2 '', row 4 ' '" in fault.what
    assert "corpus.empty=drop" in fault.fix


@SHARDS
def test_dropped_rows_are_counted_and_the_others_keep_their_numbers(cli, gaps, shard_rows):
    ran = embed(cli, gaps, "corpus.empty=drop", f"corpus.shard_rows={shard_rows}")
    assert "note  2 rows without text left out of 5" in ran.err
    assert (ran.result["rows"], rows_of(ran)["row"].to_pylist()) == (3, [0, 2, 4])
    np.testing.assert_allclose(
        vectors_of(ran), prefixbank.load_bank("demo").embed(TEXTS[::2]), atol=1e-5
    )
    entry = Store(cli.store).get(ran.result["key"])
    assert entry is not None and entry.info["notes"] == ["2 rows without text left out of 5"]


@SHARDS
def test_rows_without_text_have_zero_vectors(cli, gaps, shard_rows):
    ran = embed(cli, gaps, "corpus.empty=zero", f"corpus.shard_rows={shard_rows}")
    assert "note  2 of 5 rows without text get zero vectors" in ran.err
    assert (ran.result["rows"], ran.result["empty_rows"]) == (5, 2)
    assert "40.0% of rows without text (2)" in ran.err
    vectors = vectors_of(ran)
    assert not vectors[1::2].any()
    np.testing.assert_allclose(
        vectors[::2], prefixbank.load_bank("demo").embed(TEXTS[::2]), atol=1e-5
    )


@pytest.mark.parametrize("pairs", ["joint", "separate", "both"])
def test_pair_with_an_empty_text_has_a_zero_vector(cli, tmp_path, pairs):
    path = tmp_path / "pairs.csv"
    path.write_text("text,other\nwarm,\ngood food,a bad place\n,cold\n", encoding="utf-8")
    ran = embed(cli, path, "corpus.column_pair=other", "corpus.empty=zero", f"pairs={pairs}")
    assert vectors_of(ran).any(axis=1).tolist() == [False, True, False]


def test_zero_vectors_are_reused(cli, gaps):
    settings = ("corpus.empty=zero", "reuse=true")
    first = embed(cli, gaps, *settings)
    gaps.write_text("\n" + gaps.read_text(encoding="utf-8"), encoding="utf-8")
    second = embed(cli, gaps, *settings)
    assert (second.result["reused_rows"], second.result["empty_rows"]) == (6, 3)
    assert np.array_equal(vectors_of(second)[1:], vectors_of(first))


def test_blocks_have_zero_vectors_too(cli, gaps):
    cli.train("alpha", "prefix=readout", "prefix.readouts=1", "name=a")
    cli.done("combine", "prefixes=[a]", "name=blocks")
    ran = embed(cli, gaps, "corpus.empty=zero", bank="blocks")
    assert ran.result["empty_rows"] == 2
    for block in ("block-0", "block-1"):
        table = parquet.read_table(Path(ran.result["path"]) / f"{block}.part-00000.parquet")
        vectors = np.array(table["vector"].to_pylist())
        assert vectors.any(axis=1).tolist() == [True, False] * 2 + [True]


@pytest.mark.parametrize("setting", ["vectors=int8", "vectors=binary", "transform=pca"])
def test_zero_vectors_are_refused_where_they_cannot_be_stored(cli, gaps, setting):
    settings = (f"corpus.path={gaps}", "corpus.empty=zero", setting)
    fault = cli.expect_fault(2, "embed", "bank=demo", *settings)
    assert setting in fault.what and fault.fix.startswith("corpus.empty=drop")


def test_predictions_leave_dropped_rows_out(cli, gaps):
    probe(cli, "tone", *gamma(cli))
    ran = predict(cli, "tone", f"corpus.path={gaps}", "corpus.empty=drop")
    found = columns_of(ran)
    assert (found["row"], found["id"]) == ([0, 2, 4], [0, 2, 4])
    assert "2 rows without text left out of 5" in ran.err


def test_nothing_is_predicted_for_rows_that_are_left_out(cli, gaps):
    probe(cli, "tone", *gamma(cli))
    found = columns_of(predict(cli, "tone", f"corpus.path={gaps}", "corpus.empty=drop"))
    assert found["row"] == [0, 2, 4] and set(found["tone"]) <= {"no", "yes"}


def test_search_finds_rows_by_their_numbers_in_the_file(cli, gaps):
    embed(cli, gaps, "corpus.empty=drop", "name=gaps")
    corpus = (f"corpus.path={gaps}", "corpus.empty=drop")
    ran = cli.done("search", "embeddings=gaps", *corpus, "k=1", input=b"warm\n")
    (row,) = json.loads(ran.out)
    assert (row["row"], row["text"]) == (4, "warm")
    fault = cli.expect_fault(2, "search", "embeddings=gaps", "queries.empty=zero")
    assert fault.fix == "queries.empty=drop"


def test_ids_that_come_again_are_said(cli, tmp_path):
    path = tmp_path / "ids.csv"
    path.write_text("key,text\na,warm\na,cold\n", encoding="utf-8")
    ran = embed(cli, path, "corpus.id_column=key")
    assert "note  1 of 2 rows have the id of an earlier row" in ran.err
