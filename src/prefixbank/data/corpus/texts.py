"""Texts without labels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from prefixbank.data.tasks.task import Examples
from prefixbank.store.reasons import Described


def is_empty(text: str | None) -> bool:
    """Return whether a text is missing or has no visible character."""
    return not text or text.isspace()


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Rows to embed.

    Args:
        texts: N texts.
        pairs: N second texts, for joint reading with the first; None for single texts.
        ids: N names of the rows; None: their numbers, from `first_row` on.
        first_row: number of the first row in the whole corpus.
        row_numbers: N numbers in the whole corpus, ascending, if rows between them are left out.
        words: where they come from, for the reasons of misses.
    """

    texts: tuple[str, ...]
    pairs: tuple[str, ...] | None = None
    ids: tuple[str, ...] | None = None
    first_row: int = 0
    row_numbers: tuple[int, ...] | None = None
    words: Described | None = None

    def __len__(self) -> int:
        """Return N."""
        return len(self.texts)

    @property
    def numbers(self) -> np.ndarray:
        """The numbers of the rows, int64 [N]."""
        if self.row_numbers is not None:
            return np.array(self.row_numbers, dtype=np.int64)
        return np.arange(self.first_row, self.first_row + len(self), dtype=np.int64)

    def empty(self) -> np.ndarray:
        """Return whether a text of each row is empty, bool [N]."""
        columns = (self.texts,) if self.pairs is None else (self.texts, self.pairs)
        rows = zip(*columns, strict=True)
        return np.array([any(map(is_empty, row)) for row in rows], dtype=bool)

    def take(self, rows: np.ndarray) -> Texts:
        """Return the texts of rows with these indices, without ids and numbers."""
        picked = rows.tolist()
        pairs = None if self.pairs is None else tuple(self.pairs[row] for row in picked)
        return Texts(texts=tuple(self.texts[row] for row in picked), pairs=pairs)

    def digest(self) -> str:
        """Return the SHA-256 (64 hexadecimal digits) of texts, pairs, names and numbers."""
        columns = [Examples(texts=self.texts, pairs=self.pairs, labels=self.numbers)]
        if self.ids is not None:
            columns.append(Examples(texts=self.ids, pairs=None, labels=self.numbers))
        return hashlib.sha256(
            "".join(column.digest() for column in columns).encode("ascii")
        ).hexdigest()

    def part(self, start: int, stop: int) -> Texts:
        """Return rows start..stop-1 with their numbers."""
        cut = slice(start, stop)
        return Texts(
            texts=self.texts[cut],
            pairs=None if self.pairs is None else self.pairs[cut],
            ids=None if self.ids is None else self.ids[cut],
            first_row=self.first_row + start,
            row_numbers=None if self.row_numbers is None else self.row_numbers[cut],
        )
