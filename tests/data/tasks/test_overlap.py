"""Rows that splits of a task share are said, and count whatever their labels are."""

from __future__ import annotations

from typing import Any

from prefixbank.data.tasks.memory import Rows, Task

LABELS = ["no", "yes"]


def overlaps(*rows: Any, **splits: Rows) -> list[str]:
    """The notes of a task that are about texts."""
    notes = Task.from_rows(*rows, **splits).notes
    return [note for note in notes if "texts of" in note]


def test_rows_that_are_in_two_splits_are_counted():
    assert overlaps(
        ["a", "b", "c"],
        ["no", "yes", "no"],
        validation=Rows(["d", "a"], LABELS),
        test=Rows(["b", "b", "d", "e"], LABELS * 2),
    ) == [
        "validation: 1 of 2 rows have texts of train rows",
        "test: 2 of 4 rows have texts of train rows",
        "test: 1 of 4 rows have texts of validation rows",
    ]


def test_pairs_are_shared_only_if_both_texts_are():
    assert overlaps(
        ["a", "b", "c"],
        ["no", "yes", "no"],
        ["x", "y", "z"],
        validation=Rows(["d", "e"], LABELS, ["x", "y"]),
        test=Rows(["a", "b"], LABELS, ["y", "y"]),
    ) == ["test: 1 of 2 rows have pairs of texts of train rows"]


def test_rows_of_a_split_that_is_cut_from_train_are_looked_at_too():
    notes = overlaps(["a", "a", "b", "b"] * 10, ["no", "no", "yes", "yes"] * 10)
    assert "test: 8 of 8 rows have texts of train rows" in notes


def test_rows_of_one_split_only_are_not_worth_a_note():
    assert (
        overlaps(
            ["a", "a", "b"],
            ["no", "no", "yes"],
            validation=Rows(["c", "d"], LABELS),
            test=Rows(["e", "f"], LABELS),
        )
        == []
    )
