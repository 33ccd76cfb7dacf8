"""`prefixbank embed ... reuse=true`: texts that were embedded before are not read again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

import prefixbank as pb
from prefixbank.artifacts.embeddings import read_vectors
from prefixbank.config.schema import EmbedRecipe, EncoderConfig, PoolingConfig
from prefixbank.data.encoders.files import EncoderFiles
from prefixbank.runtime.context import Context
from prefixbank.steps.embed import corpus as embed_corpus
from prefixbank.steps.embed import make as embed_parts
from prefixbank.steps.embed import rows as vectors
from prefixbank.steps.embed import spec as spec_module
from prefixbank.steps.embed.reuse import VectorReuse
from prefixbank.steps.embed.spec import VERSION, EmbeddingSpec
from prefixbank.store.key import key_of
from prefixbank.store.store import Store
from tests.cli.command import Ran

TEXTS = [
    f"{text} {number}"
    for number in range(3)
    for text in ("the food was good", "a bad and noisy place", "warm")
]
NEW = ["quiet", "a place with a cold bath and a good bed"]
CHANGES = {
    "grown": ([*TEXTS, *NEW], 2),
    "inserted": ([*TEXTS[:4], *NEW, *TEXTS[4:]], 2),
    "deleted": (TEXTS[1:], 0),
    "reversed": (TEXTS[::-1], 0),
    "repeated": ([NEW[0], *TEXTS, *TEXTS, NEW[0]], 1),
}
CHANGED = pytest.mark.parametrize(("texts", "new"), CHANGES.values(), ids=CHANGES)
SHARDS = pytest.mark.parametrize("shard_rows", [100, 4], ids=["one shard", "several shards"])


@pytest.fixture
def reads(monkeypatch) -> list[int]:
    """Numbers of the texts that the encoder was given, call by call."""
    counts: list[int] = []
    whole = vectors.embed_batches

    def counted(*given, count: int, **named):
        counts.append(count)
        return whole(*given, count=count, **named)

    monkeypatch.setattr(vectors, "embed_batches", counted)
    return counts


@pytest.fixture
def embed_texts(cli, tmp_path) -> Callable[..., Ran]:
    """Writes texts to a corpus, always of the same name, and embeds them."""

    def run(
        texts: list[str], *settings: str, reuse: bool = True, call=cli.done, **columns: list[str]
    ) -> Ran:
        path = tmp_path / "corpus.parquet"
        parquet.write_table(pa.table({"text": texts, **columns}), path)
        return call(
            "embed",
            "bank=demo",
            f"corpus.path={path}",
            *settings,
            *(["reuse=true"] if reuse else []),
        )

    return run


def entry_of(cli, ran: Ran):
    return Store(cli.store).get(ran.result["key"])


def vectors_of(cli, ran: Ran) -> np.ndarray:
    entry = entry_of(cli, ran)
    return np.concatenate(
        [read_vectors(entry, path.stem) for path in sorted(entry.path.glob("*.parquet"))]
    )


def column_of(ran: Ran, name: str) -> list[object]:
    return [
        value
        for path in sorted(Path(ran.result["path"]).glob("*.parquet"))
        for value in parquet.read_table(path)[name].to_pylist()
    ]


@SHARDS
@CHANGED
@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_vectors_are_those_of_their_texts(cli, embed_texts, texts, new, shard_rows, kind):
    embed_texts(TEXTS, f"corpus.shard_rows={shard_rows}", f"vectors={kind}")
    found = vectors_of(
        cli, embed_texts(texts, f"corpus.shard_rows={shard_rows}", f"vectors={kind}")
    )
    rounding = 1e-3 if kind == "float16" else 0.0
    np.testing.assert_allclose(found, pb.load_bank("demo").embed(texts), atol=1e-5, rtol=rounding)


@SHARDS
@CHANGED
def test_only_texts_that_are_new_are_read_each_once(
    cli, embed_texts, reads, texts, new, shard_rows
):
    embed_texts(TEXTS, f"corpus.shard_rows={shard_rows}")
    assert sum(reads) == len(TEXTS)
    reads.clear()
    ran = embed_texts(texts, f"corpus.shard_rows={shard_rows}")
    assert (sum(reads), ran.result["reused_rows"]) == (new, len(texts) - new)
    assert f"{len(texts)} rows, {len(texts) - new} reused" in ran.err


@SHARDS
def test_first_run_gives_the_bytes_of_a_run_without_reuse(cli, embed_texts, shard_rows):
    settings = (f"corpus.shard_rows={shard_rows}",)
    first, without = embed_texts(TEXTS, *settings), embed_texts(TEXTS, *settings, reuse=False)
    assert (
        np.array_equal(vectors_of(cli, first), vectors_of(cli, without))
        and first.result["reused_rows"] == 0
    )
    assert "reused_rows" not in without.result and "reused" not in without.err


def test_encoder_is_not_even_loaded_where_nothing_is_new(embed_texts, monkeypatch):
    embed_texts(TEXTS)
    monkeypatch.setattr(Context, "load", None)
    assert embed_texts(TEXTS[::-1]).result["reused_rows"] == len(TEXTS)


def test_names_and_numbers_are_those_of_the_new_corpus(embed_texts):
    names = [f"n{number}" for number in range(len(TEXTS))]
    embed_texts(TEXTS, "corpus.id_column=id", id=names)
    ran = embed_texts(
        TEXTS[::-1], "corpus.id_column=id", "corpus.shard_rows=4", id=[f"{name}x" for name in names]
    )
    assert column_of(ran, "id") == [f"{name}x" for name in names] and column_of(ran, "row") == list(
        range(len(TEXTS))
    )


@pytest.mark.parametrize("pairs", ["joint", "separate", "both"])
def test_pairs_are_taken_over_as_wholes(cli, embed_texts, reads, pairs):
    settings, second = ("corpus.column_pair=second", f"pairs={pairs}"), TEXTS[::-1]
    embed_texts(TEXTS, *settings, second=second)
    reads.clear()
    first, others = [*TEXTS[::-1], NEW[0], TEXTS[0]], [*second[::-1], NEW[1], NEW[0]]
    ran = embed_texts(first, *settings, second=others)
    assert (sum(reads), ran.result["reused_rows"]) == (
        {"joint": 2, "separate": 3, "both": 5}[pairs],
        len(TEXTS),
    )
    expected = pb.load_bank("demo", recipe=EmbedRecipe(pairs=pairs)).embed(first, others)
    np.testing.assert_allclose(vectors_of(cli, ran), expected, atol=1e-5)


def test_single_text_is_no_pair(embed_texts, reads):
    embed_texts(TEXTS)
    assert embed_texts(TEXTS, "corpus.column_pair=second", second=TEXTS).result["reused_rows"] == 0


@SHARDS
@CHANGED
def test_truncated_rows_are_counted_as_without_reuse(embed_texts, texts, new, shard_rows):
    settings = ("max_length_tokens=6", f"corpus.shard_rows={shard_rows}")
    embed_texts(TEXTS, *settings)
    share = embed_texts(texts, *settings).result["truncated_share"]
    assert 0 < share < 1 and share == pytest.approx(
        embed_texts(texts, *settings, reuse=False).result["truncated_share"]
    )


def test_texts_of_an_earlier_shard_of_the_same_corpus_are_taken_over(embed_texts, reads):
    ran = embed_texts([*TEXTS[:4], *TEXTS[:4], *TEXTS[4:8]], "corpus.shard_rows=4")
    assert (reads, ran.result["reused_rows"]) == ([4, 4], 4)


@pytest.mark.parametrize(
    "other", [("precision=bf16",), ("max_length_tokens=6",), ("vectors=float16",), ("bank=other",)]
)
def test_what_was_made_otherwise_is_not_taken_over(cli, embed_texts, reads, other):
    cli.done("combine", "prefixes=[alpha]", "name=other")
    embed_texts(TEXTS)
    reads.clear()
    assert (
        embed_texts(TEXTS[1:], *other).result["reused_rows"] == 0 and sum(reads) == len(TEXTS) - 1
    )


def test_what_was_made_without_reuse_is_not_taken_over(embed_texts):
    embed_texts(TEXTS, reuse=False)
    assert embed_texts(TEXTS[1:]).result["reused_rows"] == 0


def test_what_another_version_made_is_not_taken_over(embed_texts, monkeypatch):
    embed_texts(TEXTS)
    monkeypatch.setattr(spec_module, "VERSION", VERSION + 1)
    assert embed_texts(TEXTS[1:]).result["reused_rows"] == 0


@pytest.mark.parametrize("kind", ["int8", "binary"])
def test_vectors_of_a_calibration_are_refused(embed_texts, cli, kind):
    fault = embed_texts(TEXTS, f"vectors={kind}", call=lambda *given: cli.expect_fault(2, *given))
    assert f"reuse=true with vectors={kind}" in fault.what and "vectors=float16" in fault.fix


@pytest.mark.parametrize("command", ["predict", "run", "search"])
def test_other_commands_have_no_such_setting(cli, command):
    assert "unknown setting 'reuse'" in cli.expect_refusal(2, command, "reuse=true")[0].what


GOLDEN = {"": "51a889c3d789d4f5040b91e67b46ca09", "int8": "5601d4e7e870a01a9e7106f144eb8707"}
"""Keys of version 3 from before there was this setting."""


@pytest.mark.parametrize("kind", GOLDEN)
def test_keys_without_reuse_are_those_of_old(kind, monkeypatch):
    monkeypatch.setattr(spec_module, "VERSION", 3)
    files = EncoderFiles(folder=Path(), digest="e" * 64, label="tiny", origin=EncoderConfig())
    recipe = EmbedRecipe(vectors=kind) if kind else EmbedRecipe()
    spec = EmbeddingSpec(bank=None, files=files, recipe=recipe, pooling=PoolingConfig())
    document = spec.document({"part-00000": "a" * 64})
    assert document["config"]["pooling"].pop("norm") == "none"  # came later
    assert key_of(document) == GOLDEN[kind]


def test_key_says_that_vectors_were_taken_over(cli, embed_texts):
    without, with_reuse = embed_texts(TEXTS, reuse=False), embed_texts(TEXTS)
    assert cli.done(
        "cache", "why", with_reuse.result["key"], without.result["key"]
    ).out.splitlines()[1:] == ["  reuse added true"]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@SHARDS
def test_damaged_vectors_are_not_passed_over(cli, embed_texts, shard_rows):
    folder = Path(embed_texts(TEXTS).result["path"])
    flip(folder / "part-00000.parquet")
    fault = embed_texts(
        TEXTS[1:],
        f"corpus.shard_rows={shard_rows}",
        call=lambda *given: cli.expect_fault(3, *given),
    )
    assert "part-00000.parquet was altered" in fault.what and str(folder) in fault.what


def test_embeddings_that_cannot_be_read_are_not_passed_over(cli, embed_texts):
    folder = Path(embed_texts(TEXTS).result["path"])
    (folder / "entry.json").write_text("{", encoding="utf-8")
    assert (
        str(folder) in embed_texts(TEXTS[1:], call=lambda *given: cli.expect_fault(3, *given)).what
    )


def test_damage_of_what_was_made_otherwise_does_not_matter(embed_texts):
    flip(Path(embed_texts(TEXTS, reuse=False).result["path"]) / "part-00000.parquet")
    assert embed_texts(TEXTS[1:]).steps[-1][-1] == "done"


@SHARDS
def test_force_reads_all_texts(embed_texts, reads, shard_rows):
    flip(Path(embed_texts(TEXTS[1:]).result["path"]) / "part-00000.parquet")
    embed_texts(TEXTS, f"corpus.shard_rows={shard_rows}", "--force")
    assert sum(reads) == len(TEXTS) - 1 + len(TEXTS)


def test_killed_run_goes_on_at_the_shard_it_was_in(embed_texts, reads, monkeypatch):
    embed_texts(TEXTS[:2])
    whole = embed_corpus.link

    def once(source: Path, target: Path) -> None:
        if target.stem == "part-00001":
            raise KeyboardInterrupt
        whole(source, target)

    monkeypatch.setattr(embed_corpus, "link", once)
    with pytest.raises(KeyboardInterrupt):
        embed_texts(TEXTS, "corpus.shard_rows=4", call=prefixbank_embed)
    monkeypatch.setattr(embed_corpus, "link", whole)
    ran = embed_texts(TEXTS, "corpus.shard_rows=4")
    assert "3 shards: 2 hits, 1 to run" in ran.err and (reads, ran.result["reused_rows"]) == (
        [2, 2, 4, 1],
        8,
    )


def test_part_that_a_killed_run_finished_is_kept(embed_texts, reads, monkeypatch):
    embed_texts(TEXTS[:2])
    whole = embed_parts.write_json
    monkeypatch.setattr(embed_parts, "write_json", interrupted)
    with pytest.raises(KeyboardInterrupt):
        embed_texts(TEXTS, call=prefixbank_embed)
    monkeypatch.setattr(embed_parts, "write_json", whole)
    assert (embed_texts(TEXTS).result["reused_rows"], reads) == (len(TEXTS), [2, len(TEXTS) - 2])


def prefixbank_embed(command: str, *settings: str):
    return pb.run(command, *settings)


def interrupted(*given: object) -> None:
    raise KeyboardInterrupt


def test_later_embeddings_outlive_those_they_took_from(cli, embed_texts):
    embed_texts(TEXTS)
    ran = embed_texts(TEXTS[::-1])
    cli.done("cache", "gc", "--yes", "--grace-days", "0")
    assert len(Store(cli.store).entries("embed")) == 1
    np.testing.assert_allclose(
        vectors_of(cli, ran), pb.load_bank("demo").embed(TEXTS[::-1]), atol=1e-5
    )


def test_search_reads_past_the_further_columns(cli, embed_texts):
    embed_texts(TEXTS[1:])
    embed_texts(TEXTS)
    ran = cli.done(
        "search",
        "embeddings=corpus@demo",
        "k=1",
        "--format",
        "json",
        input="\n".join(TEXTS).encode(),
    )
    assert [row["row"] for row in ran.result] == list(range(len(TEXTS)))


def test_hit_does_not_look_for_earlier_rows(embed_texts, monkeypatch):
    embed_texts(TEXTS)
    monkeypatch.setattr(VectorReuse, "open", None)
    assert embed_texts(TEXTS).steps[-1][-1] == "hit"
