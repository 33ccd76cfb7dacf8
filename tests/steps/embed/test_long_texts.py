"""Texts of more tokens than the encoder reads at once: truncated, refused, or in windows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from prefixbank.artifacts.bank import plain_bank
from prefixbank.artifacts.embeddings import read_vectors
from prefixbank.artifacts.json_files import read_json
from prefixbank.commands.invocation import Invocation
from prefixbank.config.running import RunConfig
from prefixbank.config.schema import EmbedRecipe, EncoderConfig, PoolingConfig, key_config
from prefixbank.core.blocks import BlockBank
from prefixbank.core.combine import Bank
from prefixbank.core.pooling import Pooling
from prefixbank.core.readout import Readout
from prefixbank.data.corpus.texts import Texts
from prefixbank.errors import DataError, Faults, UsageError
from prefixbank.runtime.context import Context
from prefixbank.steps.embed import rows as embedding
from prefixbank.steps.embed import step as embed
from prefixbank.steps.embed.rows import embed_rows
from prefixbank.steps.embed.spec import EmbeddingSpec
from tests.prepared import copy_store

LIMIT = 8
TEXTS = (
    "warm",
    "the food was good and the staff was rude and the bath was cold and the room was noisy",
    "a quiet place",
    "a bad and noisy place with a warm bath and good food",
)
ROWS = Texts(texts=TEXTS)
MEAN = Pooling(position="mean", layers="last", last_k=4, layer=0)


@pytest.fixture
def context(prepared, tmp_path) -> Context:
    return Invocation(store=copy_store(prepared.store, tmp_path / "copy")).context(RunConfig())


@pytest.fixture
def files(context):
    return context.encoder_files(EncoderConfig(name="tiny", source="tiny"))


@pytest.fixture(params=["plain", "blocks"])
def bank(request) -> Bank | BlockBank:
    if request.param == "plain":
        return plain_bank(PoolingConfig())
    generator = torch.Generator().manual_seed(0)
    readouts = [
        Readout(
            vectors=torch.randn(count, 64, generator=generator),
            slots=torch.randn(2, 2, 4, 3, 16, generator=generator),
        )
        for count in (2, 1)
    ]
    return BlockBank(readouts=tuple(readouts), plain=MEAN)


@pytest.fixture
def read(context, files, bank):
    def run(rows: Texts, **recipe) -> list[np.ndarray]:
        whole = EmbedRecipe(**{"max_length_tokens": LIMIT, **recipe})
        return embed_rows(context, bank, files, rows, whole)[0]

    return run


def windows_of(tokenizer, text: str, overlap: float) -> list[list[int]]:
    """The windows of a text between their special tokens, built one by one."""
    first, *words, last = tokenizer(text)["input_ids"]
    room, windows, start = LIMIT - 2, [], 0
    while True:
        windows.append([first, *words[start : start + room], last])
        if start + room >= len(words):
            return windows
        start += room - int(overlap * room)


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_windows_equal_a_loop_that_encodes_each_alone(context, files, bank, read, overlap, pooling):
    encoder = context.load(files, kind="readout")
    blocks = bank if isinstance(bank, BlockBank) else BlockBank(readouts=(), plain=bank.pooling)
    expected: list[list[np.ndarray]] = []
    for text in TEXTS:
        windows = []
        for ids in windows_of(encoder.tokenizer, text, overlap):
            inputs = {
                "input_ids": torch.tensor([ids]),
                "attention_mask": torch.ones(1, len(ids), dtype=torch.long),
            }
            with torch.no_grad():
                vectors = blocks.encode(encoder.model, inputs)
            windows.append([vector[0].numpy() for vector in vectors])
        combine = np.mean if pooling == "mean" else np.max
        expected.append([combine(block, axis=0) for block in zip(*windows, strict=True)])
    found = read(ROWS, long="windows", window_overlap=overlap, window_pooling=pooling)
    assert len(windows_of(encoder.tokenizer, TEXTS[1], overlap)) > 2
    for block, wanted in zip(found, zip(*expected, strict=True), strict=True):
        np.testing.assert_allclose(block, wanted, atol=2e-5)


def test_text_that_fits_has_the_bytes_that_it_has_without_windows(read):
    whole, beginnings = read(ROWS, long="windows"), read(ROWS)
    for one, other in zip(whole, beginnings, strict=True):
        same = [one[row].tobytes() == other[row].tobytes() for row in range(len(TEXTS))]
        assert same == [True, False, True, False]


def test_windows_of_pairs_read_apart_are_those_of_each_text(read):
    pairs = Texts(texts=TEXTS, pairs=TEXTS[::-1])
    alone = read(ROWS, long="windows")
    for block, of_text in zip(read(pairs, pairs="separate", long="windows"), alone, strict=True):
        np.testing.assert_allclose(
            block[:, : of_text.shape[1] * 2], np.hstack([of_text, of_text[::-1]]), atol=1e-5
        )


@pytest.mark.parametrize("pairs", ["joint", "both"])
def test_windows_of_pairs_read_jointly_are_refused(read, pairs):
    with pytest.raises(UsageError, match=f"long=windows with pairs={pairs}") as caught:
        read(Texts(texts=TEXTS, pairs=TEXTS), pairs=pairs, long="windows")
    assert caught.value.fix.startswith("pairs=separate")


@pytest.mark.parametrize("pairs", ["joint", "separate"])
def test_error_names_the_first_long_rows_with_their_tokens(context, files, read, pairs):
    tokenizer = context.load(files).tokenizer
    seconds = (TEXTS[3], *TEXTS[:3])
    lengths = [
        len(tokenizer(first, second)["input_ids"])
        if pairs == "joint"
        else max(len(tokenizer(text)["input_ids"]) for text in (first, second))
        for first, second in zip(TEXTS, seconds, strict=True)
    ]
    long = [(row, tokens) for row, tokens in enumerate(lengths, start=1) if tokens > LIMIT]
    with pytest.raises(DataError) as caught:
        read(Texts(texts=TEXTS, pairs=seconds), pairs=pairs, long="error")
    shown = ", ".join(f"row {row} ({tokens} tokens)" for row, tokens in long[:3])
    more = ", ..." if len(long) > 3 else ""
    assert caught.value.what == f"these texts: {len(long)} rows are too long: {shown}{more}"


def spec_of(files, **recipe) -> EmbeddingSpec:
    return EmbeddingSpec(
        bank=None,
        files=files,
        recipe=EmbedRecipe(max_length_tokens=LIMIT, **recipe),
        pooling=PoolingConfig(),
    )


def test_error_is_of_all_parts_and_comes_before_any_is_encoded(context, files, monkeypatch):
    monkeypatch.setattr(embedding, "embed_batches", None)
    parts = {"a": Texts(texts=("warm",)), "b": ROWS.part(1, 3), "c": ROWS.part(3, 4)}
    with pytest.raises(Faults) as caught:
        context.ensure(embed.unit(context, spec_of(files, long="error"), parts, "toy"))
    assert [fault.what.partition(" (")[0] for fault in caught.value.faults] == [
        "toy b: 1 row is too long: row 2",
        "toy c: 1 row is too long: row 4",
    ]


def test_texts_that_fit_have_the_same_bytes_whatever_long_says(context, files):
    short = {"a": Texts(texts=("warm", "a quiet place"))}
    vectors = [
        read_vectors(
            context.ensure(embed.unit(context, spec_of(files, long=long), short, "toy")).entry, "a"
        )
        for long in ("truncate", "error", "windows")
    ]
    assert len({one.tobytes() for one in vectors}) == 1


def test_facts_count_long_rows(context, files):
    def facts(long: str) -> dict:
        unit = embed.unit(context, spec_of(files, long=long), {"a": ROWS}, "toy")
        return read_json(context.ensure(unit).entry, "embeddings.json")

    windows = facts("windows")
    assert (windows["truncated_share"], windows["windowed_rows"]) == (0.0, 2)
    assert facts("truncate")["truncated_share"] == 0.5


def test_key_document_is_as_before_there_was_a_choice():
    names = set(key_config(EmbedRecipe(window_overlap=0.5, window_pooling="max")))
    assert not names & {"long", "window_overlap", "window_pooling"}
    assert key_config(EmbedRecipe(long="windows", window_overlap=0.5))["window_overlap"] == 0.5
