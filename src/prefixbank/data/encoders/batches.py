"""Tokenisation and batching: from texts to padded token ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from prefixbank.core.shapes import Batch
from prefixbank.core.training.sampling import length_groups
from prefixbank.errors import UsageError


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
    tokenizer: Any, texts: Sequence[str], pairs: Sequence[str] | None, max_length_tokens: int
) -> Tokens:
    """Turn texts, or pairs for joint reading, into at most `max_length_tokens` token ids each.

    The longer text of a pair is cut first.

    Raises:
        UsageError: beside special tokens, the limit leaves less than one token for each text.
    """
    special, parts = (
        tokenizer.num_special_tokens_to_add(pair=pairs is not None),
        1 if pairs is None else 2,
    )
    if max_length_tokens < special + parts:
        raise UsageError(
            f"max_length_tokens={max_length_tokens} leaves no room for text: the tokenizer adds "
            f"{special} tokens",
            expected=(
                f"at least {special + parts} for {'single texts' if pairs is None else 'pairs'}"
            ),
            fix="max_length_tokens=128",
        )
    encoded = tokenizer(
        list(texts),
        None if pairs is None else list(pairs),
        truncation=True,
        max_length=max_length_tokens,
    )
    columns = {name: encoded[name] for name in tokenizer.model_input_names if name in encoded}
    columns.setdefault("attention_mask", [[1] * len(ids) for ids in columns["input_ids"]])
    cut = np.array([bool(encoding.overflowing) for encoding in encoded.encodings], dtype=bool)
    lengths = np.array([len(ids) for ids in columns["input_ids"]], dtype=np.int64)
    return Tokens(columns=columns, lengths=lengths, cut=cut, pad_id=tokenizer.pad_token_id)


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
