"""Rows that splits of a task share, which make a score too good."""

from __future__ import annotations

from itertools import combinations

from prefixbank.data.tasks.task import SPLITS, Examples, Task


def overlap_notes(task: Task) -> tuple[str, ...]:
    """Return a note for each two splits that share rows: the same text, or the same two texts.

    Labels do not count: a text with another label is known from train all the same.
    """
    notes = []
    for earlier, later in combinations(SPLITS, 2):
        known = set(_texts(task.split(earlier)))
        rows = _texts(task.split(later))
        if shared := sum(row in known for row in rows):
            what = "texts" if task.train.pairs is None else "pairs of texts"
            notes.append(f"{later}: {shared} of {len(rows)} rows have {what} of {earlier} rows")
    return tuple(notes)


def _texts(rows: Examples) -> list[tuple[str, ...]]:
    """Return the text, or both texts, of each row."""
    columns = (rows.texts,) if rows.pairs is None else (rows.texts, rows.pairs)
    return list(zip(*columns, strict=True))
