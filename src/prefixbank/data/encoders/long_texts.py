"""Texts of more tokens than the encoder reads at once: their lengths, and their windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prefixbank.data.encoders.batches import Tokens, pieces


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Windows of some texts.

    Args:
        tokens: of W windows, each with its special tokens.
        of_text: int64 [W], index of the text of each window, ascending.
    """

    tokens: Tokens
    of_text: np.ndarray


def further_windows(
    tokenizer: Any, texts: Sequence[str], max_length_tokens: int, overlap: float
) -> Iterator[Windows]:
    """Yield the windows of texts without the first of each, which is what `tokenize` leaves.

    The tokens of a text are split into windows of `max_length_tokens`, special tokens included, of
    which each repeats the end of the one before. The last one may be shorter.

    Args:
        tokenizer: a fast tokenizer.
        texts: [N] single texts.
        max_length_tokens: tokens in a window; `tokenize` has found that it leaves room for text.
        overlap: fraction of a window's tokens that the next one repeats, special tokens aside;
            rounded down to whole tokens.
    """
    room = max_length_tokens - tokenizer.num_special_tokens_to_add(pair=False)
    start = 0
    for piece, _ in pieces(texts, None):
        encoded = tokenizer(
            list(piece),
            truncation=True,
            max_length=max_length_tokens,
            stride=int(overlap * room),
            return_overflowing_tokens=True,
        )
        of_text = np.array(encoded["overflow_to_sample_mapping"], dtype=np.int64)
        further = np.flatnonzero(np.diff(of_text, prepend=-1) == 0)
        if len(further):
            names = [name for name in tokenizer.model_input_names if name in encoded]
            columns = {name: [encoded[name][window] for window in further] for name in names}
            yield Windows(
                tokens=Tokens.of(columns, np.zeros(len(further), dtype=bool), tokenizer),
                of_text=start + of_text[further],
            )
        start += len(piece)


def token_counts(
    tokenizer: Any, texts: Sequence[str], pairs: Sequence[str] | None, separator: str
) -> np.ndarray:
    """Return the tokens of each whole text, or pair that is read jointly, int64 [N].

    Special tokens are included.

    Args:
        tokenizer: a fast tokenizer.
        texts: [N] texts.
        pairs: [N] second texts; None for single texts.
        separator: as in `tokenize`.
    """
    counts: list[int] = []
    for piece, pair in pieces(texts, pairs):
        if pair is not None and separator:
            piece = [f"{one}{separator}{two}" for one, two in zip(piece, pair, strict=True)]
            pair = None
        encoded = tokenizer(list(piece), None if pair is None else list(pair), verbose=False)
        counts += map(len, encoded["input_ids"])
    return np.array(counts, dtype=np.int64)
