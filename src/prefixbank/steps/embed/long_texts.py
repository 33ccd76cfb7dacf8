"""Refuse texts of more tokens than the encoder reads at once, where `long=error` says so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from prefixbank.config.schema import EmbedRecipe
from prefixbank.data.corpus.texts import Texts
from prefixbank.data.encoders.files import EncoderFiles
from prefixbank.data.encoders.long_texts import token_counts
from prefixbank.errors import DataError, raise_faults

SHOWN = 3


def refuse_long(
    recipe: EmbedRecipe, tokenizer: Any, files: EncoderFiles, texts: Mapping[str, Iterable[Texts]]
) -> None:
    """Refuse texts that are too long; without effect unless `recipe.long` is `error`.

    Args:
        recipe: settings of embedding.
        tokenizer: that of the encoder.
        files: the encoder.
        texts: what errors call some texts, to these, which are read piece by piece.

    Raises:
        DataError: the first rows that are too long, with their numbers of tokens.
        Faults: this of several texts.
    """
    if recipe.long != "error":
        return
    faults = []
    for where, pieces in texts.items():
        count, first = _long_rows(recipe, tokenizer, files.origin.pair_separator, pieces)
        if count:
            faults.append(_fault(where, count, first, recipe.max_length_tokens))
    raise_faults(faults)


def _long_rows(
    recipe: EmbedRecipe, tokenizer: Any, separator: str, pieces: Iterable[Texts]
) -> tuple[int, list[str]]:
    """Return how many rows are too long, and the first of them with their tokens."""
    count = 0
    first: list[str] = []
    for rows in pieces:
        tokens = _tokens_of(recipe, tokenizer, separator, rows)
        long = np.flatnonzero(tokens > recipe.max_length_tokens)
        count += len(long)
        first += [
            f"row {rows.numbers[row] + 1} ({tokens[row]} tokens)"
            for row in long[: SHOWN - len(first)]
        ]
    return count, first


def _tokens_of(recipe: EmbedRecipe, tokenizer: Any, separator: str, rows: Texts) -> np.ndarray:
    """Return the tokens of each row, int64 [N]: of the longest of its inputs if it has several."""
    counts = []
    if rows.pairs is None or recipe.pairs != "separate":
        counts.append(token_counts(tokenizer, rows.texts, rows.pairs, separator))
    if rows.pairs is not None and recipe.pairs != "joint":
        counts += [token_counts(tokenizer, one, None, "") for one in (rows.texts, rows.pairs)]
    most: np.ndarray = np.max(counts, axis=0)
    return most


def _fault(where: str, count: int, first: list[str], limit: int) -> DataError:
    more = ", ..." if count > len(first) else ""
    rows = "1 row is" if count == 1 else f"{count} rows are"
    return DataError(
        f"{where}: {rows} too long: {', '.join(first)}{more}",
        expected=f"at most max_length_tokens={limit}, special tokens included, with long=error",
        fix="long=windows    or long=truncate, or a larger max_length_tokens",
    )
