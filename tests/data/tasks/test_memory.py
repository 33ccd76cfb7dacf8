"""Tasks from rows in memory: the same rows as in files, checked in the same way."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pytest

from prefixbank.config.schema import ColumnNames, SplitNames, TaskConfig
from prefixbank.data.tasks.load import load_task
from prefixbank.data.tasks.memory import Rows, Task
from prefixbank.errors import DataError, Faults, PrefixbankError

TEXTS = [f"text {row}" for row in range(40)]
NAMES = [("no", "yes", "maybe")[row % 3] for row in range(40)]
PAIRS = [f"second {row}" for row in range(40)]


def write_csv(path: Path, columns: dict[str, list[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def from_csv(folder: Path, columns: dict[str, list[Any]], **settings: Any) -> Any:
    write_csv(folder / "rows.csv", columns)
    names = ColumnNames(text_pair="text_pair" if "text_pair" in columns else "")
    splits = SplitNames(train="rows.csv", validation="", test="")
    config = TaskConfig(
        name="x", source="files", path=str(folder), splits=splits, columns=names, **settings
    )
    return load_task(config)


def test_rows_are_those_of_a_file_with_them_splits_included(tmp_path):
    filed = from_csv(tmp_path, {"text": TEXTS, "label": NAMES})
    task = Task.from_rows(TEXTS, NAMES)
    assert (task.digest(), task.labels, task.notes) == (filed.digest(), filed.labels, filed.notes)
    assert [len(task.split(name)) for name in ("train", "validation", "test")] == [28, 4, 8]


def test_pairs_are_those_of_a_file_with_them(tmp_path):
    filed = from_csv(tmp_path, {"text": TEXTS, "text_pair": PAIRS, "label": NAMES})
    assert Task.from_rows(TEXTS, NAMES, PAIRS).digest() == filed.digest()


def test_numbers_are_those_of_a_file_with_them(tmp_path):
    numbers = np.linspace(0, 5, 40)
    settings = {"kind": "regression", "metric": "spearman"}
    filed = from_csv(tmp_path, {"text": TEXTS, "label": numbers.tolist()}, **settings)
    assert Task.from_rows(TEXTS, numbers, **settings).digest() == filed.digest()


def test_sets_of_labels_are_those_of_a_file_with_them(tmp_path):
    sets = [["a"], ["a", "b"], [], ["b"]] * 10
    settings = {"kind": "multilabel", "metric": "macro_f1"}
    column = ["|".join(labels) for labels in sets]
    filed = from_csv(tmp_path, {"text": TEXTS, "label": column}, **settings)
    assert Task.from_rows(TEXTS, sets, **settings).digest() == filed.digest()


def test_label_names_give_indices_a_meaning():
    indices = [("no", "yes", "maybe").index(name) for name in NAMES]
    named = Task.from_rows(TEXTS, NAMES, label_names=("no", "yes", "maybe"))
    assert Task.from_rows(TEXTS, indices, label_names=("no", "yes", "maybe")).digest() == (
        named.digest()
    )


def test_given_splits_are_kept_as_they_are():
    test = Rows(["x", "y"], ["no", "yes"])
    validation = Rows(["u", "v", "w"], ["yes", "no", "yes"])
    task = Task.from_rows(TEXTS, NAMES, validation=validation, test=test)
    assert (task.train.texts, task.test.texts) == (tuple(TEXTS), ("x", "y"))
    assert task.validation.texts == ("u", "v", "w")


def test_task_in_memory_has_no_place_to_load_it_from_again():
    assert Task.from_rows(TEXTS, NAMES).origin is None


@pytest.mark.parametrize("kind", ["dict", "arrow", "datasets", "numpy"])
def test_table_of_any_library_is_the_same_task(kind):
    columns = {"body": TEXTS, "class": NAMES, "other": PAIRS, "unused": list(range(40))}
    table = {
        "dict": lambda: columns,
        "arrow": lambda: pa.table(columns),
        "datasets": lambda: datasets.Dataset.from_dict(columns),
        "numpy": lambda: {name: np.array(values) for name, values in columns.items()},
    }[kind]()
    task = Task.from_table(table, text="body", label="class", text_pair="other")
    assert task.digest() == Task.from_rows(TEXTS, NAMES, PAIRS).digest()


def test_data_frame_is_the_same_task():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"text": TEXTS, "label": NAMES}, index=range(100, 140))
    wanted = Task.from_rows(TEXTS, NAMES).digest()
    assert Task.from_table(frame).digest() == wanted
    frame["label"] = frame["label"].astype("category")
    assert Task.from_table(frame).digest() == wanted


def test_missing_value_of_a_data_frame_is_a_row_without_text():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"text": ["a", None, np.nan, "d"], "label": ["x", "y", "x", "y"]})
    with pytest.raises(DataError, match="train table: 2 rows without text in column 'text'"):
        Task.from_table(frame)


def test_declared_class_names_are_the_labels_in_their_order():
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["yes", "no"])}
    )
    table = datasets.Dataset.from_dict(
        {"text": TEXTS, "label": [row % 2 for row in range(40)]}, features=features
    )
    assert Task.from_table(table).labels == ("yes", "no")


def test_splits_of_a_table_may_be_tables():
    table = {"text": TEXTS, "label": NAMES}
    test = pa.table({"text": ["x", "y"], "label": ["no", "yes"]})
    assert Task.from_table(table, test=test).test.texts == ("x", "y")


def test_missing_column_is_named_with_those_there_are():
    with pytest.raises(DataError) as caught:
        Task.from_table({"texts": TEXTS, "label": NAMES})
    assert caught.value.what == "train table has no column 'text'; did you mean 'texts'?"
    assert "texts, label" in caught.value.expected and "set text=NAME" in caught.value.fix


@pytest.mark.parametrize(
    ("texts", "labels", "pairs", "what"),
    [
        ("a text", ["x"], None, "train rows: one text instead of a list of texts"),
        (["a", "b"], ["x"], None, "train rows: columns of different lengths: text 2, label 1"),
        (
            ["a", "b"],
            ["x", "y"],
            ["c"],
            "train rows: columns of different lengths: text 2, label 2, text_pair 1",
        ),
        ([], [], None, "train rows: no rows"),
        (["a", " "], ["x", "y"], None, "train rows: 1 row without text in column 'text': row 2"),
        (
            ["a", "b", "c"],
            ["x", None, "y"],
            None,
            "train rows: 1 row without label in column 'label': row 2",
        ),
        ([1, 2], ["x", "y"], None, "train rows: column 'text' holds int64"),
        (["a", "b"], ["x", 1], None, "train rows: column 'label' holds values of several types"),
    ],
)
def test_rows_that_cannot_be_used_are_refused(texts, labels, pairs, what):
    with pytest.raises(DataError) as caught:
        Task.from_rows(texts, labels, pairs)
    assert caught.value.what.startswith(what)


def test_all_faults_of_all_splits_come_together():
    with pytest.raises(Faults) as caught:
        Task.from_rows(["a", ""], ["x", "y"], test=Rows(["b", "c"], ["x", "z"]))
    assert [fault.what.split(":")[0] for fault in caught.value.faults] == [
        "train rows",
        "test rows",
    ]


def test_second_texts_are_in_every_split_or_in_none():
    with pytest.raises(DataError, match="test rows: no second texts, unlike the train rows"):
        Task.from_rows(TEXTS, NAMES, PAIRS, test=Rows(["a"], ["no"]))


def test_metric_has_to_fit():
    with pytest.raises(DataError, match="metric spearman does not fit a classification"):
        Task.from_rows(TEXTS, NAMES, metric="spearman")


@pytest.mark.parametrize("given", [set(TEXTS), iter(TEXTS), {"text": TEXTS}, None, 3, b"text"])
def test_values_without_order_or_rows_are_no_column(given):
    with pytest.raises(DataError, match="column 'text': a .* instead of a list"):
        Task.from_rows(given, NAMES)


@pytest.mark.parametrize(
    ("given", "fix"),
    [
        ([{"text": "a", "label": "x"}], "DataFrame"),
        ("rows.csv", "read_csv"),
        (None, "DataFrame"),
        (3, "DataFrame"),
        (
            datasets.DatasetDict(train=datasets.Dataset.from_dict({"text": TEXTS, "label": NAMES})),
            'data["train"]',
        ),
    ],
)
def test_what_is_no_table_is_refused_with_how_to_make_one(given, fix):
    with pytest.raises(DataError, match="train table: a .* instead of a table") as caught:
        Task.from_table(given)
    assert fix in caught.value.fix


def test_columns_of_a_dict_have_one_length():
    with pytest.raises(DataError, match="train table: columns of different lengths"):
        Task.from_table({"text": TEXTS, "label": NAMES[1:]})


def test_pairs_in_place_of_texts_are_refused_with_the_argument_for_them():
    with pytest.raises(DataError, match="a list in place of a text") as caught:
        Task.from_rows([TEXTS[0], *zip(TEXTS[1:], PAIRS[1:], strict=True)], NAMES)
    assert "text_pairs=" in caught.value.fix


def test_half_of_a_surrogate_pair_is_refused_with_its_row():
    with pytest.raises(DataError, match="half of a surrogate pair.*: row 2 "):
        Task.from_rows([TEXTS[0], "a\ud83d", *TEXTS[2:]], NAMES)


@pytest.mark.parametrize("rows", [TEXTS, "text", {"texts": TEXTS}])
def test_rows_of_a_split_are_texts_and_labels(rows):
    with pytest.raises(DataError, match="test rows: a .* instead of texts and labels"):
        Task.from_rows(TEXTS, NAMES, test=rows)


def test_task_is_shown_without_its_rows():
    shown = repr(Task.from_rows(TEXTS, NAMES))
    assert "train=Examples(28 rows)" in shown and TEXTS[0] not in shown


@pytest.mark.parametrize(
    ("argument", "suggestion"),
    [({"kind": "classify"}, "classification"), ({"metric": "macro_f2"}, "macro_f1")],
)
def test_unknown_kind_or_metric_is_refused_with_the_nearest_one(argument, suggestion):
    with pytest.raises(DataError, match=f"did you mean '{suggestion}'") as caught:
        Task.from_rows(TEXTS, NAMES, **argument)
    assert caught.value.expected.startswith("one of ")


def test_multilabel_rows_without_any_label_are_refused():
    with pytest.raises(DataError, match="no train row has a label"):
        Task.from_rows(TEXTS, [[] for _ in TEXTS], kind="multilabel", metric="macro_f1")


def test_rows_that_lack_something_are_dropped_if_asked():
    texts, labels = [*TEXTS, "", "z"], [*NAMES, "x", None]
    with pytest.raises(PrefixbankError, match="without text"):
        Task.from_rows(texts, labels)
    task = Task.from_rows(texts, labels, missing="drop")
    assert task.digest() == Task.from_rows(TEXTS, NAMES).digest()
    assert "train: 1 rows without text left out of 42" in task.notes
    table = {"text": texts, "label": labels}
    assert Task.from_table(table, missing="drop").digest() == task.digest()
