"""Tasks read from CSV, TSV, JSONL and Parquet files."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from prefixbank.config.schema import ColumnNames, FileSettings, SplitNames, TaskConfig
from prefixbank.data.file_format import format_of
from prefixbank.data.row_faults import RowFaults
from prefixbank.data.rows import read_rows
from prefixbank.data.tasks.load import load_task
from prefixbank.data.tasks.task import Task
from prefixbank.errors import DataError, Faults, PrefixbankError
from tests.data.tables import rows, write_lines


def load(folder: Path, train: str, **settings: Any) -> Task:
    """Load a task whose three splits are the same file."""
    return load_task(
        TaskConfig(
            source="files",
            path=str(folder),
            splits=SplitNames(train=train, validation=train, test=train),
            **settings,
        )
    )


def faults(folder: Path, train: str, **settings: Any) -> str:
    with pytest.raises(PrefixbankError) as caught:
        load_task(
            TaskConfig(
                source="files",
                path=str(folder),
                splits=SplitNames(train=train, validation="", test=""),
                **settings,
            )
        )
    return str(caught.value)


@pytest.mark.parametrize("source", ["folder", "files"])
def test_one_file_is_a_task_whose_rows_are_split(tmp_path: Path, source: str):
    lines = [f"text {number};{'xy'[number % 2]}" for number in range(40)]
    (tmp_path / "my tickets.csv.gz").write_bytes(
        gzip.compress("\n".join(["body;queue", *lines]).encode())
    )
    config = TaskConfig(
        source=source,
        path=str(tmp_path / "my tickets.csv.gz"),
        separator=";",
        columns=ColumnNames(text="body", label="queue"),
    )
    task = load_task(config)
    assert (task.name, task.labels) == ("my-tickets", ("x", "y"))
    assert len(task.train) + len(task.validation) + len(task.test) == 40
    assert len(task.validation) == 4 and len(task.test) == 8


def test_file_beside_named_splits_is_refused(tmp_path: Path):
    write_lines(tmp_path / "t.csv", "text,label", "a,x", "b,y")
    splits = SplitNames(train="train", validation="", test="other.csv")
    with pytest.raises(DataError, match="is a file, and task.splits names other.csv"):
        load_task(TaskConfig(source="files", path=str(tmp_path / "t.csv"), splits=splits))


@pytest.mark.parametrize(
    ("settings", "lines", "labels"),
    [
        ({}, ("a,b,x", " ,b,x", "c,d,", "e,,y", "f,g,y"), [0, 1]),
        (
            {"kind": "regression", "metric": "pearson"},
            ("a,b,1", ",b,1", "c,d,NaN", "e,,2", "f,g,3"),
            [1.0, 3.0],
        ),
    ],
    ids=["classification", "regression"],
)
def test_rows_that_lack_something_are_left_out_if_asked_and_counted(
    tmp_path: Path, settings: dict[str, Any], lines: tuple[str, ...], labels: list[float]
):
    write_lines(tmp_path / "t.csv", "text,more,label", *lines)
    columns = ColumnNames(text_pair="more")
    task = load(tmp_path, "t.csv", columns=columns, missing="drop", **settings)
    assert (task.train.texts, task.train.pairs) == (("a", "f"), ("b", "g"))
    assert task.train.labels.tolist() == labels
    for split in ("train", "validation", "test"):
        assert f"{split}: 2 rows without text left out of 5" in task.notes
        assert f"{split}: 1 rows without label left out of 3" in task.notes
    assert "task.missing=drop" in faults(tmp_path, "t.csv", columns=columns, **settings)


def test_rows_of_several_labels_that_lack_them_are_left_out_if_asked(tmp_path: Path):
    write_lines(tmp_path / "t.csv", "text,food,room", "x,1,0", "y,,1", "z,0,1", ",1,1", "v,0,0")
    columns = ColumnNames(labels=("food", "room"))
    task = load(tmp_path, "t.csv", columns=columns, missing="drop", **SETS)
    assert (task.train.texts, task.train.labels.tolist()) == (
        ("x", "z", "v"),
        [[1, 0], [0, 1], [0, 0]],
    )
    assert "without label in column 'food, room': row 2" in faults(
        tmp_path, "t.csv", columns=columns, **SETS
    )


def test_rows_keep_their_numbers_where_others_are_left_out(tmp_path: Path):
    write_lines(tmp_path / "t.csv", "text,label", ",x", "b,", "c,x", "d,z", "e,y")
    found = faults(tmp_path, "t.csv", missing="drop", labels=("x", "y"))
    assert "1 row with a label that is not listed in column 'label': row 4 'z'" in found


def test_text_that_is_not_utf8_is_named_also_where_rows_are_left_out(tmp_path: Path):
    bad = pa.array([b"a", b"\xff"], pa.binary()).view(pa.string())
    good = pa.array(["x", "y"])
    parquet.write_table(pa.table({"text": bad, "label": good}), tmp_path / "t.parquet")
    assert "1 row not UTF-8 in column 'text': row 2" in faults(
        tmp_path, "t.parquet", missing="drop"
    )
    parquet.write_table(pa.table({"text": good, "label": bad}), tmp_path / "l.parquet")
    assert "1 row not UTF-8 in column 'label': row 2" in faults(tmp_path, "l.parquet", **SETS)


def test_nothing_but_rows_that_lack_something_is_refused(tmp_path: Path):
    write_lines(tmp_path / "t.csv", "text,label", ",x", "b,")
    found = faults(tmp_path, "t.csv", missing="drop", labels=("x", "y"))
    assert "no row has both text and label" in found


def test_csv_keeps_label_strings_as_written(tmp_path: Path):
    write_lines(tmp_path / "t.csv", "text,label", "a,no", "b,012", "c,NA", "d,1.50", "e,true")
    assert load(tmp_path, "t.csv").labels == ("012", "1.50", "NA", "no", "true")


def test_name_of_a_task_is_like_that_of_its_folder(tmp_path: Path):
    folder = tmp_path / "mein t\u00e4sk (2)"
    folder.mkdir()
    write_lines(folder / "t.csv", "text,label", "a,x", "b,y")
    assert load(folder, "t.csv").name == "mein-t-sk-2"
    assert load(folder, "t.csv", name="tickets").name == "tickets"


def test_name_of_a_task_that_no_artifact_can_have_is_refused(tmp_path: Path):
    write_lines(tmp_path / "t.csv", "text,label", "a,x", "b,y")
    found = faults(tmp_path, "t.csv", name="a b")
    assert "task name 'a b' cannot be used" in found and "fix: task.name=a-b" in found


def test_csv_reads_quoted_commas_quotes_and_line_breaks(tmp_path: Path):
    write_lines(tmp_path / "t.csv", "label,text", '0,"a, ""b""\nc"', "1,d")
    assert load(tmp_path, "t.csv").train.texts == ('a, "b"\nc', "d")


def test_csv_reads_a_byte_order_mark_and_windows_line_ends(tmp_path: Path):
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbftext,label\r\na,x\r\nb,y\r\n")
    assert load(tmp_path, "t.csv").train.texts == ("a", "b")


def test_csv_reads_a_value_longer_than_a_megabyte(tmp_path: Path):
    write_lines(tmp_path / "t.csv", "text,label", '"' + "long text\n" * 400_000 + '",x', "b,y")
    assert len(load(tmp_path, "t.csv").train.texts[0]) == 4_000_000


def test_tsv_takes_quotation_marks_as_characters(tmp_path: Path):
    write_lines(tmp_path / "t.tsv", "text\tlabel", '"open\tx', 'close"\ty')
    assert load(tmp_path, "t.tsv").train.texts == ('"open', 'close"')


def test_jsonl_reads_the_named_columns(tmp_path: Path):
    write_lines(
        tmp_path / "t.jsonl",
        '{"a": "one\\u2028line", "b": "B", "c": "x", "d": [1]}',
        "",
        '{"a": "two", "b": "D", "c": "y"}',
    )
    train = load(tmp_path, "t.jsonl", columns=ColumnNames(text="a", text_pair="b", label="c")).train
    assert (train.texts, train.pairs, train.labels.tolist()) == (
        ("one\u2028line", "two"),
        ("B", "D"),
        [0, 1],
    )


def test_jsonl_keeps_dates_as_label_names(tmp_path: Path):
    write_lines(
        tmp_path / "t.jsonl",
        '{"text": "a", "label": "2020-01-01"}',
        '{"text": "b", "label": "2021-01-01"}',
    )
    assert load(tmp_path, "t.jsonl").labels == ("2020-01-01", "2021-01-01")


def test_parquet_reads_categorical_columns(tmp_path: Path):
    table = pa.table(
        {
            "text": pa.array(["a", "b", "a"]).dictionary_encode(),
            "label": pa.array(["y", "x", "x"]).dictionary_encode(),
        }
    )
    parquet.write_table(table, tmp_path / "t.parquet")
    train = load(tmp_path, "t.parquet").train
    assert (train.texts, train.labels.tolist()) == (("a", "b", "a"), [1, 0, 0])


def test_file_name_without_ending_finds_the_file(tmp_path: Path):
    write_lines(
        tmp_path / "train.jsonl", '{"text": "a", "label": "x"}', '{"text": "b", "label": "y"}'
    )
    assert load(tmp_path, "train").train.texts == ("a", "b")


def test_file_name_without_ending_finds_a_packed_file(tmp_path: Path):
    (tmp_path / "train.csv.gz").write_bytes(gzip.compress(b"text,label\na,x\nb,y\n"))
    assert load(tmp_path, "train").train.texts == ("a", "b")


def test_label_of_a_row_that_is_dropped_is_no_label(tmp_path: Path):
    write_lines(tmp_path / "t.csv", "text,label", "a,x", "b,y", ",z")
    assert load(tmp_path, "t.csv", missing="drop", metric="f1").labels == ("x", "y")
    write_lines(tmp_path / "sets.csv", "text,label", "a,x", "b,y|x", ",z")
    assert load(tmp_path, "sets.csv", missing="drop", **SETS).labels == ("x", "y")


@pytest.mark.parametrize("value", ["nan", "NaN", " NAN ", " "])
def test_text_that_programs_write_for_a_missing_label_is_none(tmp_path: Path, value: str):
    write_lines(tmp_path / "t.csv", "text,label", "a,x", "b,NA", f"c,{value}", "d,None")
    train = load(tmp_path, "t.csv", missing="drop")
    assert train.labels == ("NA", "None", "x") and train.train.texts == ("a", "b", "d")
    assert "1 row without label in column 'label': row 3" in faults(tmp_path, "t.csv")


def test_declared_label_may_be_called_nan(tmp_path: Path):
    write_lines(tmp_path / "t.csv", "text,label", "a,naan", "b,nan", "c,nan")
    assert "list all names: task.labels='[...]'" in faults(tmp_path, "t.csv")
    task = load(tmp_path, "t.csv", labels=("naan", "nan"))
    assert task.train.labels.tolist() == [0, 1, 1]


def test_spaces_around_a_label_are_no_part_of_it(tmp_path: Path):
    write_lines(tmp_path / "t.csv", "text,label", "a, x", "b,x", "c,y ")
    task = load(tmp_path, "t.csv")
    assert (task.labels, task.train.labels.tolist()) == (("x", "y"), [0, 0, 1])
    assert load(tmp_path, "t.csv", labels=(" x", "x", "y")).train.labels.tolist() == [0, 1, 2]


def test_half_of_a_surrogate_pair_in_a_list_is_named(tmp_path: Path):
    lines = ('{"text": "a", "label": ["x"]}', '{"text": "b", "label": ["\\ud83d"]}')
    write_lines(tmp_path / "t.jsonl", *lines)
    assert "1 row with half of a surrogate pair: row 2" in faults(tmp_path, "t.jsonl", **SETS)


@pytest.mark.parametrize(
    ("labels", "declared", "expected"),
    [
        ([0, 1], ("no", "yes"), [0, 1]),
        (["yes", "no"], ("no", "yes"), [1, 0]),
        (["1", "0"], ("no", "yes"), [1, 0]),
        ([1.0, 0.0], ("no", "yes"), [1, 0]),
        ([False, True], ("no", "yes"), [0, 1]),
        ([1, 2], ("1", "2"), [0, 1]),
        ([10, 9], (), [1, 0]),
        (["10", "9"], (), [1, 0]),
        (["b", "10"], (), [1, 0]),
    ],
    ids=str,
)
def test_label_becomes_an_index(
    tmp_path: Path, labels: list[Any], declared: tuple[str, ...], expected: list[int]
):
    parquet.write_table(pa.table(rows(labels)), tmp_path / "t.parquet")
    found = load(tmp_path, "t.parquet", labels=declared).train.labels
    assert (found.dtype, found.tolist()) == (np.int64, expected)


@pytest.mark.parametrize(
    ("labels", "declared"),
    [
        ([[2, 0], [], [1]], ("a", "b", "c")),
        ([["c", "a"], [], ["b"]], ("a", "b", "c")),
        (["c| a", "", "b"], ("a", "b", "c")),
        (["c|a", "", "b"], ()),
        (['["c", "a"]', "[]", '["b"]'], ()),
        (["['c', 'a']", "", "b"], ()),
        (["[2, 0]", "[]", "b"], ("a", "b", "c")),
    ],
    ids=["indices", "names", "joined names", "found names", "JSON", "Python", "listed indices"],
)
def test_multilabel_rows_become_zeros_and_ones(
    tmp_path: Path, labels: list[Any], declared: tuple[str, ...]
):
    parquet.write_table(pa.table(rows(labels)), tmp_path / "t.parquet")
    found = load(
        tmp_path, "t.parquet", labels=declared, kind="multilabel", metric="macro_f1"
    ).train.labels
    assert (found.dtype, found.tolist()) == (np.uint8, [[1, 0, 1], [0, 0, 0], [0, 1, 0]])


SETS: dict[str, Any] = {"kind": "multilabel", "metric": "macro_f1"}


def test_labels_of_a_row_are_separated_as_the_settings_say(tmp_path: Path):
    write_lines(tmp_path / "t.csv", "text,label", "x,c; a", "y,", "z,b", "w,[x] | y;b")
    labels = ("a", "b", "c", "[x] | y")
    task = load(tmp_path, "t.csv", label_separator=";", labels=labels, **SETS)
    assert task.train.labels.tolist() == [
        [1, 0, 1, 0],
        [0, 0, 0, 0],
        [0, 1, 0, 0],
        [0, 1, 0, 1],
    ]


@pytest.mark.parametrize(
    "rows",
    [("0,1,1", "0,0,0", "1,0,1"), ("False,True,True", "false,FALSE,0.0", "1.0,0,true")],
    ids=["numbers", "words"],
)
def test_a_column_for_each_label_names_it(tmp_path: Path, rows: tuple[str, ...]):
    lines = [f"{text},{row}" for text, row in zip("xyz", rows, strict=True)]
    write_lines(tmp_path / "t.csv", "text,noise,food,room", *lines)
    columns = ColumnNames(labels=("food", "room", "noise"))
    task = load(tmp_path, "t.csv", columns=columns, **SETS)
    assert task.labels == ("food", "room", "noise")
    assert task.train.labels.tolist() == [[1, 1, 0], [0, 0, 0], [0, 1, 1]]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (SETS, "2 rows with a value that is neither 0 nor 1 in column 'food': row 2 'yes'"),
        ({**SETS, "labels": ("a", "b")}, "both task.columns.labels and task.labels"),
        ({}, "fix: task.kind=multilabel"),
    ],
    ids=["values", "labels", "kind"],
)
def test_wrong_column_for_each_label_is_named(tmp_path: Path, settings: dict[str, Any], said: str):
    write_lines(tmp_path / "t.csv", "text,food,room", "x,1,0", "y,yes,0", "z,,1", "w,none,1")
    found = faults(tmp_path, "t.csv", columns=ColumnNames(labels=("food", "room")), **settings)
    assert said in found


def test_missing_column_of_a_label_is_named(tmp_path: Path):
    write_lines(tmp_path / "t.csv", "text,food,room", "x,1,0")
    found = faults(tmp_path, "t.csv", columns=ColumnNames(labels=("food", "rooms")), **SETS)
    assert "no column 'rooms'; did you mean 'room'?" in found and "task.columns.labels" in found


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("food,praise", "fix: task.label_separator=','    or, if these are names, list all"),
        ("food; praise", "fix: task.label_separator=';'    or, if these are names, list all"),
        ("[food", "fix: if these are names, list all: task.labels"),
        ("['food' 'praise']", "1 row with a list that cannot be read in column 'label': row 2"),
        ("[['food']]", "1 row with a list that cannot be read in column 'label': row 2"),
        ("[1.5]", "1 row with a list that cannot be read in column 'label': row 2"),
        ("[food]", "1 row with a list that cannot be read in column 'label': row 2"),
    ],
)
def test_label_that_looks_like_a_list_is_refused(tmp_path: Path, label: str, said: str):
    parquet.write_table(pa.table(rows(["room", label])), tmp_path / "t.parquet")
    assert said in faults(tmp_path, "t.parquet", **SETS)


@pytest.mark.parametrize("labels", [[3, 1, 2], ["3", " 1.0", "+2e0"], [3.0, 1.0, 2.0]], ids=str)
def test_regression_label_becomes_a_float(tmp_path: Path, labels: list[Any]):
    parquet.write_table(pa.table(rows(labels)), tmp_path / "t.parquet")
    task = load(tmp_path, "t.parquet", kind="regression", metric="spearman")
    assert (task.train.labels.dtype, task.train.labels.tolist(), task.labels) == (
        np.float64,
        [3.0, 1.0, 2.0],
        (),
    )


def test_missing_file_is_named_with_what_the_folder_holds(tmp_path: Path):
    write_lines(tmp_path / "train.csv", "text,label")
    message = faults(tmp_path, "trainn.csv")
    assert (
        "no file" in message and "trainn.csv" in message and "did you mean 'train.csv'" in message
    )


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("t.md.gz", "gunzip -k"),
        ("t.xlsx", "save the sheet as CSV"),
        ("t.dat", "task.format=csv"),
        ("t.txt", "task.format=csv"),
    ],
)
def test_file_of_another_format_is_refused_with_what_to_do(tmp_path: Path, name: str, fix: str):
    write_lines(tmp_path / name, "{}")
    message = faults(tmp_path, name)
    assert f"{name}' has an ending that does not tell its format" in message and fix in message


def test_missing_validation_file_says_how_to_do_without(tmp_path: Path):
    write_lines(tmp_path / "t.csv", "text,label", "a,x", "b,y")
    with pytest.raises(DataError) as caught:
        load_task(
            TaskConfig(
                source="files",
                path=str(tmp_path),
                splits=SplitNames(train="t.csv", validation="v.csv", test=""),
            )
        )
    assert "task.splits.validation=''" in caught.value.fix


@pytest.mark.parametrize("content", ["", "\n", "text,label\n"], ids=["nothing", "blank", "header"])
def test_file_without_rows_is_refused(tmp_path: Path, content: str):
    (tmp_path / "t.csv").write_text(content, encoding="utf-8")
    assert "t.csv' has no rows" in faults(tmp_path, "t.csv")


def test_missing_columns_are_named_together_with_near_ones(tmp_path: Path):
    write_lines(tmp_path / "t.csv", "textt,labell", "a,x")
    message = faults(tmp_path, "t.csv")
    assert (
        "no column 'text'; did you mean 'textt'?" in message
        and "no column 'label'; did you mean 'labell'?" in message
        and "textt, labell" in message
    )


def test_column_there_twice_is_refused(tmp_path: Path):
    write_lines(tmp_path / "t.csv", "text,label,text", "a,x,b", "b,y,c")
    assert "2 columns called 'text'" in faults(tmp_path, "t.csv")


def test_bytes_that_are_not_utf8_are_named_by_offset(tmp_path: Path):
    (tmp_path / "t.csv").write_bytes("text,label\na,x\ncafé,y\n".encode("latin-1"))
    assert "t.csv' is not UTF-8: byte 0xe9 at offset 18 (line 3)" in faults(tmp_path, "t.csv")


def test_parquet_texts_that_are_not_utf8_are_named_by_row(tmp_path: Path):
    raw = pa.array([b"a", b"t\xe9"], pa.binary())
    text = pa.StringArray.from_buffers(2, raw.buffers()[1], raw.buffers()[2])
    parquet.write_table(pa.table({"text": text, "label": ["x", "y"]}), tmp_path / "t.parquet")
    assert "1 row not UTF-8 in column 'text': row 2" in faults(tmp_path, "t.parquet")


def test_csv_rows_of_another_width_are_counted(tmp_path: Path):
    write_lines(
        tmp_path / "t.csv", "text,label", "a,x", "b", '"c\nd",y', "e, f,x", "g,h,y", "i,j,y"
    )
    message = faults(tmp_path, "t.csv")
    assert (
        "4 rows with another number of fields than the header's 2: row 2 '1 fields: b', row 4 '3 "
        "fields: e, f,x', row 5" in message
    )


def test_open_quotation_mark_is_refused(tmp_path: Path):
    write_lines(tmp_path / "t.csv", "label,text", "x,a", 'y,"b', "x,c")
    assert "row 2 opens a quotation mark" in faults(tmp_path, "t.csv")


def test_open_quotation_mark_is_refused_after_a_long_value(tmp_path: Path):
    write_lines(tmp_path / "t.csv", "label,text", 'x,"' + "a" * 200_000 + '"', 'y,"b')
    assert "row 2 opens a quotation mark" in faults(tmp_path, "t.csv")


def test_stray_quotation_mark_is_a_character(tmp_path: Path):
    write_lines(tmp_path / "t.csv", "text,label", 'a 5" pipe,x', "b,y")
    assert load(tmp_path, "t.csv").train.texts == ('a 5" pipe', "b")


def test_file_of_a_byte_order_mark_alone_has_no_rows(tmp_path: Path):
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbf")
    assert "t.csv' has no rows" in faults(tmp_path, "t.csv")


def test_csv_lines_may_end_in_carriage_returns_alone(tmp_path: Path):
    (tmp_path / "t.csv").write_bytes(b'text,label\ra,x\r"b\rc",y\r')
    assert load(tmp_path, "t.csv").train.texts == ("a", "b\rc")


def test_text_after_a_closing_quotation_mark_is_refused(tmp_path: Path):
    write_lines(tmp_path / "t.csv", "text,label", "a,x", r'"the \"best\" food",y')
    message = faults(tmp_path, "t.csv")
    assert "row 2 continues after the closing quotation mark of a field" in message
    assert 'written as ""' in message


def test_reading_a_table_leaves_the_limit_of_fields_of_the_process_alone(tmp_path: Path):
    write_lines(tmp_path / "t.csv", "text,label", "a,x", "b,y")
    limit = csv.field_size_limit()
    form = format_of(tmp_path / "t.csv", FileSettings(), "task")
    rows_read = read_rows(tmp_path / "t.csv", form, "t.csv", ColumnNames(), RowFaults("t.csv"))
    next(rows_read)
    assert csv.field_size_limit() == limit


def test_parquet_that_is_none_is_refused(tmp_path: Path):
    write_lines(tmp_path / "t.parquet", "text,label", "a,x")
    assert "t.parquet' cannot be read as Parquet" in faults(tmp_path, "t.parquet")


def test_jsonl_lines_that_are_no_objects_are_named(tmp_path: Path):
    write_lines(tmp_path / "t.jsonl", '{"text": "a", "label": 0}', "[1]", "{oops")
    assert "2 rows not a JSON object: row 2 '[1]', row 3 '{oops'" in faults(tmp_path, "t.jsonl")


def test_jsonl_column_of_mixed_types_is_refused(tmp_path: Path):
    write_lines(tmp_path / "t.jsonl", '{"text": "a", "label": 0}', '{"text": "b", "label": "yes"}')
    assert "column 'label' cannot be read as one type (found: int, str)" in faults(
        tmp_path, "t.jsonl"
    )


def test_text_column_of_numbers_is_refused(tmp_path: Path):
    parquet.write_table(pa.table({"text": [1, 2], "label": [0, 1]}), tmp_path / "t.parquet")
    assert "column 'text' holds int64" in faults(tmp_path, "t.parquet")


@pytest.mark.parametrize("column", ["text", "text_pair"])
def test_rows_without_text_are_counted_and_named(tmp_path: Path, column: str):
    columns = rows([0, 1] * 3, text_pair=["p"] * 6) | {
        column: ["a", "", " \t", None, "b", "\u00a0"]
    }
    parquet.write_table(pa.table(columns), tmp_path / "t.parquet")
    message = faults(tmp_path, "t.parquet", columns=ColumnNames(text_pair="text_pair"))
    assert (
        f"t.parquet: 4 rows without text in column '{column}': row 2 '', row 3 ' \\t', row 4, ..."
        in message
    )


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (
            ["no", "yess", "yes"],
            "1 row with a label that is not listed in column 'label': row 2 'yess'",
        ),
        ([0, 1, 2], "row 3 2"),
        ([0, 1, -1], "row 3 -1"),
        ([0.0, 1.0, 0.5], "row 3 0.5"),
        (["0", "1", "01"], "row 3 '01'"),
        (["no", "yes", "n" * 50], "row 3 'nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn..."),
        ([0, 1, None], "1 row without label in column 'label': row 3"),
        ([0.0, 1.0, float("nan")], "1 row without label in column 'label': row 3 nan"),
        (["no", "yes", " "], "1 row without label in column 'label': row 3 ' '"),
        ([[0], [1], [0]], "column 'label' holds list"),
    ],
    ids=str,
)
def test_wrong_class_label_is_named(tmp_path: Path, labels: list[Any], said: str):
    parquet.write_table(pa.table(rows(labels)), tmp_path / "t.parquet")
    assert said in faults(tmp_path, "t.parquet", labels=("no", "yes"))


def test_whole_number_is_no_index_when_a_label_name_is_one(tmp_path: Path):
    parquet.write_table(pa.table(rows([0, 1])), tmp_path / "t.parquet")
    assert "1 row with a label that is not listed in column 'label': row 1 0" in faults(
        tmp_path, "t.parquet", labels=("1", "2")
    )


def test_unlisted_label_is_answered_with_a_near_one(tmp_path: Path):
    write_lines(tmp_path / "t.csv", "text,label", "a,no", "b,yess")
    assert "one of 2 labels: no, yes (or its index, 0 to 1); did you mean 'yes'?" in faults(
        tmp_path, "t.csv", labels=("no", "yes")
    )


def test_label_that_train_lacks_is_refused_in_test(tmp_path: Path):
    write_lines(tmp_path / "t.csv", "text,label", "a,x", "b,y")
    write_lines(tmp_path / "u.csv", "text,label", "a,z")
    with pytest.raises(
        DataError, match=r"u\.csv: 1 row with a label that is not listed .*row 1 'z'"
    ):
        load_task(
            TaskConfig(
                source="files",
                path=str(tmp_path),
                splits=SplitNames(train="t.csv", validation="t.csv", test="u.csv"),
            )
        )


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([[0], [5]], "row 2 5"),
        ([[0], None], "without label in column 'label': row 2"),
        ([[0, 1], [1, 1]], "1 row with a label twice in column 'label': row 2 [1, 1]"),
        (["a|", "b"], "without label in column 'label': row 1 ''"),
        ([0, 1], "column 'label' holds int64"),
        (
            [[False], [True], [True, True]],
            "3 rows with a label that is not listed in column 'label': row 2 True, row 3 True",
        ),
    ],
    ids=str,
)
def test_wrong_label_list_is_named(tmp_path: Path, labels: list[Any], said: str):
    parquet.write_table(pa.table(rows(labels)), tmp_path / "t.parquet")
    declared = ("a",) if labels[0] == [False] else ("a", "b")
    assert said in faults(
        tmp_path, "t.parquet", labels=declared, kind="multilabel", metric="macro_f1"
    )


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (
            ["1.5", "high", "2,5"],
            "2 rows with a label that is not a number in column 'label': row 2 'high', row 3 '2,5'",
        ),
        (["1", "1_0", "1e999"], "2 rows with a label that is not a number"),
        ([1.0, float("inf"), 2.0], "row 2 inf"),
        ([1.0, float("nan"), None], "2 rows without label in column 'label': row 2 nan, row 3"),
        (["1", "NaN", " "], "2 rows without label in column 'label': row 2 'NaN', row 3 ' '"),
        ([True, False, True], "column 'label' holds bool"),
    ],
    ids=str,
)
def test_wrong_regression_label_is_named(tmp_path: Path, labels: list[Any], said: str):
    parquet.write_table(pa.table(rows(labels)), tmp_path / "t.parquet")
    assert said in faults(tmp_path, "t.parquet", kind="regression", metric="pearson")


def test_fractions_without_declared_labels_suggest_a_regression(tmp_path: Path):
    parquet.write_table(pa.table(rows([0.5, 1.0])), tmp_path / "t.parquet")
    assert "task.kind=regression" in faults(tmp_path, "t.parquet")


@pytest.mark.parametrize(
    ("kind", "metric", "labels"),
    [
        ("classification", "accuracy", [1, 1]),
        ("regression", "r2", [1.5, 1.5]),
        ("multilabel", "macro_f1", [[0], [0]]),
    ],
)
def test_train_of_one_label_is_refused(tmp_path: Path, kind: Any, metric: Any, labels: list[Any]):
    parquet.write_table(pa.table(rows(labels)), tmp_path / "t.parquet")
    parquet.write_table(pa.table(rows(labels)), tmp_path / "u.parquet")
    with pytest.raises(DataError, match="all 2 train rows have the same label"):
        load(
            tmp_path,
            "t.parquet",
            kind=kind,
            metric=metric,
            labels=() if kind == "regression" else ("no", "yes"),
        )


def test_faults_of_several_kinds_and_files_come_together(tmp_path: Path):
    parquet.write_table(pa.table(rows([0, 9]) | {"text": ["", "b"]}), tmp_path / "t.parquet")
    parquet.write_table(pa.table(rows([0, None])), tmp_path / "u.parquet")
    with pytest.raises(Faults) as caught:
        load_task(
            TaskConfig(
                source="files",
                path=str(tmp_path),
                splits=SplitNames(train="t.parquet", validation="u.parquet", test="u.parquet"),
                labels=("a", "b"),
            )
        )
    assert [type(fault) for fault in caught.value.faults] == [DataError] * 4


@pytest.mark.parametrize(
    ("kind", "metric"),
    [("classification", "spearman"), ("regression", "accuracy"), ("multilabel", "matthews")],
)
def test_metric_that_does_not_fit_is_refused(tmp_path: Path, kind: Any, metric: Any):
    parquet.write_table(
        pa.table(rows([["0"], ["1"]] if kind == "multilabel" else [0, 1])), tmp_path / "t.parquet"
    )
    assert f"metric {metric} does not fit a {kind}" in faults(
        tmp_path, "t.parquet", kind=kind, metric=metric
    )


def test_faults_of_the_task_and_of_its_rows_come_together(tmp_path: Path):
    parquet.write_table(pa.table(rows([0, 1]) | {"text": ["a", ""]}), tmp_path / "t.parquet")
    message = faults(tmp_path, "t.parquet", metric="pearson")
    assert "metric pearson does not fit" in message and "1 row without text" in message


def test_f1_of_more_than_two_labels_is_refused(tmp_path: Path):
    parquet.write_table(pa.table(rows([0, 1, 2])), tmp_path / "t.parquet")
    assert "task.metric=macro_f1" in faults(tmp_path, "t.parquet", metric="f1")


def test_label_listed_twice_is_refused(tmp_path: Path):
    parquet.write_table(pa.table(rows([0, 1])), tmp_path / "t.parquet")
    assert "label a is listed twice" in faults(tmp_path, "t.parquet", labels=("a", "b", "a"))
