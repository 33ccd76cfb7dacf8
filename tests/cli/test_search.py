"""`prefixbank search`: neighbours in embeddings."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

import prefixbank.core
from prefixbank.errors import UsageError

TEXTS = ["the food was good", "a bad and noisy place", "warm"]


@pytest.fixture
def embedded(cli, lines):
    """Embeds the three lines and returns the corpus."""

    def embed(*settings: str):
        cli.done("embed", "bank=demo", f"corpus.path={lines}", *settings)
        return lines

    return embed


def rows_of(ran) -> list[dict[str, object]]:
    found = json.loads(ran.out)
    return found if isinstance(found, list) else [found]


@pytest.mark.parametrize("kind", ["float32", "float16", "int8", "binary"])
@pytest.mark.parametrize("shard_rows", [20, 2], ids=["one shard", "two shards"])
def test_text_itself_is_its_nearest_neighbour(cli, embedded, kind, shard_rows):
    embedded(
        f"vectors={kind}",
        f"corpus.shard_rows={shard_rows}",
        "calibration_rows=2",
        "binary_threshold=zero",
    )
    ran = cli.done("search", "embeddings=lines@demo", "k=1", input="\n".join(TEXTS).encode())
    assert [(row["query"], row["rank"], row["row"]) for row in rows_of(ran)] == [
        (text, 1, row) for row, text in enumerate(TEXTS)
    ]


def test_scores_are_cosines_of_vectors(cli, embedded):
    embedded()
    vectors = prefixbank.load_bank("demo").embed([*TEXTS, "good food"])
    length = np.linalg.norm(vectors, axis=1)
    cosines = vectors[:3] @ vectors[3] / (length[:3] * length[3])
    rows = rows_of(cli.done("search", "embeddings=lines@demo", input=b"good food\n"))
    assert [row["row"] for row in rows] == np.argsort(-cosines).tolist()
    np.testing.assert_allclose([row["score"] for row in rows], np.sort(cosines)[::-1], atol=1e-5)


def test_queries_may_come_from_a_file_and_texts_from_the_corpus(cli, embedded, tmp_path):
    corpus = embedded("corpus.shard_rows=2")
    (tmp_path / "queries.txt").write_text("warm\n", encoding="utf-8")
    ran = cli.done(
        "search",
        "embeddings=lines@demo",
        f"queries.path={tmp_path / 'queries.txt'}",
        f"corpus.path={corpus}",
        "k=3",
    )
    assert [row["text"] for row in rows_of(ran)][0] == "warm" and {
        row["text"] for row in rows_of(ran)
    } == set(TEXTS)


def test_query_may_be_a_word_of_the_command(cli, embedded):
    embedded()
    ran = cli.done("search", "the food was good", "embeddings=lines@demo", "warm", "k=1")
    assert [(row["query"], row["row"]) for row in rows_of(ran)] == [(TEXTS[0], 0), ("warm", 2)]


@pytest.mark.parametrize("shard_rows", [20, 2], ids=["one shard", "two shards"])
def test_texts_come_from_the_file_that_was_embedded(cli, embedded, shard_rows):
    embedded(f"corpus.shard_rows={shard_rows}")
    ran = cli.done("search", "warm", "embeddings=lines@demo", "k=3")
    assert {row["row"]: row["text"] for row in rows_of(ran)} == dict(enumerate(TEXTS))
    assert ran.err == ""


@pytest.mark.parametrize("shard_rows", [1, 2, 50])
def test_texts_behind_rows_that_were_left_out_keep_their_numbers(cli, tmp_path, shard_rows):
    kept = {1: "warm", 4: "cold", 5: "bad and noisy"}
    lines = [kept.get(number, "") for number in range(6)]
    file = tmp_path / "gaps.txt"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    settings = ("corpus.empty=drop", f"corpus.shard_rows={shard_rows}")
    cli.done("embed", "bank=demo", f"corpus.path={file}", *settings)
    found = rows_of(cli.done("search", "warm", "embeddings=gaps@demo", "k=3"))
    assert {row["row"]: row["text"] for row in found} == kept


def test_texts_embedded_with_a_bank_of_blocks_are_known(cli, lines):
    cli.train("alpha", "prefix=readout", "prefix.readouts=2", "name=read")
    cli.done("combine", "prefixes=[read]", "name=blocks")
    cli.done("embed", "bank=blocks", f"corpus.path={lines}")
    (first,) = rows_of(cli.done("search", "warm", "embeddings=lines@blocks", "k=1"))
    assert first["text"] == "warm"


def test_corpus_that_is_gone_or_changed_is_told_and_hits_are_shown_without_texts(cli, embedded):
    file = embedded()
    file.write_text("the food was good\na bad and noisy place\ncold\n", encoding="utf-8")
    changed = cli.done("search", "warm", "embeddings=lines@demo", "k=1")
    file.unlink()
    gone = cli.done("search", "warm", "embeddings=lines@demo", "k=1")
    for ran, why in ((changed, "is not the corpus of these embeddings"), (gone, "no file ")):
        assert set(rows_of(ran)[0]) == {"query", "rank", "id", "row", "score"}
        assert "texts are not shown" in ran.err and why in ran.err and str(file) in ran.err


def test_corpus_of_standard_input_is_not_known(cli):
    cli.done("embed", "bank=demo", "corpus.path=-", input="\n".join(TEXTS).encode())
    ran = cli.done("search", "warm", "embeddings=stdin@demo", "k=1")
    assert "text" not in rows_of(ran)[0] and "their file is not known" in ran.err


def test_texts_beside_a_file_of_queries_are_refused(cli, embedded):
    file = embedded()
    fault = cli.expect_fault(2, "search", "warm", "embeddings=lines@demo", f"queries.path={file}")
    assert fault.what.startswith("queries.path=") and "'warm'" in fault.what


def test_python_finds_what_the_command_line_finds(cli, embedded):
    embedded()
    (hits,) = prefixbank.search(["good food"], "lines@demo", k=2)
    rows = rows_of(cli.done("search", "good food", "embeddings=lines@demo", "k=2"))
    assert [vars(hit) for hit in hits] == rows


@pytest.mark.parametrize("texts", ["warm", []])
def test_python_needs_a_list_of_texts(cli, embedded, texts):
    embedded()
    with pytest.raises(UsageError, match="no list of texts"):
        prefixbank.search(texts, "lines@demo")


def test_plain_encoder_and_multitask_encoder_can_be_searched(cli, lines):
    cli.done("embed", "bank=none", "encoder=tiny", "pooling=cls", f"corpus.path={lines}")
    assert (
        rows_of(cli.done("search", "embeddings=lines@plain", "k=1", input=b"warm\n"))[0]["row"] == 2
    )


def test_other_corpus_is_refused(cli, embedded, tmp_path):
    embedded()
    (tmp_path / "other.txt").write_text("warm\n", encoding="utf-8")
    fault = cli.expect_fault(
        2,
        "search",
        "embeddings=lines@demo",
        f"corpus.path={tmp_path / 'other.txt'}",
        input=b"warm\n",
    )
    assert "is not the corpus of these embeddings" in fault.what


def test_search_without_embeddings_is_refused(cli):
    assert cli.expect_fault(2, "search", input=b"warm\n").what == "no embeddings given"


def test_pairs_are_no_queries(cli, embedded, tmp_path):
    embedded()
    (tmp_path / "pairs.csv").write_text("text,other\nwarm,cold\n", encoding="utf-8")
    settings = (f"queries.path={tmp_path / 'pairs.csv'}", "queries.column_pair=other")
    assert (
        cli.expect_fault(2, "search", "embeddings=lines@demo", *settings).what
        == "queries.column_pair=other"
    )


def test_prefix_is_no_embeddings(cli):
    key = cli.done("cache", "show", "prefix/alpha").result["key"]
    assert (
        "not embeddings" in cli.expect_fault(2, "search", f"embeddings={key}", input=b"warm\n").what
    )


def test_comparisons_of_pairs_are_not_searched(cli, tmp_path):
    (tmp_path / "pairs.csv").write_text("text,other\nwarm,cold\n", encoding="utf-8")
    cli.done(
        "embed",
        "bank=demo",
        f"corpus.path={tmp_path / 'pairs.csv'}",
        "corpus.column_pair=other",
        "pairs=separate",
    )
    assert (
        "comparisons of pairs"
        in cli.expect_fault(2, "search", "embeddings=pairs@demo", input=b"warm\n").what
    )


def test_search_without_faiss_says_what_to_install(cli, embedded, monkeypatch):
    embedded()
    monkeypatch.delitem(sys.modules, "prefixbank.core.search", raising=False)
    monkeypatch.delattr(prefixbank.core, "search", raising=False)
    monkeypatch.setitem(sys.modules, "faiss", None)
    assert (
        cli.expect_fault(2, "search", "embeddings=lines@demo", input=b"warm\n").fix
        == "pip install 'prefixbank[search]'"
    )
