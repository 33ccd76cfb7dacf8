"""Tokenisation and batching: from texts to padded token ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from prefixbank.core.shapes import Batch
from prefixbank.core.training.sampling import length_groups
from prefixbank.errors import EncoderError, UsageError

PIECE_CHARACTERS = 2**20
"""Characters that are tokenised at once."""


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Token ids of some texts, without padding.

    Args:
        columns: a list of ids for each row, for each input of the model.
        lengths: [N] tokens in each row, special tokens included.
        cut: bool [N], whether a row was longer than the limit.
        pad_id: id that pads `input_ids`.
    """

    columns: dict[str, list[list[int]]]
    lengths: np.ndarray
    cut: np.ndarray
    pad_id: int

    @classmethod
    def of(cls, columns: dict[str, list[list[int]]], cut: np.ndarray, tokenizer: Any) -> Tokens:
        """Return tokens of what a tokenizer returns; without an attention mask, all are read."""
        ids = columns["input_ids"]
        columns.setdefault("attention_mask", [[1] * len(row) for row in ids])
        lengths = np.array([len(row) for row in ids], dtype=np.int64)
        return cls(columns=columns, lengths=lengths, cut=cut, pad_id=tokenizer.pad_token_id)

    def __len__(self) -> int:
        """Return N."""
        return len(self.lengths)

    @property
    def truncated(self) -> int:
        """Return the number of rows that were longer than the limit."""
        return int(self.cut.sum())

    @property
    def texts_per_row(self) -> int:
        """Return 1: a pair that is read jointly is one text."""
        return 1

    @property
    def total(self) -> int:
        """Return the number of tokens of all rows."""
        return int(self.lengths.sum())

    def batch(self, rows: np.ndarray, labels: np.ndarray | None = None) -> Batch:
        """Return some rows, padded to the longest of them, with their labels."""
        inputs = self.padded(rows, int(self.lengths[rows].max()))
        return Batch(rows=rows, inputs=inputs, labels=_label_tensor(labels, rows))

    def padded(self, rows: np.ndarray, width: int) -> dict[str, torch.Tensor]:
        """Return the inputs [B, width] of some rows."""
        return {name: self._padded(name, rows, width) for name in self.columns}

    def _padded(self, name: str, rows: np.ndarray, width: int) -> torch.Tensor:
        filler = self.pad_id if name == "input_ids" else 0
        out = np.full((len(rows), width), filler, dtype=np.int64)
        for index, row in enumerate(rows):
            ids = self.columns[name][row]
            out[index, : len(ids)] = ids
        return torch.from_numpy(out)


