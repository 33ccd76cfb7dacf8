"""Rows chosen while loading: missing splits, and samples of train."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prefixbank.config.schema import TaskConfig
from prefixbank.data.tasks.load import load_task
from prefixbank.data.tasks.splits import hold_out, sample, strata_of
from prefixbank.data.tasks.task import Examples, Task
from prefixbank.errors import DataError
from tests.data.tables import rows, write_folder

LABELS = [0] * 60 + [1] * 40
HEADERS: dict[str, dict[str, Any]] = {
    "classification": {"kind": "classification", "labels": ["no", "yes"], "metric": "accuracy"},
    "regression": {"kind": "regression", "metric": "pearson"},
    "multilabel": {"kind": "multilabel", "labels": ["a", "b", "c"], "metric": "macro_f1"},
}


def load(
    folder: Path, header: str = "classification", max_rows: int = 0, **splits: dict[str, list[Any]]
) -> Task:
    return load_task(
        TaskConfig(path=str(write_folder(folder, HEADERS[header], **splits)), max_rows=max_rows)
    )


def counts(examples: Examples) -> dict[int, int]:
    return dict(Counter(examples.labels.tolist()))


def test_missing_splits_take_a_tenth_and_a_fifth_of_each_class(tmp_path: Path):
    task = load(tmp_path, train=rows(LABELS))
    assert (counts(task.validation), counts(task.test), counts(task.train)) == (
        {0: 6, 1: 4},
        {0: 12, 1: 8},
        {0: 42, 1: 28},
    )


def test_missing_splits_divide_train_without_loss(tmp_path: Path):
    task = load(tmp_path, train=rows(LABELS))
    assert sorted(task.train.texts + task.validation.texts + task.test.texts) == sorted(
        rows(LABELS)["text"]
    )


def test_missing_splits_are_said_in_notes(tmp_path: Path):
    assert load(tmp_path, train=rows(LABELS)).notes == (
        "test: 20 of 100 train rows (seed 0, stratified), as no test split is given",
        "validation: 10 of 100 train rows (seed 0, stratified), as no validation split is given",
    )


@pytest.mark.parametrize("given", ["validation", "test"])
def test_split_that_is_there_is_kept(tmp_path: Path, given: str):
    task = load(tmp_path, train=rows(LABELS), **{given: rows([1, 0], word="kept")})
    assert task.split(given).texts == ("kept 0", "kept 1")


def test_missing_splits_are_the_same_each_time(tmp_path: Path):
    assert (
        load(tmp_path / "a", train=rows(LABELS)).digest()
        == load(tmp_path / "b", train=rows(LABELS)).digest()
    )


def test_missing_splits_keep_the_order_of_rows(tmp_path: Path):
    numbers = [int(text.split()[1]) for text in load(tmp_path, train=rows(LABELS)).test.texts]
    assert numbers == sorted(numbers)


def test_rare_class_gives_one_row_to_each_missing_split(tmp_path: Path):
    task = load(tmp_path, train=rows([0] * 97 + [1] * 3))
    assert [counts(task.split(name))[1] for name in ("train", "validation", "test")] == [1, 1, 1]


def test_class_of_one_row_stays_in_train(tmp_path: Path):
    task = load(tmp_path, train=rows([0] * 20 + [1]))
    assert [counts(task.split(name)).get(1, 0) for name in ("train", "validation", "test")] == [
        1,
        0,
        0,
    ]


def test_missing_split_spans_the_range_of_a_regression(tmp_path: Path):
    task = load(
        tmp_path,
        "regression",
        train=rows([float(value) for value in np.random.RandomState(0).permutation(200)]),
    )
    assert np.bincount((task.test.labels // 20).astype(int)).tolist() == [4] * 10


def test_missing_split_has_the_rarest_label_of_a_multilabel_task(tmp_path: Path):
    task = load(
        tmp_path,
        "multilabel",
        train=rows([["a"], ["a", "b"], [], ["a"], []] * 19 + [["a", "c"]] * 3),
    )
    assert [
        int(task.split(name).labels[:, 2].sum()) for name in ("train", "validation", "test")
    ] == [1, 1, 1]


def test_train_too_small_to_split_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="2 train rows are too few for a test") as caught:
        load(tmp_path, train=rows([0, 1]))
    assert "task.kind=regression task.metric=pearson" in caught.value.fix


def test_max_rows_samples_train_in_proportion(tmp_path: Path):
    validation, test = rows([0], word="other"), rows([1], word="last")
    task = load(tmp_path, max_rows=10, train=rows(LABELS), validation=validation, test=test)
    assert (counts(task.train), task.notes) == (
        {0: 6, 1: 4},
        ("train: 10 of 100 rows (max_rows, seed 0, stratified)",),
    )


def test_max_rows_leaves_the_other_splits_as_they_are(tmp_path: Path):
    whole, sampled = (
        load(tmp_path, train=rows(LABELS)),
        load(tmp_path, max_rows=10, train=rows(LABELS)),
    )
    assert sampled.digest("validation", "test") == whole.digest("validation", "test")


def test_max_rows_above_the_number_of_rows_changes_nothing(tmp_path: Path):
    whole, same = (
        load(tmp_path, train=rows(LABELS)),
        load(tmp_path, max_rows=70, train=rows(LABELS)),
    )
    assert (same.digest(), same.notes) == (whole.digest(), whole.notes)


def test_max_rows_of_a_starter_task_is_a_sample():
    assert len(load_task(TaskConfig(name="topic", source="starter", max_rows=50)).train) == 50


def test_max_rows_too_few_for_two_labels_is_refused(tmp_path: Path):
    with pytest.raises(DataError) as caught:
        load(tmp_path, max_rows=1, train=rows(LABELS))
    assert caught.value.fix == "raise task.max_rows"


def test_label_that_train_lacks_is_said_in_notes(tmp_path: Path):
    header = {"kind": "classification", "labels": ["no", "yes", "maybe"], "metric": "accuracy"}
    validation, test = rows([0], word="other"), rows([2], word="last")
    write_folder(tmp_path, header, train=rows([0, 1]), validation=validation, test=test)
    assert load_task(TaskConfig(path=str(tmp_path))).notes == ("train: no row has the label maybe",)


@pytest.mark.parametrize("size", [1, 3, 7, 50, 99, 100, 500])
def test_sample_has_the_size_asked_for(size: int):
    strata = np.array([0] * 90 + [1] * 8 + [2] * 2)
    assert len(set(sample(strata, size).tolist())) == min(size, 100)


@pytest.mark.parametrize("size", [3, 7, 50])
def test_sample_represents_every_stratum_when_it_can(size: int):
    strata = np.array([0] * 90 + [1] * 8 + [2] * 2)
    assert set(strata[sample(strata, size)].tolist()) == {0, 1, 2}


def test_sample_prefers_the_large_strata_when_it_must():
    strata = np.array([2] * 2 + [0] * 90 + [1] * 8)
    assert sorted(strata[sample(strata, 2)].tolist()) == [0, 1]


def test_hold_out_shares_by_largest_remainders():
    strata = np.repeat([0, 1, 2], [45, 33, 22])
    assert np.bincount(strata[hold_out(strata, 0.1)]).tolist() == [5, 3, 2]


def test_hold_out_takes_one_row_of_every_stratum_that_has_two():
    strata = np.array([0, 0, 1, 1, 2, 2, 3, 3, 4])
    assert strata[hold_out(strata, 0.1)].tolist() == [0, 1, 2, 3]


def test_hold_out_is_not_the_first_rows():
    assert hold_out(np.zeros(1000, dtype=np.int64), 0.1).max() > 900


def test_strata_of_few_regression_targets_hold_ten_rows():
    assert np.bincount(strata_of(np.arange(30.0), "regression")).tolist() == [10, 10, 10]


def test_strata_of_equal_regression_targets_stay_balanced():
    assert np.bincount(strata_of(np.zeros(100), "regression")).tolist() == [10] * 10


def test_strata_of_a_multilabel_row_is_its_rarest_label():
    labels = np.array([[1, 1, 0], [1, 0, 1], [1, 0, 1], [0, 0, 0]], dtype=np.uint8)
    assert strata_of(labels, "multilabel").tolist() == [1, 2, 2, 3]
