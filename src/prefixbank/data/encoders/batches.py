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

    def batch(self, rows: np.ndarray, labels: np.ndarray | None = None) -> Batch:
        """Return some rows, padded to the longest of them, with their labels."""
        width = int(self.lengths[rows].max())
        inputs = {name: self._padded(name, rows, width) for name in self.columns}
        return Batch(
            rows=rows, inputs=inputs, labels=None if labels is None else _label_tensor(labels[rows])
        )

    def _padded(self, name: str, rows: np.ndarray, width: int) -> torch.Tensor:
        filler = self.pad_id if name == "input_ids" else 0
        out = np.full((len(rows), width), filler, dtype=np.int64)
        for index, row in enumerate(rows):
            ids = self.columns[name][row]
            out[index, : len(ids)] = ids
        return torch.from_numpy(out)


def _label_tensor(labels: np.ndarray) -> torch.Tensor:
    """Return labels as a tensor: classes as int64, values and flags as float32."""
    return (
        torch.from_numpy(labels)
        if labels.dtype == np.int64
        else torch.from_numpy(labels.astype(np.float32))
    )


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
    tokens: Tokens, budget_tokens: int, labels: np.ndarray | None = None
) -> Iterator[Batch]:
    """Yield all rows, longest first, in batches of at most `budget_tokens` tokens with padding.

    A longer row is a batch of its own.
    """
    order = np.argsort(-tokens.lengths, kind="stable")
    start = 0
    while start < len(order):
        rows = max(1, budget_tokens // int(tokens.lengths[order[start]]))
        yield tokens.batch(order[start : start + rows], labels)
        start += rows


def epoch_batches(
    tokens: Tokens, labels: np.ndarray, *, batch_size: int, seed: int, epoch: int
) -> list[Batch]:
    """Return one epoch's batches: a shuffle from (seed, epoch), grouped by length.

    Rows are grouped by `length_groups`; the order of the batches is shuffled again.
    """
    rng = np.random.default_rng([seed, epoch])
    groups = length_groups(tokens.lengths, rng.permutation(len(tokens)), batch_size)
    return [tokens.batch(groups[index], labels) for index in rng.permutation(len(groups))]
