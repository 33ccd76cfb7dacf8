"""Vectors of several passes joined to one."""

from __future__ import annotations

import shutil

import numpy as np
import pyarrow as pa
import pytest

from prefixbank.artifacts.embeddings import Join, read_layout, read_vectors, write_part
from prefixbank.artifacts.json_files import read_json, write_json
from prefixbank.commands.invocation import Invocation
from prefixbank.config.running import RunConfig
from prefixbank.config.schema import EmbedRecipe, EncoderConfig, PoolingConfig
from prefixbank.data.corpus.texts import Texts
from prefixbank.runtime.context import Context
from prefixbank.runtime.unit import run_unit
from prefixbank.steps.embed import step as embed
from prefixbank.steps.embed.spec import EmbeddingSpec
from prefixbank.steps.join import step as join
from prefixbank.store.store import Store
from tests.commands import call
from tests.prepared import copy_store

ROWS, FEATURES = 5, 3


def silent(event) -> None:
    """Nobody listens."""


def segment(start: int) -> dict[str, str | int]:
    return {
        "reading": "joint",
        "layer": 2,
        "position": "mean",
        "start": start,
        "size": FEATURES,
    }


@pytest.fixture
def embeddings(put):
    """Two embeddings artifacts of the same five rows, and their vectors."""
    vectors = np.random.default_rng(0).standard_normal((2, ROWS, FEATURES)).astype(np.float32)

    def files(number: int):
        def write(out) -> None:
            write_part(
                out / "test.parquet",
                pa.array([f"row-{row}" for row in range(ROWS)]),
                vectors[number],
                truncated=number + 1,
            )
            write_json(
                out / "embeddings.json",
                {
                    "parts": ["test"],
                    "rows": ROWS,
                    "truncated_share": (number + 1) / ROWS,
                    "layout": [segment(0)],
                },
            )

        return write

    return [
        put("embed", files(number), config={"number": number}, name=f"n{number}", encoder={})
        for number in range(2)
    ], vectors


def joined(store: Store, entries, rule: Join):
    return run_unit(store, join.unit(entries, rule, "joined"), silent)


def test_concat_lays_vectors_side_by_side(store, embeddings):
    entries, vectors = embeddings
    assert np.array_equal(
        read_vectors(joined(store, entries, "concat"), "test"), np.hstack([vectors[0], vectors[1]])
    )


def test_mean_is_the_mean_of_each_feature(store, embeddings):
    entries, vectors = embeddings
    wanted = [
        [(float(a) + float(b)) / 2 for a, b in zip(*rows, strict=True)]
        for rows in zip(*vectors, strict=True)
    ]
    np.testing.assert_allclose(
        read_vectors(joined(store, entries, "mean"), "test"), wanted, rtol=1e-6
    )


def test_joined_embeddings_keep_rows_and_truncation_of_the_first(store, embeddings):
    entries, _ = embeddings
    made = joined(store, entries, "concat")
    assert read_json(made, "embeddings.json") == {
        "parts": ["test"],
        "rows": ROWS,
        "truncated_share": 1 / ROWS,
        "layout": [segment(0), segment(FEATURES)],
    }


def test_mean_has_the_layout_of_each(store, embeddings):
    entries, _ = embeddings
    facts = read_json(joined(store, entries, "mean"), "embeddings.json")
    assert facts["layout"] == [segment(0)]


@pytest.fixture
def in_blocks(put, embeddings):
    """Embeddings of the same rows in two blocks: the vectors of both artifacts, side by side."""
    entries, vectors = embeddings

    def write(out) -> None:
        for index, entry in enumerate(entries):
            shutil.copyfile(entry.file("test.parquet"), out / f"block-{index}.test.parquet")
        described = {
            "vectors": {"type": "float32", "features": 2 * FEATURES},
            "blocks": [{"name": f"n{number}", "features": FEATURES} for number in range(2)],
            "layout": [segment(0), segment(FEATURES)],
        }
        facts = read_json(entries[0], "embeddings.json")
        write_json(out / "embeddings.json", {**facts, **described})

    return put("embed", write, name="blocks", encoder={}), np.hstack(list(vectors))


def test_vectors_of_blocks_are_joined_whole(store, embeddings, in_blocks):
    (first, _), vectors = embeddings
    entry, whole = in_blocks
    for order, expected in (
        ([entry, first], [whole, vectors[0]]),
        ([first, entry], [vectors[0], whole]),
    ):
        made = joined(store, order, "concat")
        assert np.array_equal(read_vectors(made, "test"), np.hstack(expected))


def test_key_follows_the_order(store, embeddings):
    entries, _ = embeddings
    assert (
        join.unit(entries, "concat", "a").document
        != join.unit(entries[::-1], "concat", "a").document
    )


@pytest.mark.parametrize(
    ("rule", "join_rule"), [("mean_vectors", "mean"), ("concat_vectors", "concat")]
)
def test_joined_passes_equal_the_bank_of_many_passes(prepared, tmp_path, rule, join_rule):
    store = Store(copy_store(prepared.store, tmp_path / "copy"))
    options = Invocation(store=store.root)
    context = options.context(RunConfig())
    texts = {"texts": Texts(texts=("a good room", "a bad bath in a noisy place"), pairs=None)}
    banks = [
        call("combine", f"prefixes=[{name}]", f"name=only-{name}", invocation=options).entry
        for name in ("alpha", "beta")
    ]
    settings = ("prefixes=[alpha,beta]", f"combine={rule}", "name=whole")
    whole = call("combine", *settings, invocation=options).entry
    apart = [embedded(context, bank, texts) for bank in banks]
    wanted = read_vectors(embedded(context, whole, texts), "texts")
    made = joined(store, apart, join_rule)
    np.testing.assert_allclose(read_vectors(made, "texts"), wanted, atol=1e-6)
    assert read_layout(made) == read_layout(embedded(context, whole, texts))


def embedded(context: Context, bank, texts):
    files = context.encoder_of_bank(bank, EncoderConfig(source="bank"))
    reading = EmbeddingSpec(bank=bank, files=files, recipe=EmbedRecipe(), pooling=PoolingConfig())
    return context.ensure(embed.unit(context, reading, texts, bank.key)).entry
