"""Tokens and batches: every row once, padded right, cut exactly where told."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from prefixbank.core.shapes import Batch
from prefixbank.core.training.sampling import BUCKET_BATCHES
from prefixbank.data.encoders import batches as batches_module
from prefixbank.data.encoders.batches import (
    PairTokens,
    Tokens,
    budget_batches,
    epoch_batches,
    tokenize,
)
from prefixbank.errors import EncoderError, UsageError
from tests.data.encoders.models import PAD, WORDS, bare_tokenizer, new_tokenizer

GENERATOR = np.random.default_rng(0)
TEXTS = [" ".join(["good"] * length) for length in GENERATOR.integers(1, 12, 60)]
PAIRS = [" ".join(["bad"] * length) for length in GENERATOR.integers(1, 12, 60)]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return new_tokenizer()


@pytest.fixture(scope="module")
def bert_tokenizer(starter_encoder_path: object) -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(starter_encoder_path)


def tokens_of(rows: int, *, longest: int = 30, seed: int = 0) -> Tokens:
    """Rows of random lengths; the ids of a row are its number + 10."""
    lengths = np.random.default_rng(seed).integers(1, longest + 1, rows)
    columns = {
        "input_ids": [[row + 10] * length for row, length in enumerate(lengths.tolist())],
        "attention_mask": [[1] * length for length in lengths.tolist()],
    }
    return Tokens(
        columns=columns, lengths=lengths, cut=np.zeros(len(lengths), dtype=bool), pad_id=7
    )


def rows_of(batches: list[Batch]) -> list[int]:
    return [int(row) for batch in batches for row in batch.rows]


def epoch(tokens: Tokens, *, batch_size: int = 4, seed: int = 0, epoch: int = 0) -> list[Batch]:
    return epoch_batches(
        tokens, np.arange(len(tokens)), batch_size=batch_size, seed=seed, epoch=epoch
    )


def test_ids_are_the_tokenizer_s(tokenizer: PreTrainedTokenizerFast):
    tokens = tokenize(tokenizer, ["good bad", "red"], None, 20)
    ids = [
        [WORDS.index(word) for word in text.split()]
        for text in ("[CLS] good bad [SEP]", "[CLS] red [SEP]")
    ]
    assert tokens.columns == {"input_ids": ids, "attention_mask": [[1] * 4, [1] * 3]}
    assert (tokens.lengths.tolist(), tokens.truncated, tokens.pad_id, len(tokens)) == (
        [4, 3],
        0,
        PAD,
        2,
    )


def test_tokenizer_that_gives_no_mask_gets_one():
    tokens = tokenize(new_tokenizer(model_input_names=["input_ids"]), ["good bad", "red"], None, 20)
    assert tokens.columns["attention_mask"] == [[1] * 4, [1] * 3]


@pytest.mark.parametrize("limit", [3, 4, 8, 12, 13, 14])
def test_truncated_counts_the_texts_beyond_the_limit(
    tokenizer: PreTrainedTokenizerFast, limit: int
):
    whole = [len(text.split()) + 2 for text in TEXTS]
    tokens = tokenize(tokenizer, TEXTS, None, limit)
    assert tokens.truncated == sum(length > limit for length in whole)
    assert tokens.lengths.tolist() == [min(length, limit) for length in whole]


@pytest.mark.parametrize("limit", [5, 6, 13, 20, 24, 25])
def test_truncated_counts_the_pairs_beyond_the_limit(
    tokenizer: PreTrainedTokenizerFast, limit: int
):
    whole = [
        len(text.split()) + len(pair.split()) + 3 for text, pair in zip(TEXTS, PAIRS, strict=True)
    ]
    tokens = tokenize(tokenizer, TEXTS, PAIRS, limit)
    assert tokens.truncated == sum(length > limit for length in whole)
    assert tokens.lengths.tolist() == [min(length, limit) for length in whole]


@pytest.mark.parametrize("pairs", [None, PAIRS], ids=["texts", "pairs"])
@pytest.mark.parametrize("separator", ["", " , "])
@pytest.mark.parametrize("characters", [1, 100, 150])
def test_texts_are_tokenised_in_pieces_and_give_what_they_give_alone(
    tokenizer: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
    characters: int,
    separator: str,
    pairs: list[str] | None,
):
    monkeypatch.setattr(batches_module, "PIECE_CHARACTERS", characters)
    found = tokenize(tokenizer, TEXTS, pairs, 14, separator=separator)
    for row, text in enumerate(TEXTS):
        pair = None if pairs is None else [pairs[row]]
        alone = tokenize(tokenizer, [text], pair, 14, separator=separator)
        assert {name: rows[row] for name, rows in found.columns.items()} == {
            name: rows[0] for name, rows in alone.columns.items()
        }
        assert (found.lengths[row], found.cut[row]) == (alone.lengths[0], alone.cut[0])
    assert all(len(rows) == len(TEXTS) for rows in found.columns.values())


@pytest.mark.parametrize("with_pairs", [False, True])
def test_no_more_is_tokenised_at_once_than_a_piece_and_one_row(
    tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch, with_pairs: bool
):
    calls: list[list[int]] = []
    encoded = batches_module._encoded

    def counted(tokenizer, texts, pairs, limit):
        calls.append([len(text) for text in texts] + [len(text) for text in pairs or ()])
        return encoded(tokenizer, texts, pairs, limit)

    monkeypatch.setattr(batches_module, "PIECE_CHARACTERS", 200)
    monkeypatch.setattr(batches_module, "_encoded", counted)
    tokenize(tokenizer, TEXTS, PAIRS if with_pairs else None, 64)
    longest = max(map(len, TEXTS)) + (max(map(len, PAIRS)) if with_pairs else 0)
    assert len(calls) > 2 and max(map(sum, calls)) < 200 + longest


def test_longer_text_of_a_pair_is_cut_first(tokenizer: PreTrainedTokenizerFast):
    (ids,) = tokenize(tokenizer, ["good good good good good good"], ["bad bad"], 8).columns[
        "input_ids"
    ]
    assert [WORDS[number] for number in ids] == "[CLS] good good good [SEP] bad bad [SEP]".split()


@pytest.mark.parametrize(("pairs", "least"), [(None, 3), (["bad"], 5)], ids=["single", "pair"])
def test_limit_without_room_for_text_is_refused(
    tokenizer: PreTrainedTokenizerFast, pairs: list[str] | None, least: int
):
    assert len(tokenize(tokenizer, ["good"], pairs, least)) == 1
    with pytest.raises(
        UsageError, match=f"max_length_tokens={least - 1} leaves no room for text"
    ) as caught:
        tokenize(tokenizer, ["good"], pairs, least - 1)
    assert caught.value.expected.startswith(f"at least {least} for ")


def separated(text: str, pair: str, limit: int = 50, separator: str = "\n") -> tuple[str, bool]:
    """What is left of a pair that a separator joins, and whether anything was cut."""
    tokenizer = bare_tokenizer()
    tokens = tokenize(tokenizer, [text], [pair], limit, separator=separator)
    return tokenizer.decode(tokens.columns["input_ids"][0]), bool(tokens.cut[0])


def test_separator_joins_a_pair_into_one_text():
    assert separated("one", "two") == ("one\ntwo", False)
    assert separated("one", "two", separator=" | ") == ("one | two", False)


@pytest.mark.parametrize(
    ("limit", "left"),
    [
        (13, "abcdefgh\n1234"),
        (12, "abcdefg\n1234"),
        (9, "abcd\n1234"),
        (8, "abcd\n123"),
        (7, "abc\n123"),
        (3, "a\n1"),
    ],
)
@pytest.mark.parametrize("swap", [False, True], ids=["first", "second"])
def test_longer_text_of_a_separated_pair_is_cut_first(limit: int, left: str, swap: bool):
    texts = ("abcdefgh", "1234")
    if swap:
        texts, left = texts[::-1], "\n".join(left.split("\n")[::-1])
    assert separated(*texts, limit) == (left, limit < 13)


@pytest.mark.parametrize("limit", range(5, 20))
@pytest.mark.parametrize("lengths", [(3, 9), (9, 3), (6, 6), (1, 12), (7, 6)])
def test_separated_pair_is_cut_as_the_tokenizer_cuts(limit: int, lengths: tuple[int, int]):
    tokenizer = new_tokenizer()
    texts, pairs = (
        [" ".join([word] * count)] for word, count in zip(("good", "bad"), lengths, strict=True)
    )
    joined = tokenize(tokenizer, texts, pairs, limit, separator=" , ")
    marked = tokenize(tokenizer, texts, pairs, limit)  # a comma in place of a [SEP]
    ids = [[WORDS[number] for number in one.columns["input_ids"][0]] for one in (joined, marked)]
    assert [one.count(word) for one in ids for word in ("good", "bad")] == 2 * [
        ids[1].count(word) for word in ("good", "bad")
    ]
    assert joined.cut.tolist() == marked.cut.tolist()


def test_special_tokens_of_a_separated_pair_are_those_of_one_text(
    tokenizer: PreTrainedTokenizerFast,
):
    tokens = tokenize(tokenizer, ["good good good"], ["bad"], 5, separator=" , ")
    (ids,) = tokens.columns["input_ids"]
    assert [WORDS[number] for number in ids] == "[CLS] good , bad [SEP]".split()
    assert tokens.columns["attention_mask"] == [[1] * 5] and tokens.truncated == 1


def test_token_that_holds_separator_and_an_end_of_a_text_stays():
    letters = ["[END]", *"abc123.\n", ".\n"]
    vocabulary = {letter: number for number, letter in enumerate(letters)}
    backend = Tokenizer(models.BPE(vocabulary, merges=[(".", "\n")]))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="[END]")
    tokens = tokenize(tokenizer, ["abc."], ["123"], 4, separator="\n")
    assert [letters[number] for number in tokens.columns["input_ids"][0]] == ["a", ".\n", "1", "2"]


@pytest.mark.parametrize("text", ["é€", "日本語", "🙂🙂"])
def test_letters_of_several_tokens_are_counted_as_tokens(text: str):
    tokens = tokenize(bare_tokenizer(), [text * 3], ["x"], 6, separator="\n")
    assert len(tokens.columns["input_ids"][0]) == 6
    assert separated(text * 3, "x", 6)[0].endswith("\nx")


def test_separator_without_room_for_both_texts_is_refused():
    with pytest.raises(UsageError, match="max_length_tokens=4 leaves no room") as caught:
        separated("abc", "123", 4, separator="---")
    assert caught.value.expected == "at least 5 for pairs"


@pytest.mark.parametrize("separator", [" ", "\n", "\t "])
def test_separator_that_the_tokenizer_drops_is_refused(
    tokenizer: PreTrainedTokenizerFast, separator: str
):
    with pytest.raises(UsageError, match="is no more than a space to the tokenizer"):
        tokenize(tokenizer, ["good"], ["bad"], 20, separator=separator)


def test_pairs_that_nothing_would_stand_between_are_refused():
    assert len(tokenize(bare_tokenizer(), ["one"], None, 20)) == 1
    with pytest.raises(EncoderError, match="puts nothing between the two texts") as caught:
        tokenize(bare_tokenizer(), ["one"], ["two"], 20)
    assert caught.value.fix.startswith("encoder.pair_separator='\\n' ")


def test_separator_changes_nothing_in_single_texts():
    one, other = (
        tokenize(bare_tokenizer(), ["one"], None, 20, separator=separator)
        for separator in ("", "\n")
    )
    assert one.columns == other.columns


def test_pairs_are_told_apart_by_token_types(bert_tokenizer: PreTrainedTokenizerFast):
    tokens = tokenize(bert_tokenizer, ["a first text"], ["a second"], 20)
    assert tokens.columns["token_type_ids"] == [[0] * 5 + [1] * 3]


def test_single_texts_have_token_types_of_zero(bert_tokenizer: PreTrainedTokenizerFast):
    assert tokenize(bert_tokenizer, ["a first text"], None, 20).columns["token_type_ids"] == [
        [0] * 5
    ]


def test_model_without_token_types_gets_none(tokenizer: PreTrainedTokenizerFast):
    assert set(tokenize(tokenizer, ["good"], ["bad"], 20).columns) == {
        "input_ids",
        "attention_mask",
    }


def test_batch_pads_on_the_right_to_its_longest_row():
    columns = {
        "input_ids": [[5], [6, 6, 6], [8, 8]],
        "token_type_ids": [[1], [1, 1, 1], [1, 1]],
        "attention_mask": [[1], [1, 1, 1], [1, 1]],
    }
    batch = Tokens(
        columns=columns, lengths=np.array([1, 3, 2]), cut=np.zeros(3, dtype=bool), pad_id=9
    ).batch(np.array([2, 0]))
    assert {name: tensor.tolist() for name, tensor in batch.inputs.items()} == {
        "input_ids": [[8, 8], [5, 9]],
        "token_type_ids": [[1, 1], [1, 0]],
        "attention_mask": [[1, 1], [1, 0]],
    }
    assert batch.rows.tolist() == [2, 0] and batch.labels is None


@pytest.mark.parametrize(
    ("labels", "dtype"),
    [
        (np.array([3, 1, 2]), torch.int64),
        (np.array([0.5, 1.5, 2.5]), torch.float32),
        (np.array([[1, 0], [0, 0], [1, 1]], np.uint8), torch.float32),
    ],
    ids=["classes", "values", "flags"],
)
def test_labels_follow_their_rows(labels: np.ndarray, dtype: torch.dtype):
    batch = tokens_of(3).batch(np.array([2, 0]), labels)
    assert batch.labels.dtype == dtype and batch.labels.tolist() == labels[[2, 0]].tolist()


@pytest.mark.parametrize("budget", [1, 30, 64, 200, 10_000])
def test_budget_batches_hold_every_row_once(budget: int):
    assert sorted(rows_of(list(budget_batches(tokens_of(57), budget)))) == list(range(57))


@pytest.mark.parametrize("budget", [30, 64, 200])
def test_budget_batches_stay_within_the_budget(budget: int):
    sizes = [batch.inputs["input_ids"].numel() for batch in budget_batches(tokens_of(57), budget)]
    assert max(sizes) <= budget < sizes[0] + 30


def test_row_beyond_the_budget_comes_alone():
    batches = list(budget_batches(tokens_of(57), 10))
    assert all(len(batch.rows) == 1 for batch in batches if batch.inputs["input_ids"].shape[1] > 10)


def test_budget_batches_run_from_long_to_short():
    widths = [batch.inputs["input_ids"].shape[1] for batch in budget_batches(tokens_of(57), 64)]
    assert widths == sorted(widths, reverse=True)


def test_budget_batches_carry_labels():
    batches = list(budget_batches(tokens_of(57), 64, np.arange(57)))
    assert all(batch.labels.tolist() == batch.rows.tolist() for batch in batches)


def test_batches_carry_the_tokens_of_their_rows():
    for batch in [*budget_batches(tokens_of(57), 64), *epoch(tokens_of(57))]:
        assert batch.inputs["input_ids"][:, 0].tolist() == (batch.rows + 10).tolist()
        assert torch.equal(batch.inputs["input_ids"] == 7, batch.inputs["attention_mask"] == 0)


@pytest.mark.parametrize("rows", [1, 4, 57, 4 * BUCKET_BATCHES, 4 * BUCKET_BATCHES + 1])
def test_epoch_holds_every_row_once(rows: int):
    assert sorted(rows_of(epoch(tokens_of(rows)))) == list(range(rows))


@pytest.mark.parametrize(("rows", "batch_size"), [(57, 4), (56, 4), (3, 8), (450, 4)])
def test_epoch_has_full_batches_and_at_most_one_smaller(rows: int, batch_size: int):
    sizes = sorted(
        (len(batch.rows) for batch in epoch(tokens_of(rows), batch_size=batch_size)), reverse=True
    )
    assert sizes == [batch_size] * (rows // batch_size) + [rows % batch_size] * (
        rows % batch_size > 0
    )


def test_epoch_is_the_same_each_time():
    first = rows_of(epoch(tokens_of(57), seed=3, epoch=2))
    np.random.seed(5)
    assert rows_of(epoch(tokens_of(57), seed=3, epoch=2)) == first


@pytest.mark.parametrize("other", [{"epoch": 1}, {"seed": 1}], ids=["epoch", "seed"])
def test_epochs_and_seeds_differ(other: dict[str, int]):
    first, second = epoch(tokens_of(57)), epoch(tokens_of(57), **other)
    assert {frozenset(batch.rows.tolist()) for batch in first} != {
        frozenset(batch.rows.tolist()) for batch in second
    }


def test_seed_and_epoch_are_not_added():
    assert rows_of(epoch(tokens_of(57), seed=1, epoch=0)) != rows_of(
        epoch(tokens_of(57), seed=0, epoch=1)
    )


def test_epoch_leaves_the_global_random_state_alone():
    before = np.random.get_state()[1].tolist()
    assert rows_of(epoch(tokens_of(57))) and np.random.get_state()[1].tolist() == before


def test_epoch_carries_labels():
    assert all(batch.labels.tolist() == batch.rows.tolist() for batch in epoch(tokens_of(57)))


def lengths_overlap(tokens: Tokens) -> bool:
    """Whether two batches of an epoch span lengths that overlap in more than one length."""
    spans = sorted(
        (int(tokens.lengths[batch.rows].min()), int(tokens.lengths[batch.rows].max()))
        for batch in epoch(tokens)
    )
    return any(before[1] > after[0] for before, after in zip(spans, spans[1:], strict=False))


def test_batches_of_an_epoch_hold_texts_of_like_lengths():
    assert not lengths_overlap(tokens_of(4 * BUCKET_BATCHES))


def test_like_lengths_are_sought_among_a_bounded_number_of_batches():
    assert lengths_overlap(tokens_of(4 * BUCKET_BATCHES * 3))


def test_batches_of_an_epoch_come_in_no_order_of_length():
    widths = [batch.inputs["input_ids"].shape[1] for batch in epoch(tokens_of(200))]
    assert widths != sorted(widths) and widths != sorted(widths, reverse=True)


def pairs_apart(rows: int) -> PairTokens:
    return PairTokens(first=tokens_of(rows, seed=1), second=tokens_of(rows, seed=2))


def test_pairs_apart_are_first_texts_above_second_ones_of_one_width():
    pairs, rows = pairs_apart(9), np.array([4, 0, 7])
    batch = pairs.batch(rows, np.arange(9))
    ids, mask = batch.inputs["input_ids"], batch.inputs["attention_mask"]
    wanted = [*pairs.first.lengths[rows].tolist(), *pairs.second.lengths[rows].tolist()]
    assert mask.sum(dim=1).tolist() == wanted and ids.shape == (6, max(wanted))
    assert ids[:, 0].tolist() == [14, 10, 17] * 2 and batch.labels.tolist() == rows.tolist()


def test_pairs_apart_stay_within_the_budget_that_counts_both_texts():
    batches = list(budget_batches(pairs_apart(50), 200))
    assert sorted(rows_of(batches)) == list(range(50))
    assert all(batch.inputs["input_ids"].numel() <= 200 for batch in batches)


def test_pair_apart_is_truncated_if_one_of_its_texts_is(tokenizer: PreTrainedTokenizerFast):
    first, second = (
        tokenize(tokenizer, texts, None, 4)
        for texts in (["good", "good bad red", "red"], ["bad", "red", "bad good red"])
    )
    pairs = PairTokens(first=first, second=second)
    assert (pairs.truncated, pairs.total, len(pairs)) == (2, 20, 3)