@dataclass(frozen=True, kw_only=True)
class PairTokens:
    """Token ids of pairs of texts that are read apart; used like `Tokens`."""

    first: Tokens
    second: Tokens

    def __len__(self) -> int:
        """Return N."""
        return len(self.first)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens in the longer text of each pair, [N]."""
        longer: np.ndarray = np.maximum(self.first.lengths, self.second.lengths)
        return longer

    @property
    def truncated(self) -> int:
        """Return the number of pairs with a text that was longer than the limit."""
        return int((self.first.cut | self.second.cut).sum())

    @property
    def texts_per_row(self) -> int:
        """Return 2."""
        return 2

    @property
    def total(self) -> int:
        """Return the number of tokens of all pairs."""
        return self.first.total + self.second.total

    def batch(self, rows: np.ndarray, labels: np.ndarray | None = None) -> Batch:
        """Return some pairs with their labels: inputs [2B, T], first texts, then second ones."""
        width = int(self.lengths[rows].max())
        first, second = (tokens.padded(rows, width) for tokens in (self.first, self.second))
        inputs = {name: torch.cat([first[name], second[name]]) for name in first}
        return Batch(rows=rows, inputs=inputs, labels=_label_tensor(labels, rows))


def _label_tensor(labels: np.ndarray | None, rows: np.ndarray) -> torch.Tensor | None:
    """Return the labels of some rows: classes as int64, values and flags as float32."""
    if labels is None:
        return None
    wanted = labels[rows]
    return torch.from_numpy(wanted if wanted.dtype == np.int64 else wanted.astype(np.float32))


def tokenize(
    tokenizer: Any,
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    max_length_tokens: int,
    *,
    separator: str = "",
) -> Tokens:
    """Turn texts, or pairs for joint reading, into at most `max_length_tokens` token ids each.

    The longer text of a pair is cut first.

    Args:
        tokenizer: a fast tokenizer.
        texts: [N] texts.
        pairs: [N] second texts; None for single texts.
        max_length_tokens: limit, special tokens included.
        separator: text between the two of a pair, which are then one text to the tokenizer; empty:
            the tokenizer joins pairs.

    Raises:
        UsageError: beside special tokens and separator, the limit leaves less than one token for
            each text; or the separator makes no token of its own.
        EncoderError: the tokenizer joins pairs without a mark between them.
    """
    columns: dict[str, list[list[int]]] = {}
    cut: list[bool] = []
    for piece, pair in pieces(texts, pairs):
        if pair is not None and separator:
            ids, long = _joined(tokenizer, piece, pair, max_length_tokens, separator)
        else:
            ids, long = _encoded(tokenizer, piece, pair, max_length_tokens)
        for name, rows in ids.items():
            columns.setdefault(name, []).extend(rows)
        cut += long
    return Tokens.of(columns, np.array(cut, dtype=bool), tokenizer)


def pieces(
    texts: Sequence[str], pairs: Sequence[str] | None
) -> Iterator[tuple[Sequence[str], Sequence[str] | None]]:
    """Yield texts, and their pairs, in pieces of about `PIECE_CHARACTERS`; one piece at least.

    A tokenizer keeps much more for each token of a text than its number, also for those that are
    cut.
    """
    start = size = 0
    for end, text in enumerate(texts, start=1):
        size += len(text) + (0 if pairs is None else len(pairs[end - 1]))
        if size >= PIECE_CHARACTERS or end == len(texts):
            yield texts[start:end], None if pairs is None else pairs[start:end]
            start, size = end, 0
    if not texts:
        yield texts, pairs


def _encoded(
    tokenizer: Any, texts: Sequence[str], pairs: Sequence[str] | None, limit: int
) -> tuple[dict[str, list[list[int]]], list[bool]]:
    """Return ids by input of the model, and which rows were cut, as the tokenizer has it."""
    special = tokenizer.num_special_tokens_to_add(pair=pairs is not None)
    if limit < special + (1 if pairs is None else 2):
        raise _no_room(limit, "the tokenizer adds", special, pairs is not None)
    if pairs is not None and not _marks_pairs(tokenizer):
        raise EncoderError(
            "the encoder's tokenizer puts nothing between the two texts of a pair",
            expected="a text that stands between them, so that the encoder can tell them apart",
            fix=(
                "encoder.pair_separator='\\n' for a line break, from training on    or embed the "
                "two texts apart: pairs=separate"
            ),
        )
    encoded = tokenizer(
        list(texts), None if pairs is None else list(pairs), truncation=True, max_length=limit
    )
    columns = {name: encoded[name] for name in tokenizer.model_input_names if name in encoded}
    return columns, [bool(encoding.overflowing) for encoding in encoded.encodings]


def _joined(
    tokenizer: Any, texts: Sequence[str], pairs: Sequence[str], limit: int, separator: str
) -> tuple[dict[str, list[list[int]]], list[bool]]:
    """Return the same of pairs that a separator joins into one text each."""
    if tokenizer(f"a{separator}a").input_ids in [tokenizer(two).input_ids for two in ("aa", "a a")]:
        raise UsageError(
            f"encoder.pair_separator={separator!r} is no more than a space to the tokenizer",
            expected="a text that the encoder can tell from words that follow each other",
            fix="encoder.pair_separator=' | '",
        )
    rows = zip(texts, pairs, strict=True)
    encoded = tokenizer([f"{text}{separator}{pair}" for text, pair in rows], verbose=False)
    kept = [
        _kept(encoding, len(text), len(text) + len(separator), limit)
        for encoding, text in zip(encoded.encodings, texts, strict=True)
    ]
    columns = {
        name: [
            [ids[place] for place in places]
            for ids, places in zip(encoded[name], kept, strict=True)
        ]
        for name in tokenizer.model_input_names
        if name in encoded
    }
    whole = map(len, encoded.encodings)
    return columns, [len(places) < length for places, length in zip(kept, whole, strict=True)]


def _kept(encoding: Any, first_end: int, second_start: int, limit: int) -> Sequence[int]:
    """Return the places of the tokens that stay: both texts lose their ends, the longer one first.

    Args:
        encoding: tokens of a pair that is one text, with the characters that each stands for.
        first_end: where the first text ends.
        second_start: where the second text starts; between them is the separator.
        limit: tokens that may stay. Special tokens and those of the separator do, also where such a
            token contains an end of a text.
    """
    if len(encoding) <= limit:
        return range(len(encoding))
    spans = list(enumerate(encoding.offsets))
    special = {place for place, flag in enumerate(encoding.special_tokens_mask) if flag}
    first = [place for place, (_, end) in spans if end <= first_end and place not in special]
    second = [
        place for place, (start, _) in spans if start >= second_start and place not in special
    ]
    added = len(encoding) - len(first) - len(second)
    room = limit - added
    if room < 2:
        raise _no_room(limit, "the tokenizer and the separator add", added, pairs=True)
    shorter = min(len(first), len(second), room // 2)
    counts = (shorter, room - shorter)
    ends = counts if len(first) <= len(second) else counts[::-1]
    dropped = {*first[ends[0] :], *second[ends[1] :]}
    return [place for place in range(len(encoding)) if place not in dropped]


def _marks_pairs(tokenizer: Any) -> bool:
    """Return whether the tokenizer puts a special token between the two texts of a pair."""
    (encoding,) = tokenizer("a", "a").encodings
    texts = encoding.sequence_ids
    return texts[texts.index(1) - 1] is None


def _no_room(limit: int, who_adds: str, added: int, pairs: bool) -> UsageError:
    least = added + (2 if pairs else 1)
    return UsageError(
        f"max_length_tokens={limit} leaves no room for text: {who_adds} {added} tokens",
        expected=f"at least {least} for {'pairs' if pairs else 'single texts'}",
        fix="max_length_tokens=128",
    )


def budget_batches(
    tokens: Tokens | PairTokens, budget_tokens: int, labels: np.ndarray | None = None
) -> Iterator[Batch]:
    """Yield all rows, longest first, in batches of at most `budget_tokens` tokens with padding.

    A longer row is a batch of its own.
    """
    lengths = tokens.lengths * tokens.texts_per_row
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        rows = max(1, budget_tokens // int(lengths[order[start]]))
        yield tokens.batch(order[start : start + rows], labels)
        start += rows


def epoch_batches(
    tokens: Tokens | PairTokens, labels: np.ndarray, *, batch_size: int, seed: int, epoch: int
) -> list[Batch]:
    """Return one epoch's batches: a shuffle from (seed, epoch), grouped by length.

    Rows are grouped by `length_groups`; the order of the batches is shuffled again.
    """
    rng = np.random.default_rng([seed, epoch])
    groups = length_groups(tokens.lengths, rng.permutation(len(tokens)), batch_size)
    return [tokens.batch(groups[index], labels) for index in rng.permutation(len(groups))]
