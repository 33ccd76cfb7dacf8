"""Texts without labels: what embedding reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prefixbank.data.tasks import Examples


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Rows to embed.

    Args:
        texts: N texts.
        pairs: N second texts, read jointly with the first; None for single texts.
        ids: N names of the rows; None: their numbers from 0.
    """

    texts: tuple[str, ...]
    pairs: tuple[str, ...] | None = None
    ids: tuple[str, ...] | None = None

    def __len__(self) -> int:
        """Return N."""
        return len(self.texts)

    def digest(self) -> str:
        """Return the sha256 hex of the rows, names included."""
        numbers = np.arange(len(self.texts), dtype=np.int64)
        rows = Examples(texts=self.texts, pairs=self.pairs, labels=numbers)
        return (
            rows.digest()
            if self.ids is None
            else Examples(texts=(*self.ids, rows.digest()), pairs=None, labels=np.zeros(len(self.ids) + 1, np.int64)).digest()
        )

    def part(self, start: int, stop: int) -> Texts:
        """Return rows start..stop-1."""
        cut = slice(start, stop)
        return Texts(
            texts=self.texts[cut],
            pairs=None if self.pairs is None else self.pairs[cut],
            ids=tuple(str(row) for row in range(start, min(stop, len(self)))) if self.ids is None else self.ids[cut],
        )
