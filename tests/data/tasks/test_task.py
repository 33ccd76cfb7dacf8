"""Examples and tasks: row selection and digests."""

from __future__ import annotations

import dataclasses
import hashlib
import struct
from typing import Any

import numpy as np
import pytest

from prefixbank.data.tasks.task import Examples, Task
from prefixbank.errors import DataError, UsageError


def examples(
    texts: tuple[str, ...] = ("a", "é"), pairs: tuple[str, ...] | None = None, labels: Any = (0, 1)
) -> Examples:
    return Examples(texts=texts, pairs=pairs, labels=np.asarray(labels))


def task(**changes: Any) -> Task:
    split = examples()
    fields: dict[str, Any] = {
        "name": "t",
        "kind": "classification",
        "metric": "accuracy",
        "labels": ("no", "yes"),
    }
    return Task(**(fields | {"train": split, "validation": split, "test": split} | changes))


def test_examples_digest_equals_the_documented_bytes():
    expected = b"prefixbank.examples.1\n"
    expected += b"\x01" + struct.pack("<QQQ", 2, 1, 2) + b"a" + "é".encode()
    expected += b"\x00"
    expected += b"<i8" + b"\x01" + struct.pack("<Q", 2) + struct.pack("<qq", 0, 1)
    assert examples().digest() == hashlib.sha256(expected).hexdigest()


def test_examples_digest_equals_the_documented_bytes_when_multilabel_pairs():
    made = examples(pairs=("b", ""), labels=np.array([[1, 0, 1], [0, 0, 0]], dtype=np.uint8))
    expected = b"prefixbank.examples.1\n"
    expected += b"\x01" + struct.pack("<QQQ", 2, 1, 2) + b"a" + "é".encode()
    expected += b"\x01" + struct.pack("<QQQ", 2, 1, 0) + b"b"
    expected += b"|u1" + b"\x02" + struct.pack("<QQ", 2, 3) + bytes([1, 0, 1, 0, 0, 0])
    assert made.digest() == hashlib.sha256(expected).hexdigest()


@pytest.mark.parametrize(
    "other",
    [
        examples(texts=("aé", "")),
        examples(texts=("é", "a")),
        examples(labels=(1, 0)),
        examples(labels=(0.0, 1.0)),
        examples(pairs=("", "")),
        examples(texts=("a",), labels=(0,)),
    ],
    ids=["moved border", "row order", "labels", "label type", "pairs", "fewer rows"],
)
def test_examples_digest_changes_when_a_row_does(other: Examples):
    assert other.digest() != examples().digest()


def test_examples_digest_ignores_memory_layout():
    labels = np.array([[1, 0], [0, 1], [1, 1]], dtype=np.uint8)
    columns = np.asfortranarray(labels)
    texts = ("a", "b", "c")
    assert examples(texts, labels=columns).digest() == examples(texts, labels=labels).digest()


def test_examples_digest_ignores_the_sign_of_zero():
    assert examples(labels=(-0.0, 1.0)).digest() == examples(labels=(0.0, 1.0)).digest()


def test_take_returns_rows_in_the_order_asked_for():
    taken = examples(("a", "b", "c"), ("x", "y", "z"), (0, 1, 2)).take(np.array([2, 0]))
    assert (taken.texts, taken.pairs, taken.labels.tolist()) == (("c", "a"), ("z", "x"), [2, 0])


@pytest.mark.parametrize(
    "wrong",
    [{"labels": (0,)}, {"pairs": ("x",)}, {"pairs": ()}],
    ids=["labels", "pairs", "no pairs"],
)
def test_examples_refuses_columns_of_unequal_length(wrong: dict[str, Any]):
    with pytest.raises(DataError, match="examples have 2 texts"):
        examples(**wrong)


@pytest.mark.parametrize("dtype", [np.int32, np.float32, np.bool_])
def test_examples_refuses_labels_of_another_type(dtype: type[np.generic]):
    with pytest.raises(DataError, match="labels are"):
        examples(labels=np.array([0, 1], dtype=dtype))


def test_task_digest_ignores_name_and_notes():
    assert task(name="other", notes=("said",)).digest("train") == task().digest("train")


@pytest.mark.parametrize(
    "change", [{"metric": "macro_f1"}, {"labels": ("yes", "no")}, {"kind": "regression"}], ids=str
)
def test_task_digest_changes_with_what_the_labels_mean(change: dict[str, Any]):
    assert task(**change).digest("train") != task().digest("train")


@pytest.mark.parametrize(
    ("splits", "same"), [(("train", "validation"), True), (("test",), False), ((), False)], ids=str
)
def test_task_digest_reads_only_the_named_splits(splits: tuple[str, ...], same: bool):
    changed = dataclasses.replace(task(), test=examples(labels=(1, 1)))
    assert (changed.digest(*splits) == task().digest(*splits)) is same


def test_task_digest_ignores_the_order_of_split_names():
    assert task().digest("test", "train") == task().digest("train", "test")


def test_task_digest_tells_one_split_from_another_with_the_same_rows():
    assert task().digest("train") != task().digest("test")


def test_task_digest_names_an_unknown_split():
    with pytest.raises(UsageError, match="unknown split 'tset'; did you mean 'test'"):
        task().digest("tset")


@pytest.mark.parametrize(
    ("kind", "labels", "outputs"), [("classification", ("a", "b", "c"), 3), ("regression", (), 1)]
)
def test_num_outputs_is_one_for_a_regression(kind: str, labels: tuple[str, ...], outputs: int):
    assert task(kind=kind, labels=labels).num_outputs == outputs
