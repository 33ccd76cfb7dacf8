"""`prefixbank search`: neighbours in embeddings."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

import prefixbank.core

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
