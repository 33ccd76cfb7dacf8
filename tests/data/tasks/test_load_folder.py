"""Tasks read from task folders, and from a folder of task folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prefixbank.config.schema import ColumnNames, TaskConfig
from prefixbank.data.starter.suite import starter_task
from prefixbank.data.tasks.load import load_task
from prefixbank.errors import DataError, Faults, PrefixbankError
from tests.data.tables import rows, write_folder

SPLITS = {"train": rows([0, 1, 1]), "validation": rows([1], word="v"), "test": rows([0], word="t")}


def error_of(**settings: Any) -> str:
    with pytest.raises(PrefixbankError) as caught:
        load_task(TaskConfig(**settings))
    return str(caught.value)


def test_folder_gives_name_labels_metric_and_splits(tmp_path: Path):
    task = load_task(TaskConfig(path=str(write_folder(tmp_path / "mood", **SPLITS))))
    assert (task.name, task.labels, task.metric) == ("mood", ("no", "yes"), "accuracy")
    assert task.train.texts == ("text 0", "text 1", "text 2")
    assert (task.validation.texts, task.test.texts, task.notes) == (("v 0",), ("t 0",), ())


def test_folder_reads_pairs_and_ignores_further_columns(tmp_path: Path):
    split = rows([0, 1], text_pair=["x", "y"], origin=[1, 2])
    train = load_task(
        TaskConfig(path=str(write_folder(tmp_path, train=split, validation=split, test=split)))
    ).train
    assert (train.texts, train.pairs) == (("text 0", "text 1"), ("x", "y"))


def test_folder_needs_pairs_in_every_split_when_train_has_them(tmp_path: Path):
    write_folder(tmp_path, **(SPLITS | {"train": rows([0, 1], text_pair=["x", "y"])}))
    with pytest.raises(Faults) as caught:
        load_task(TaskConfig(path=str(tmp_path)))
    assert [
        fault.what.endswith("has no column 'text_pair'; did you mean 'text'?")
        for fault in caught.value.faults
    ] == [True, True]


def test_folder_decides_and_says_so_when_the_configuration_differs(tmp_path: Path):
    write_folder(tmp_path, **SPLITS)
    task = load_task(
        TaskConfig(path=str(tmp_path), metric="macro_f1", columns=ColumnNames(text="body"))
    )
    assert (task.metric, task.notes) == (
        "accuracy",
        (
            "metric: accuracy, from task.json (the configuration has macro_f1)",
            "task.columns: ignored, a task folder has fixed names",
        ),
    )


def test_missing_folder_is_answered_with_a_near_name(tmp_path: Path):
    (tmp_path / "mood").mkdir()
    assert "did you mean 'mood'?" in error_of(path=str(tmp_path / "moood"))


def test_task_without_path_is_refused():
    assert "task 'mood' has no task.path" in error_of(name="mood")


def test_task_without_name_is_refused():
    assert "no task is named" in error_of()


def test_missing_header_and_missing_train_come_together(tmp_path: Path):
    with pytest.raises(Faults) as caught:
        load_task(TaskConfig(path=str(tmp_path)))
    assert [fault.what.rpartition("/")[2] for fault in caught.value.faults] == [
        "task.json'",
        "train.parquet'",
    ]


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("{oops", "task.json' is not JSON: Expecting property name"),
        ("[]", "task.json' holds a list"),
        (
            {"kind": "klassification", "metric": "accuracy"},
            "unknown kind 'klassification'; did you mean 'classification'?",
        ),
        (
            {"kind": "classification", "metric": "accuracyy"},
            "unknown metric 'accuracyy'; did you mean 'accuracy'?",
        ),
        ({"kind": "classification"}, 'has no "metric"'),
        ({"metric": "accuracy"}, 'has no "kind"'),
        ({"kind": ["classification"], "metric": "accuracy"}, "unknown kind ['classification']"),
        ({"kind": "classification", "metric": "accuracy", "labels": [0, 1]}, "labels are [0, 1]"),
        ({"kind": "classification", "metric": "accuracy", "labels": "no"}, "labels are 'no'"),
        ({"kind": "classification", "metric": "accuracy", "labels": ["no"]}, "has 1 label: no"),
        (
            {"kind": "classification", "metric": "pearson", "labels": ["no", "yes"]},
            "metric pearson does not fit a classification",
        ),
    ],
    ids=str,
)
def test_wrong_header_is_named(tmp_path: Path, header: Any, said: str):
    write_folder(tmp_path, header, **SPLITS)
    assert said in error_of(path=str(tmp_path))


def test_data_root_holds_whatever_the_source(tmp_path: Path):
    write_folder(tmp_path / "sst2", **SPLITS)
    config = TaskConfig(
        name="sst2",
        source="hub",
        hub_id="nyu-mll/glue",
        hub_config="sst2",
        columns=ColumnNames(text="sentence"),
    )
    task = load_task(config, data_root=str(tmp_path))
    assert (task.train.texts, task.notes) == (("text 0", "text 1", "text 2"), ())


def test_data_root_without_the_task_names_near_ones(tmp_path: Path):
    (tmp_path / "sst2").mkdir()
    with pytest.raises(DataError, match="holds: sst2; did you mean 'sst2'") as caught:
        load_task(TaskConfig(name="stt2", source="starter"), data_root=str(tmp_path))
    assert "no task folder" in caught.value.what


def test_data_root_that_is_missing_is_named(tmp_path: Path):
    with pytest.raises(DataError, match="no folder '.*nowhere'"):
        load_task(TaskConfig(name="sst2"), data_root=str(tmp_path / "nowhere"))


def test_starter_task_is_returned_as_it_is():
    assert (
        load_task(TaskConfig(name="polarity", source="starter")).digest()
        == starter_task("polarity").digest()
    )


def test_task_under_a_root_is_loaded_again_as_it_was(tmp_path: Path):
    split = rows([0, 1, 1, 0])
    split["text"][2] = ""
    write_folder(tmp_path / "mood", train=split, validation=split, test=split)
    task = load_task(TaskConfig(name="mood", missing="drop"), data_root=str(tmp_path))
    assert task.origin is not None
    assert load_task(task.origin).train.texts == task.train.texts == ("text 0", "text 1", "text 3")
