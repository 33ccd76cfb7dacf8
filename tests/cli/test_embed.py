"""`prefixbank embed`: corpora of every form in, Parquet out."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as parquet
import pytest

import prefixbank
from prefixbank.artifacts.embeddings import read_calibration, read_stored, read_vectors
from prefixbank.core.quantize import calibrate, dequantize, quantize
from prefixbank.store.store import Store

TEXTS = ["the food was good", "a bad and noisy place", "warm"]
IDS = ["x1", "x2", "x3"]


def write_corpus(folder: Path, suffix: str, **columns: list[str]) -> Path:
    path, table = folder / f"corpus.{suffix}", pa.table(columns)
    match suffix:
        case "csv":
            arrow_csv.write_csv(table, path)
        case "tsv":
            path.write_text(
                "\n".join(
                    "\t".join(row) for row in [list(columns), *zip(*columns.values(), strict=True)]
                )
                + "\n",
                encoding="utf-8",
            )
        case "jsonl":
            path.write_text(
                "".join(json.dumps(row) + "\n" for row in table.to_pylist()), encoding="utf-8"
            )
        case "parquet":
            parquet.write_table(table, path)
        case _:
            path.write_text("".join(f"{text}\n" for text in columns["text"]), encoding="utf-8")
    return path


def embedded(ran) -> pa.Table:
    return parquet.read_table(Path(ran.result["path"]) / "part-00000.parquet")


def vectors_in(table: pa.Table) -> np.ndarray:
    return np.array(table["vector"].to_pylist(), dtype=np.float32)


def test_parquet_has_an_id_a_row_number_and_a_vector_of_fixed_size(cli, lines):
    schema = embedded(cli.done("embed", "bank=demo", f"corpus.path={lines}")).schema
    assert (schema.names, schema.field("vector").type) == (
        ["id", "row", "vector"],
        pa.list_(pa.float32(), 64),
    )


def test_vectors_equal_those_of_the_loaded_bank(cli, lines):
    table = embedded(cli.done("embed", "bank=demo", f"corpus.path={lines}"))
    assert np.array_equal(vectors_in(table), prefixbank.load_bank("demo").embed(TEXTS))


@pytest.mark.parametrize("suffix", ["txt", "csv", "tsv", "jsonl", "parquet"])
def test_every_form_of_corpus_gives_the_same_artifact(cli, tmp_path, lines, suffix):
    expected = cli.done("embed", "bank=demo", f"corpus.path={lines}").result["key"]
    path = write_corpus(tmp_path, suffix, text=TEXTS)
    assert cli.done("embed", "bank=demo", f"corpus.path={path}").result["key"] == expected


def test_standard_input_gives_the_same_artifact(cli, lines):
    expected = cli.done("embed", "bank=demo", f"corpus.path={lines}").result["key"]
    ran = cli.done("embed", "bank=demo", "corpus.path=-", input=lines.read_bytes())
    assert (ran.result["key"], ran.steps) == (expected, [("embed", "stdin@demo", "hit")])


def test_rows_without_ids_are_numbered(cli, lines):
    assert embedded(cli.done("embed", "bank=demo", f"corpus.path={lines}"))["id"].to_pylist() == [
        0,
        1,
        2,
    ]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_ids_are_kept_from_a_column(cli, tmp_path, suffix):
    path = write_corpus(tmp_path, suffix, name=IDS, body=TEXTS)
    ran = cli.done(
        "embed", "bank=demo", f"corpus.path={path}", "corpus.column=body", "corpus.id_column=name"
    )
    assert embedded(ran)["id"].to_pylist() == IDS


def test_pairs_are_read_jointly(cli, tmp_path):
    path = write_corpus(tmp_path, "csv", text=TEXTS, second=TEXTS[::-1])
    ran = cli.done("embed", "bank=demo", f"corpus.path={path}", "corpus.column_pair=second")
    assert np.array_equal(
        vectors_in(embedded(ran)), prefixbank.load_bank("demo").embed(TEXTS, TEXTS[::-1])
    )


@pytest.mark.parametrize(("pairs", "features"), [("joint", 64), ("separate", 256), ("both", 320)])
def test_pairs_are_read_as_asked(cli, tmp_path, pairs, features):
    path = write_corpus(tmp_path, "csv", text=TEXTS, second=TEXTS[::-1])
    ran = cli.done(
        "embed", "bank=demo", f"corpus.path={path}", "corpus.column_pair=second", f"pairs={pairs}"
    )
    assert vectors_in(embedded(ran)).shape == (3, features)


def test_single_texts_cannot_be_compared(cli, lines):
    assert (
        "pairs=separate for lines@demo"
        in cli.expect_fault(2, "embed", "bank=demo", f"corpus.path={lines}", "pairs=separate").what
    )


def parts_of(ran) -> list[pa.Table]:
    return [parquet.read_table(part) for part in sorted(Path(ran.result["path"]).glob("*.parquet"))]


def test_numbers_go_on_from_shard_to_shard(cli, lines):
    parts = parts_of(cli.done("embed", "bank=demo", f"corpus.path={lines}", "corpus.shard_rows=2"))
    assert (
        [part["id"].to_pylist() for part in parts]
        == [part["row"].to_pylist() for part in parts]
        == [[0, 1], [2]]
    )


def test_shards_hold_all_rows_in_order(cli, tmp_path):
    path = write_corpus(tmp_path, "csv", text=TEXTS, id=IDS)
    parts = parts_of(
        cli.done(
            "embed",
            "bank=demo",
            f"corpus.path={path}",
            "corpus.id_column=id",
            "corpus.shard_rows=2",
        )
    )
    assert [(part["id"].to_pylist(), part["row"].to_pylist()) for part in parts] == [
        (["x1", "x2"], [0, 1]),
        (["x3"], [2]),
    ]
    vectors = np.concatenate([vectors_in(part) for part in parts])
    np.testing.assert_allclose(vectors, prefixbank.load_bank("demo").embed(TEXTS), atol=1e-5)


@pytest.mark.parametrize("suffix", ["txt", "csv", "tsv", "jsonl", "parquet"])
def test_every_form_of_corpus_has_the_same_shards(cli, tmp_path, suffix):
    texts = [f"{text} {number}" for number in range(4) for text in TEXTS]
    expected = cli.done(
        "embed",
        "bank=demo",
        f"corpus.path={write_corpus(tmp_path, 'txt', text=texts)}",
        "corpus.shard_rows=5",
    ).result
    path = write_corpus(tmp_path, suffix, text=texts)
    assert (
        cli.done("embed", "bank=demo", f"corpus.path={path}", "corpus.shard_rows=5").result
        == expected
    )


def test_corpus_of_several_shards_counts_rows_and_truncated_ones(cli, lines):
    ran = cli.done(
        "embed", "bank=demo", f"corpus.path={lines}", "corpus.shard_rows=2", "max_length_tokens=5"
    )
    assert (ran.result["rows"], ran.result["truncated_share"]) == (3, pytest.approx(2 / 3))
    assert "note  2 shards: 0 hits, 2 to run" in ran.err


def test_second_run_over_shards_is_a_hit(cli, lines):
    first, second = (
        cli.done("embed", "bank=demo", f"corpus.path={lines}", "corpus.shard_rows=2")
        for _ in range(2)
    )
    assert (first.steps[-1][-1], second.steps[-1][-1], second.out) == ("done", "hit", first.out)


def test_corpus_that_has_grown_keeps_the_shards_before_its_old_end(cli, lines):
    before = cli.done("embed", "bank=demo", f"corpus.path={lines}", "corpus.shard_rows=1").result
    made = {entry.key for entry in Store(cli.store).entries("embed")}
    lines.write_text(lines.read_text(encoding="utf-8") + "one more\n", encoding="utf-8")
    ran = cli.done("embed", "bank=demo", f"corpus.path={lines}", "corpus.shard_rows=1")
    assert "4 shards: 3 hits, 1 to run" in ran.err
    assert len({entry.key for entry in Store(cli.store).entries("embed")} - made) == 2
    for part in sorted(Path(before["path"]).glob("*.parquet")):
        assert (Path(ran.result["path"]) / part.name).read_bytes() == part.read_bytes()


def test_shards_take_the_room_of_one_copy(cli, lines):
    path = Path(
        cli.done("embed", "bank=demo", f"corpus.path={lines}", "corpus.shard_rows=2").result["path"]
    )
    assert {part.stat().st_nlink for part in path.glob("*.parquet")} == {2}


def test_shards_are_copied_where_a_file_has_one_name(cli, lines, monkeypatch):
    def refuse(*_):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    parts = parts_of(cli.done("embed", "bank=demo", f"corpus.path={lines}", "corpus.shard_rows=2"))
    assert [len(part) for part in parts] == [2, 1]


def test_dry_run_over_shards_says_what_is_left(cli, lines):
    ran = cli.done("embed", "bank=demo", f"corpus.path={lines}", "corpus.shard_rows=2", "--dry-run")
    assert "2 shards: 0 hits, 2 to run" in ran.err and Store(cli.store).entries("embed") == []


BYTES = {"float32": 256, "float16": 128, "int8": 64, "binary": 8}


@pytest.mark.parametrize("kind", BYTES)
@pytest.mark.parametrize("shard_rows", [20, 2], ids=["one shard", "two shards"])
def test_vectors_are_stored_as_asked(cli, lines, kind, shard_rows):
    ran = cli.done(
        "embed",
        "bank=demo",
        f"corpus.path={lines}",
        f"vectors={kind}",
        f"corpus.shard_rows={shard_rows}",
        "calibration_rows=2",
    )
    entry = Store(cli.store).get(ran.result["key"])
    stems = [f"part-{number:05d}" for number in range(1 if shard_rows == 20 else 2)]
    assert sum(read_stored(entry, stem).nbytes for stem in stems) == 3 * BYTES[kind]
    exact = prefixbank.load_bank("demo").embed(TEXTS)
    sample = calibrate(exact[:2])
    expected = dequantize(quantize(exact, kind, sample, "median"), kind, sample, 64)
    found = np.concatenate([read_vectors(entry, stem) for stem in stems])
    clear = np.abs(exact - sample.median) > 1e-5 if kind == "binary" else np.full(exact.shape, True)
    level = (sample.high - sample.low) / 256 if kind == "int8" else 0.0
    assert (np.abs(found - expected) <= level + 1e-3 * np.abs(expected))[
        clear
    ].all() and clear.mean() > 0.5
    assert kind == "float32" or f" as {kind}" in ran.err


def test_calibration_is_that_of_the_first_rows(cli, lines):
    ran = cli.done(
        "embed",
        "bank=demo",
        f"corpus.path={lines}",
        "vectors=int8",
        "calibration_rows=2",
        "corpus.shard_rows=2",
    )
    found = read_calibration(Path(ran.result["path"]) / "calibration.safetensors")
    expected = prefixbank.load_bank("demo").embed(TEXTS[:2])
    np.testing.assert_allclose(found.low, expected.min(axis=0), atol=1e-5)
    np.testing.assert_allclose(found.high, expected.max(axis=0), atol=1e-5)


def test_calibration_on_more_rows_than_a_shard_has_is_refused(cli, lines):
    fault = cli.expect_fault(
        2,
        "embed",
        "bank=demo",
        f"corpus.path={lines}",
        "vectors=int8",
        "calibration_rows=3",
        "corpus.shard_rows=2",
    )
    assert fault.what == "calibration_rows=3 with shards of 2 rows"


def test_bits_may_be_split_at_zero(cli, lines):
    key = cli.done(
        "embed", "bank=demo", f"corpus.path={lines}", "vectors=binary", "binary_threshold=zero"
    ).result["key"]
    signs = np.where(prefixbank.load_bank("demo").embed(TEXTS) > 0, 1.0, -1.0)
    assert np.array_equal(read_vectors(Store(cli.store).get(key), "part-00000"), signs)


@pytest.mark.parametrize("setting", ["calibration_rows=2", "binary_threshold=zero"])
def test_settings_of_other_types_reach_no_key(cli, lines, setting):
    cli.done("embed", "bank=demo", f"corpus.path={lines}", "vectors=float16")
    assert (
        cli.done("embed", "bank=demo", f"corpus.path={lines}", "vectors=float16", setting).steps[
            -1
        ][-1]
        == "hit"
    )


def test_plain_encoder_differs_from_the_bank(cli, lines):
    plain = embedded(cli.done("embed", "bank=none", "encoder=tiny", f"corpus.path={lines}"))
    bank = embedded(cli.done("embed", "bank=demo", f"corpus.path={lines}"))
    assert np.abs(vectors_in(plain) - vectors_in(bank)).max() > 1e-3


def test_plain_encoder_pools_as_asked(cli, lines):
    mean, cls = (
        embedded(
            cli.done("embed", "bank=none", "encoder=tiny", f"pooling={way}", f"corpus.path={lines}")
        )
        for way in ("mean", "cls")
    )
    assert np.abs(vectors_in(mean) - vectors_in(cls)).max() > 1e-3


def test_truncated_rows_are_counted(cli, lines):
    ran = cli.done("embed", "bank=demo", f"corpus.path={lines}", "max_length_tokens=5")
    assert (
        ran.result["truncated_share"] == pytest.approx(2 / 3)
        and "66.7% of rows truncated" in ran.err
    )


def test_second_run_is_a_hit(cli, lines):
    first, second = (cli.done("embed", "bank=demo", f"corpus.path={lines}") for _ in range(2))
    assert (first.steps[-1][-1], second.steps, second.out) == (
        "done",
        [("embed", "lines@demo", "hit")],
        first.out,
    )


@pytest.mark.parametrize("setting", ["run.embed_tokens=64", "run.threads=1", "name=other"])
def test_key_ignores_how_to_run(cli, lines, setting):
    cli.done("embed", "bank=demo", f"corpus.path={lines}")
    assert cli.done("embed", "bank=demo", f"corpus.path={lines}", setting).steps[-1][-1] == "hit"


def test_ref_is_named_after_corpus_and_bank(cli, lines):
    key = cli.done("embed", "bank=bank/demo", f"corpus.path={lines}").result["key"]
    assert Store(cli.store).ref("embeddings", "lines@demo").key == key


def test_file_name_with_spaces_can_be_embedded(cli, lines):
    path = lines.rename(lines.with_name("my lines (1).txt"))
    cli.done("embed", "bank=demo", f"corpus.path={path}")
    assert Store(cli.store).ref("embeddings", "my-lines-1@demo") is not None


def test_dry_run_makes_nothing(cli, lines):
    ran = cli.done("embed", "bank=demo", f"corpus.path={lines}", "--dry-run")
    assert (ran.out, ran.steps, Store(cli.store).entries("embed")) == (
        "",
        [("embed", "lines@demo", "MISS")],
        [],
    )


def test_read_vectors_returns_rows_in_order(cli, lines):
    key = cli.done("embed", "bank=demo", f"corpus.path={lines}").result["key"]
    assert read_vectors(Store(cli.store).get(key), "part-00000").shape == (3, 64)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.txt", b"", "has no rows"),
        ("a.txt", b"good\n  \nbad\n", "only spaces"),
        ("a.txt", b"good\n\xff\n", "not UTF-8"),
        ("a.csv", b"text\n", "has no rows"),
        ("a.csv", b"body\ngood\n", "'text'"),
        ("a.jsonl", b'{"text": "good"}\n{"text": null}\n', "text"),
        ("a.jsonl", b"[1]\n", "not a JSON object"),
        ("a.parquet", b"PAR1", "cannot be read as Parquet"),
        ("a.docx", b"good", "ending"),
    ],
)
def test_corpus_that_cannot_be_used_is_refused(cli, tmp_path, name, data, message):
    path = tmp_path / name
    path.write_bytes(data)
    assert message in cli.expect_fault(2, "embed", "bank=demo", f"corpus.path={path}").what


def test_missing_corpus_is_refused(cli):
    assert "no file" in cli.expect_fault(2, "embed", "bank=demo", "corpus.path=nowhere.txt").what


def test_command_without_a_corpus_is_refused(cli):
    assert cli.expect_fault(2, "embed", "bank=demo").what == "corpus.path is empty"


def test_empty_standard_input_is_refused(cli):
    assert (
        cli.expect_fault(2, "embed", "bank=demo", "corpus.path=-", input="").what
        == "standard input has no rows"
    )


def test_share_of_bits_near_their_median_is_told(cli, lines):
    ran = cli.done("embed", "bank=demo", f"corpus.path={lines}", "vectors=binary")
    exact = cli.done("embed", "bank=demo", f"corpus.path={lines}")
    vectors = read_vectors(Store(cli.store).get(exact.result["key"]), "part-00000")
    near = np.abs(vectors - np.median(vectors, axis=0)) <= 1e-4 * np.sqrt(vectors.var(0).mean())
    assert ran.result["vectors"]["near_threshold"] == pytest.approx(near.mean(), abs=1e-6)
    assert near.mean() > 0  # of an odd number of texts one is the median itself
    assert f"({near.mean():.2%} of bits near the threshold)" in ran.err
