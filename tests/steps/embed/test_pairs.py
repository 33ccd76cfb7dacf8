"""Pairs of texts: read jointly, apart, or both."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from prefixbank.api import load_bank
from prefixbank.artifacts.bank import plain_bank
from prefixbank.artifacts.embeddings import (
    finished_part,
    publish_part,
    read_layout,
    read_vectors,
)
from prefixbank.artifacts.json_files import read_json
from prefixbank.commands.invocation import Invocation
from prefixbank.config.running import RunConfig
from prefixbank.config.schema import EmbedRecipe, EncoderConfig, PoolingConfig
from prefixbank.core.combine import Bank
from prefixbank.core.embed import embed_batches
from prefixbank.core.pairs import pair_features
from prefixbank.data.corpus.texts import Texts
from prefixbank.errors import EncoderError, UsageError
from prefixbank.runtime.context import Context
from prefixbank.runtime.session import Session
from prefixbank.steps.embed import make as embed_parts
from prefixbank.steps.embed import rows as vectors
from prefixbank.steps.embed import step as embed
from prefixbank.steps.embed.rows import embed_rows
from prefixbank.steps.embed.spec import EmbeddingSpec
from prefixbank.store.store import Store
from tests.prepared import copy_store

FIRST = ("the food was good", "a bad and noisy place", "warm", "the food was good")
SECOND = ("a bad and noisy place", "warm", "the staff was rude and the bath was cold", "warm")
PAIRS = Texts(texts=FIRST, pairs=SECOND)


@pytest.fixture
def context(prepared, tmp_path) -> Context:
    return Invocation(store=copy_store(prepared.store, tmp_path / "copy")).context(RunConfig())


@pytest.fixture
def files(context):
    return context.encoder_files(EncoderConfig(name="tiny", source="tiny"))


@pytest.fixture
def read(context, files):
    """Return what embeds with the plain tiny encoder: vectors and which rows were truncated."""

    def run(rows: Texts, *, pooling: PoolingConfig | None = None, on_rows=None, **recipe):
        (only,), cut = embed_rows(
            context,
            plain_bank(pooling or PoolingConfig()),
            files,
            rows,
            EmbedRecipe(**recipe),
            on_rows,
        )
        return only, cut

    return run


def test_separate_vectors_are_the_features_of_each_text_alone(read):
    u, v = (read(Texts(texts=texts))[0] for texts in (FIRST, SECOND))
    np.testing.assert_allclose(read(PAIRS, pairs="separate")[0], pair_features(u, v), atol=1e-5)


def test_both_puts_the_joint_vector_first(read):
    both, joint, apart = (read(PAIRS, pairs=pairs)[0] for pairs in ("both", "joint", "separate"))
    np.testing.assert_allclose(both, np.hstack([joint, apart]), atol=1e-5)


def test_vectors_stay_single_precision(read):
    assert {read(PAIRS, pairs=pairs)[0].dtype for pairs in ("joint", "separate", "both")} == {
        np.dtype(np.float32)
    }


@pytest.mark.parametrize(("pairs", "texts"), [("joint", 4), ("separate", 4), ("both", 8)])
def test_a_text_that_comes_again_is_read_once(read, monkeypatch, pairs, texts):
    counts: list[int] = []
    embed_batches = vectors.embed_batches

    def counted(model, batches, bank: Bank, *, count: int, **named):
        counts.append(count)
        return embed_batches(model, batches, bank, count=count, **named)

    monkeypatch.setattr(vectors, "embed_batches", counted)
    read(PAIRS, pairs=pairs)
    assert sum(counts) == texts


@pytest.mark.parametrize("limit", [6, 9, 14, 40])
def test_row_with_any_truncated_text_counts_as_truncated(read, context, files, limit):
    tokenizer = context.load(files).tokenizer
    alone = [
        any(len(tokenizer(text)["input_ids"]) > limit for text in pair)
        for pair in zip(FIRST, SECOND, strict=True)
    ]
    joint = [len(tokenizer(*pair)["input_ids"]) > limit for pair in zip(FIRST, SECOND, strict=True)]
    found = [
        read(PAIRS, pairs=pairs, max_length_tokens=limit)[1].tolist()
        for pairs in ("separate", "joint", "both")
    ]
    assert found == [alone, joint, [one or other for one, other in zip(alone, joint, strict=True)]]


@pytest.mark.parametrize("pairs", ["joint", "separate", "both"])
def test_progress_ends_with_all_rows(read, pairs):
    seen: list[int] = []
    read(PAIRS, pairs=pairs, on_rows=seen.append)
    assert sum(seen) == len(FIRST) and min(seen) >= 0


@pytest.mark.parametrize("pairs", ["separate", "both"])
def test_single_texts_are_refused_before_anything_is_read(read, context, files, monkeypatch, pairs):
    monkeypatch.setattr(Session, "load", None)
    with pytest.raises(UsageError, match=f"pairs={pairs} for these texts") as caught:
        read(Texts(texts=FIRST), pairs=pairs)
    assert "pairs=joint" in caught.value.fix
    with pytest.raises(UsageError, match="for toy, which has single texts"):
        unit_of(context, files, Texts(texts=FIRST), pairs)


def unit_of(context, files, rows: Texts, pairs: str, pooling: PoolingConfig | None = None):
    reading = EmbeddingSpec(
        bank=None, files=files, recipe=EmbedRecipe(pairs=pairs), pooling=pooling or PoolingConfig()
    )
    return embed.unit(context, reading, {"a": rows, "b": rows}, "toy")


def test_texts_are_read_by_the_context_s_workers_and_model(context, files, read, monkeypatch):
    given, whole = [], vectors.embed_batches

    def recorded(model, *arguments, **settings):
        given.append((model, settings["workers"]))
        return whole(model, *arguments, **settings)

    monkeypatch.setattr(vectors, "embed_batches", recorded)
    read(PAIRS)
    assert given == [(context.inference_model(files, "fp32"), torch.get_num_threads())]


def test_artifact_holds_final_vectors(context, files, read):
    entry = context.ensure(unit_of(context, files, PAIRS, "both")).entry
    np.testing.assert_allclose(read_vectors(entry, "b"), read(PAIRS, pairs="both")[0], atol=1e-5)


def test_key_follows_how_pairs_are_read(context, files):
    documents = [
        unit_of(context, files, PAIRS, pairs).document for pairs in ("joint", "separate", "both")
    ]
    assert len({str(document) for document in documents}) == 3


def test_killed_run_goes_on_at_the_part_it_was_in(context, files, monkeypatch):
    unit, parts, whole = unit_of(context, files, PAIRS, "both"), [], vectors.embed_rows

    def counted(*given):
        parts.append(given[3])
        if len(parts) == 2:
            raise KeyboardInterrupt
        return whole(*given)

    monkeypatch.setattr(embed_parts, "embed_rows", counted)
    with pytest.raises(KeyboardInterrupt):
        context.ensure(unit)
    assert context.ensure(unit).is_made and len(parts) == 3


def test_truncated_rows_of_a_finished_part_are_remembered(context, files, tmp_path):
    publish_part(tmp_path / "a.parquet", PAIRS, np.zeros((4, 2), np.float32), 3, 2)
    assert finished_part(tmp_path / "a.parquet") == (3, 2)


def test_facts_say_how_vectors_were_pooled(context, files):
    pooling = PoolingConfig(position=("cls", "mean"), layers="single", layer=1)
    entry = context.ensure(unit_of(context, files, PAIRS, "joint", pooling)).entry
    facts = read_json(entry, "embeddings.json")
    assert facts["pooling"] == {
        "position": ["cls", "mean"],
        "layers": "single",
        "last_k": 4,
        "layer": 1,
        "norm": "none",
    }
    shared = {"reading": "joint", "layer": 1, "size": 64}
    assert facts["layout"] == [
        {**shared, "position": "cls", "start": 0},
        {**shared, "position": "mean", "start": 64},
    ]


@pytest.mark.parametrize(
    "pooling",
    [
        PoolingConfig(),
        PoolingConfig(layers="concat_last", last_k=3),
        PoolingConfig(position=("last", "cls"), layers=(2, 0)),
    ],
    ids=str,
)
@pytest.mark.parametrize("pairs", ["joint", "separate", "both"])
def test_segments_hold_what_the_layout_says(context, files, read, pooling, pairs):
    """Each is read again with its reading, layer and position alone."""
    entry = context.ensure(unit_of(context, files, PAIRS, pairs, pooling)).entry
    vectors_of, layout = read_vectors(entry, "a"), read_layout(entry)
    assert layout.size == vectors_of.shape[1]
    seen: Counter[tuple] = Counter()
    for one in layout.segments:
        alone = PoolingConfig(position=one.position, layers="single", layer=one.layer)
        wanted = read(PAIRS, pairs=one.reading, pooling=alone)[0]
        # Of the separate reading they are u, v, |u - v| and u * v, in turn.
        turn = 64 * seen[one.reading, one.layer, one.position]
        found = vectors_of[:, one.start : one.start + one.size]
        np.testing.assert_allclose(found, wanted[:, turn : turn + 64], atol=1e-5)
        seen[one.reading, one.layer, one.position] += 1


def test_layers_beyond_the_last_are_refused(context, files):
    with pytest.raises(UsageError, match=r"pooling.layers=\[0,7\] of an encoder with 2 layers"):
        context.ensure(unit_of(context, files, PAIRS, "joint", PoolingConfig(layers=(0, 7))))


def test_more_layers_than_there_are_are_refused(context, files):
    with pytest.raises(UsageError, match="needs 4 layers of hidden states, the encoder has 3"):
        context.ensure(
            unit_of(context, files, PAIRS, "joint", PoolingConfig(layers="concat_last", last_k=4))
        )


def test_loaded_bank_reads_pairs_as_its_recipe_says(context):
    store = Store(context.store.root)
    bank = load_bank("demo", store=store.root, recipe=EmbedRecipe(pairs="separate"))
    plain = load_bank("demo", store=store.root)
    np.testing.assert_allclose(
        bank.embed(FIRST, SECOND), pair_features(plain.embed(FIRST), plain.embed(SECOND)), atol=1e-5
    )
    with pytest.raises(UsageError, match="single texts"):
        bank.embed(FIRST)


@pytest.mark.parametrize("pairs", ["joint", "separate"])
def test_vector_that_is_no_number_is_refused_with_its_text(read, monkeypatch, pairs):
    def overflowing(*arguments, **settings):
        blocks = embed_batches(*arguments, **settings)
        blocks[0][2, 1] = np.inf
        return blocks

    monkeypatch.setattr(vectors, "embed_batches", overflowing)
    with pytest.raises(EncoderError, match=r"1 of \d texts are not finite, .*'warm'"):
        read(PAIRS, pairs=pairs)
