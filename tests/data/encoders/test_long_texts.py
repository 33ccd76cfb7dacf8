"""Lengths of texts in tokens, and windows of texts that are too long."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from prefixbank.data.encoders import batches
from prefixbank.data.encoders.batches import tokenize
from prefixbank.data.encoders.long_texts import further_windows, token_counts
from tests.data.encoders.models import WORDS, new_tokenizer

TOKENIZER = new_tokenizer()
CLS, SEP = (WORDS.index(mark) for mark in ("[CLS]", "[SEP]"))
PLAIN = [word for word in WORDS if word.isalpha()]


def windows_by_hand(words: list[str], limit: int, overlap: float) -> list[list[int]]:
    """All windows of a text, one after the other, each between its special tokens."""
    ids, room = [WORDS.index(word) for word in words], limit - 2
    windows, start = [], 0
    while True:
        windows.append([CLS, *ids[start : start + room], SEP])
        if start + room >= len(ids):
            return windows
        start += room - int(overlap * room)


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    limit=st.integers(3, 12),
    overlap=st.floats(0, 1, exclude_max=True),
    characters=st.sampled_from([1, 60, batches.PIECE_CHARACTERS]),
)
def test_windows_are_those_of_a_plain_loop(lengths, limit, overlap, characters):
    drawn = np.random.default_rng(lengths)
    words = [drawn.choice(PLAIN, length).tolist() for length in lengths]
    texts = [" ".join(text) for text in words]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "PIECE_CHARACTERS", characters)
        first = tokenize(TOKENIZER, texts, None, limit)
        further = list(further_windows(TOKENIZER, texts, limit, overlap))
    found = [[ids] for ids in first.columns["input_ids"]]
    for windows in further:
        for text, ids, mask in zip(
            windows.of_text,
            windows.tokens.columns["input_ids"],
            windows.tokens.columns["attention_mask"],
            strict=True,
        ):
            found[text].append(ids)
            assert mask == [1] * len(ids)
    assert found == [windows_by_hand(text, limit, overlap) for text in words]


def test_no_window_follows_the_first_of_texts_that_fit():
    assert list(further_windows(TOKENIZER, ["good", "bad red"], 4, 0.25)) == []


@pytest.mark.parametrize("pairs", [None, ["red", "good bad red"]])
@pytest.mark.parametrize("separator", ["", " , "])
def test_counts_are_the_lengths_without_a_limit(
    monkeypatch: pytest.MonkeyPatch, pairs: list[str] | None, separator: str
):
    texts = ["good " * 40, "bad"]
    whole = tokenize(TOKENIZER, texts, pairs, 200, separator=separator)
    monkeypatch.setattr(batches, "PIECE_CHARACTERS", 10)
    counts = token_counts(TOKENIZER, texts, pairs, separator)
    assert counts.tolist() == whole.lengths.tolist() and whole.truncated == 0


def test_tokenizer_keeps_no_limit_of_windows(tokenizer: PreTrainedTokenizerFast):
    texts = ["good " * 20]
    before = tokenize(tokenizer, texts, None, 6).columns
    list(further_windows(tokenizer, texts, 6, 0.5))
    assert token_counts(tokenizer, texts, None, "").tolist() == [22]
    assert tokenize(tokenizer, texts, None, 6).columns == before


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    return new_tokenizer()
