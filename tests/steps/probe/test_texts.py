"""The texts of a task as a probe embeds them: each distinct row once, whatever its split."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from prefixbank.artifacts.embeddings import write_part
from prefixbank.artifacts.json_files import write_json
from prefixbank.config.schema import EmbedRecipe
from prefixbank.data.tasks.task import SPLITS, Examples, Task
from prefixbank.errors import DataError
from prefixbank.steps.probe.texts import PART, probe_parts, read_splits

SPLIT_ROWS = {"train": (4, 1, 7, 0, 4), "validation": (2, 1), "test": (5, 6, 3)}
"""Which of eight rows is in which split: one is twice in train, one in two splits."""


def examples(rows: tuple[int, ...], *, paired: bool, label_of=lambda row: row % 2) -> Examples:
    return Examples(
        texts=tuple(f"text {row}" for row in rows),
        pairs=tuple(f"second {row // 2}" for row in rows) if paired else None,
        labels=np.array([label_of(row) for row in rows]),
    )


def task(*, paired: bool = False, **splits: tuple[int, ...]) -> Task:
    rows = splits or SPLIT_ROWS
    made = {name: examples(rows[name], paired=paired) for name in SPLITS}
    return Task(name="toy", kind="classification", metric="accuracy", labels=("no", "yes"), **made)


def publish(put, parts: dict) -> list:
    """Publish vectors of parts in two artifacts; a vector is the length of each of its words."""

    def vectors(rows, shift: int) -> np.ndarray:
        seconds = rows.pairs or [""] * len(rows)
        numbers = [
            [float(text.split()[-1]) + shift, len(second)]
            for text, second in zip(rows.texts, seconds, strict=True)
        ]
        return np.array(numbers, np.float32)

    def writer(shift: int):
        def write(out) -> None:
            for stem, rows in parts.items():
                found = vectors(rows, shift)
                write_part(
                    out / f"{stem}.parquet", pa.array(range(len(rows)), pa.int64()), found, 0
                )
            write_json(out / "embeddings.json", {"parts": list(parts)})

        return write

    return [put("embed", writer(shift), config={"shift": shift}) for shift in (0, 100)]


@pytest.mark.parametrize("paired", [False, True])
def test_each_distinct_row_is_embedded_once(paired: bool):
    (rows,) = probe_parts(task(paired=paired), SPLITS, EmbedRecipe()).values()
    pairs = rows.pairs or [None] * len(rows)
    found = sorted(zip(rows.texts, pairs, strict=True))
    seconds = [f"second {row // 2}" if paired else None for row in range(8)]
    assert found == [(f"text {row}", seconds[row]) for row in range(8)]


def test_rows_with_equal_first_texts_and_different_second_ones_are_different():
    one = examples((0, 0), paired=True)
    one = replace(one, pairs=("left", "right"))
    toy = replace(task(paired=True), train=one)
    (rows,) = probe_parts(toy, ("train",), EmbedRecipe()).values()
    assert sorted(rows.pairs or ()) == ["left", "right"]


def test_texts_are_the_same_whatever_the_splits_and_labels():
    other = task(train=(0, 1, 2, 3, 4), validation=(5, 6), test=(7,))
    opposite = replace(
        other, train=examples((0, 1, 2, 3, 4), paired=False, label_of=lambda row: row // 4)
    )
    digests = {
        probe_parts(one, SPLITS, EmbedRecipe())[PART].digest() for one in (task(), other, opposite)
    }
    assert len(digests) == 1
    without_one = task(train=(0, 1, 2, 3, 4), validation=(5, 6), test=(6,))
    assert probe_parts(without_one, SPLITS, EmbedRecipe())[PART].digest() not in digests


@pytest.mark.parametrize("vectors", ["float32", "binary"])
@pytest.mark.parametrize("splits", [SPLITS, ("train", "validation")])
def test_rows_of_each_split_have_the_vectors_of_their_texts(put, vectors, splits):
    toy = task(paired=True)
    parts = probe_parts(toy, splits, EmbedRecipe(vectors=vectors))
    assert list(parts) == ([PART] if vectors == "float32" else list(splits))
    found = read_splits(publish(put, parts), toy, splits)
    assert list(found) == list(splits)
    for split in splits:
        length = len("second 0")
        wanted = [[row, length, row + 100, length] for row in SPLIT_ROWS[split]]
        assert np.array_equal(found[split], wanted)


def test_vectors_of_other_texts_are_refused(put):
    few = probe_parts(task(train=(0, 1), validation=(2,), test=(3,)), SPLITS, EmbedRecipe())
    with pytest.raises(DataError, match="4"):
        read_splits(publish(put, few), task(), SPLITS)
