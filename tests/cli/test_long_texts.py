"""`long=...` on the command line: what becomes of texts that are too long, and what is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest

import prefixbank as pb
from prefixbank.artifacts.embeddings import read_vectors
from prefixbank.errors import UsageError
from prefixbank.store.store import Store
from tests.cli.test_predict import columns_of, gamma, predict, probe

SHORT = "max_length_tokens=5"
SHARDS = pytest.mark.parametrize("shard_rows", [10, 2], ids=["one shard", "several shards"])


def embed(cli, lines: Path, *settings: str):
    return cli.done("embed", "bank=demo", f"corpus.path={lines}", SHORT, *settings)


def vectors_of(cli, ran) -> np.ndarray:
    entry = Store(cli.store).get(ran.result["key"])
    assert entry is not None
    return np.concatenate([read_vectors(entry, one) for one in facts_of(ran)["parts"]])


def facts_of(ran) -> dict:
    path = Path(ran.result["path"]) / "embeddings.json"
    return json.loads(path.read_text(encoding="utf-8"))


@SHARDS
def test_result_and_metadata_say_how_many_rows_are_truncated(cli, lines, shard_rows):
    ran = embed(cli, lines, f"corpus.shard_rows={shard_rows}")
    assert (ran.result["truncated_rows"], ran.result["truncated_share"]) == (2, 2 / 3)
    assert "66.7% of rows truncated (2)" in ran.err
    parts = sorted(Path(ran.result["path"]).glob("*.parquet"))
    cut = [int(parquet.read_schema(part).metadata[b"truncated_rows"]) for part in parts]
    assert sum(cut) == round(facts_of(ran)["truncated_share"] * 3) == 2


@SHARDS
def test_windows_are_counted_and_nothing_is_truncated(cli, lines, shard_rows):
    ran = embed(cli, lines, "long=windows", f"corpus.shard_rows={shard_rows}")
    counts = [ran.result[name] for name in ("truncated_rows", "truncated_share", "windowed_rows")]
    assert counts == [0, 0.0, 2] and "66.7% of rows in windows (2)" in ran.err
    assert facts_of(ran)["windowed_rows"] == 2


def test_shards_have_the_windows_of_one_shard(cli, lines):
    one, several = (
        vectors_of(cli, embed(cli, lines, "long=windows", f"corpus.shard_rows={rows}"))
        for rows in (10, 2)
    )
    np.testing.assert_allclose(one, several, atol=1e-5)
    beginnings = vectors_of(cli, embed(cli, lines))
    assert np.abs(one - beginnings).max(axis=1).astype(bool).tolist() == [True, True, False]


@SHARDS
def test_long_texts_are_refused_before_any_is_encoded(cli, lines, shard_rows):
    fault = cli.expect_fault(
        2,
        "embed",
        "bank=demo",
        f"corpus.path={lines}",
        SHORT,
        "long=error",
        f"corpus.shard_rows={shard_rows}",
    )
    assert "2 rows are too long: row 1 (" in fault.what and "row 2 (" in fault.what
    assert "long=windows" in fault.fix


def test_windows_are_reused(cli, lines):
    first = embed(cli, lines, "long=windows", "reuse=true")
    lines.write_text("warm\n" + lines.read_text(encoding="utf-8"), encoding="utf-8")
    third = embed(cli, lines, "long=windows", "reuse=true")
    assert (third.result["reused_rows"], third.result["windowed_rows"]) == (4, 2)
    assert np.array_equal(vectors_of(cli, third)[1:], vectors_of(cli, first))


def test_bank_of_blocks_has_windows_in_every_block(cli, lines):
    for name, task in (("a", "alpha"), ("b", "beta")):
        cli.train(task, "prefix=readout", "prefix.readouts=1", f"name={name}")
    cli.done("combine", "prefixes=[a,b]", "name=blocks")
    settings = ("embed", "bank=blocks", f"corpus.path={lines}", SHORT)
    whole, beginnings = (cli.done(*settings, f"long={long}") for long in ("windows", "truncate"))
    assert whole.result["windowed_rows"] == 2
    differ = vectors_of(cli, whole) != vectors_of(cli, beginnings)
    assert [block.any(axis=1).tolist() for block in np.split(differ, 3, axis=1)] == [
        [True, True, False]
    ] * 3


def test_probe_says_how_many_rows_are_truncated(cli):
    ran = probe(cli, "tone", *gamma(cli), "max_length_tokens=4")
    assert (ran.result["truncated_rows"], ran.result["truncated_share"]) == (72, 1.0)
    assert "100.0% of rows truncated (72)" in ran.err


def test_predictions_read_long_texts_as_the_probe_did_unless_told_otherwise(cli, lines):
    probe(cli, "cut", *gamma(cli), SHORT)
    probe(cli, "whole", *gamma(cli), SHORT, "long=windows")
    cut, whole = (predict(cli, head, f"corpus.path={lines}") for head in ("cut", "whole"))
    assert (cut.result["truncated_rows"], whole.result["windowed_rows"]) == (2, 2)
    told = predict(cli, "cut", f"corpus.path={lines}", "long=windows")
    assert (told.result["truncated_rows"], told.result["windowed_rows"]) == (0, 2)
    probabilities = [columns_of(ran)["cut.probability"] for ran in (cut, told)]
    assert [one == other for one, other in zip(*probabilities, strict=True)] == [
        False,
        False,
        True,
    ]


def test_heads_that_read_long_texts_differently_are_refused(cli, lines):
    probe(cli, "cut", *gamma(cli), SHORT)
    probe(cli, "whole", *gamma(cli), SHORT, "long=windows")
    fault = cli.expect_fault(2, "predict", "bank=demo", "heads=[cut,whole]", f"corpus.path={lines}")
    assert "long=windows" in fault.what and "long=truncate" in fault.what


def test_pairs_in_windows_are_refused_before_any_work(cli, tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("text,other\na b,c\nd,e\n", encoding="utf-8")
    settings = (f"corpus.path={path}", "corpus.column_pair=other", "corpus.shard_rows=1")
    fault = cli.expect_fault(2, "embed", "bank=demo", *settings, "long=windows", "--dry-run")
    assert fault.fix.startswith("pairs=separate")
    ran = cli.done("embed", "bank=demo", *settings, "long=windows", "pairs=separate")
    assert ran.result["rows"] == 2


def test_source_beside_a_probe_on_windows_is_refused(cli, tmp_path):
    cli.train("alpha", "prefix=readout", "prefix.readouts=1", "name=a")
    cli.done("combine", "prefixes=[a]", "name=blocks")
    windows = ("long=windows", "max_length_tokens=6")
    probe(cli, "wide", *gamma(cli), *windows, bank="blocks")
    path = tmp_path / "new.txt"
    path.write_text("a bad and noisy place, and a warm one\n", encoding="utf-8")
    settings = ("bank=blocks", "heads=[a,wide]", f"corpus.path={path}")
    fault = cli.expect_fault(2, "predict", *settings)
    assert fault.what.startswith("head a reads the beginning of long texts, and wide")
    with pytest.raises(UsageError, match="head a reads the beginning"):
        pb.load_bank("blocks").predict(["a text"], heads=["a", "wide"])
    cli.done("predict", *settings, "long=windows")
    pb.load_bank("blocks").predict(["a text"], heads=["a", "wide"], long="windows")
