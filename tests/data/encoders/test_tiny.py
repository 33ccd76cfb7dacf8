"""The tiny encoder for smoke runs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from prefixbank.config.schema import EncoderConfig
from prefixbank.core.shapes import EncoderShape
from prefixbank.data.encoders.batches import tokenize
from prefixbank.data.encoders.encoder import Encoder, load_encoder
from prefixbank.data.encoders.files import EncoderFiles, describe_folder
from prefixbank.data.encoders.tiny import write_tiny_encoder
from prefixbank.data.encoders.tiny_vocabulary import SPECIAL, WORDS, vocabulary_digest
from prefixbank.data.starter.suite import STARTER_SOURCES, starter_task


def write(folder: Path) -> EncoderFiles:
    folder.mkdir(exist_ok=True)
    write_tiny_encoder(folder)
    return describe_folder(folder, EncoderConfig(source="folder", path=str(folder)), "tiny")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> EncoderFiles:
    return write(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def encoder(files: EncoderFiles) -> Encoder:
    return load_encoder(files, "cpu")


def test_tiny_encoder_has_the_same_bytes_each_time(tmp_path: Path, files: EncoderFiles):
    torch.manual_seed(123)
    again = write(tmp_path)
    assert again.digest == files.digest
    assert sorted(path.name for path in again.folder.iterdir()) == sorted(
        path.name for path in files.folder.iterdir()
    )


def test_writing_leaves_the_global_random_state_alone(tmp_path: Path):
    before = torch.random.get_rng_state()
    assert write(tmp_path).digest and torch.equal(torch.random.get_rng_state(), before)


def test_tiny_encoder_loads_and_takes_prefixes(encoder: Encoder):
    assert encoder.shape == EncoderShape(
        layers=2, heads=4, kv_heads=4, head_size=16, hidden_size=64
    )
    assert encoder.max_tokens == 128


def test_vocabulary_digest_is_that_of_the_file(files: EncoderFiles):
    written = (files.folder / "vocab.txt").read_bytes()
    assert vocabulary_digest() == hashlib.sha256(written).hexdigest()


def test_vocabulary_starts_with_the_special_tokens(encoder: Encoder):
    assert encoder.tokenizer.convert_ids_to_tokens(range(5)) == list(SPECIAL)


def test_vocabulary_holds_no_word_twice_and_fits_the_model(encoder: Encoder):
    words = encoder.tokenizer.get_vocab()
    assert (
        sorted(words.values()) == list(range(encoder.model.config.vocab_size))
        and len(words) <= WORDS + 200
    )


@pytest.mark.parametrize("name", STARTER_SOURCES[:2])
def test_texts_of_the_starter_suite_hold_no_unknown_token(encoder: Encoder, name: str):
    train = starter_task(name).train
    tokens = tokenize(encoder.tokenizer, train.texts, train.pairs, 128)
    unknown = encoder.tokenizer.unk_token_id
    assert not any(unknown in ids for ids in tokens.columns["input_ids"])


def test_frequent_words_are_one_token_and_case_does_not_count(encoder: Encoder):
    assert encoder.tokenizer.tokenize("The the") == ["the", "the"]


def test_unseen_word_is_spelled_in_characters(encoder: Encoder):
    assert encoder.tokenizer.tokenize("zyqa") == ["z", "##y", "##q", "##a"]
