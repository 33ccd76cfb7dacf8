"""Tasks that cannot be learned from: exit 2, the file and what is wrong in it, nothing made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from tests.prepared import SMALL, rows_of

ROWS = 40


@pytest.fixture
def folder(cli, tmp_path) -> Path:
    """A task folder that a test may spoil."""
    return shutil.copytree(cli.tasks / "gamma", tmp_path / "delta")


def train(folder: Path, *settings: str) -> tuple[str, ...]:
    return ("train-prefix", "task=folder", f"task.path={folder}", *SMALL, *settings)


def spoil(folder: Path, split: str = "train", **columns: list) -> None:
    parquet.write_table(
        pa.table({**rows_of("delta", split), **columns}), folder / f"{split}.parquet"
    )


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": [0, 7] * 20}, "7"),
        ({"label": ["no", "maybe"] * 20}, "maybe"),
        ({"label": [0.0, float("nan")] * 20}, "label"),
        ({"label": [0, None] * 20}, "label"),
        ({"label": [0] * 40}, "all 40 train rows have the same label: no"),
        ({"text": ["good", "   "] * 20}, "without text"),
        ({"text": ["good", None] * 20}, "without text"),
        ({"text": [1.5] * 40}, "text"),
    ],
    ids=[
        "out of range",
        "not listed",
        "NaN",
        "missing label",
        "one class",
        "spaces",
        "missing text",
        "no text",
    ],
)
def test_rows_that_cannot_be_used_are_refused(cli, folder, columns, message):
    spoil(folder, **columns)
    fault = cli.expect_fault(2, *train(folder))
    assert message in fault.what and ("train.parquet" in fault.what or "delta" in fault.what)


def test_missing_column_is_refused(cli, folder):
    parquet.write_table(
        pa.table({"body": rows_of("delta", "train")["text"], "label": [0, 1] * 20}),
        folder / "train.parquet",
    )
    fault = cli.expect_fault(2, *train(folder))
    assert "'text'" in fault.what and "train.parquet" in fault.what


def test_split_without_rows_is_refused(cli, folder):
    parquet.write_table(pa.table(rows_of("delta", "train")).slice(0, 0), folder / "train.parquet")
    assert cli.expect_fault(2, *train(folder)).what == f"'{folder / 'train.parquet'}' has no rows"


def test_file_of_no_bytes_is_refused(cli, folder):
    (folder / "train.parquet").write_bytes(b"")
    assert "cannot be read as Parquet" in cli.expect_fault(2, *train(folder)).what


def test_faults_of_two_splits_come_together(cli, folder):
    spoil(folder, "train", label=[0, 7] * 20)
    spoil(folder, "validation", text=[" "] * 12)
    first, second = cli.expect_refusal(2, *train(folder))
    assert "train.parquet" in first.what and "validation.parquet" in second.what


def test_header_that_is_no_json_is_refused(cli, folder):
    (folder / "task.json").write_text("kind: classification", encoding="utf-8")
    assert "is not JSON" in cli.expect_fault(2, *train(folder)).what


def test_unknown_metric_of_a_header_is_refused(cli, folder):
    (folder / "task.json").write_text(
        json.dumps({"kind": "classification", "metric": "accuracyy"}), encoding="utf-8"
    )
    assert "did you mean 'accuracy'?" in cli.expect_fault(2, *train(folder)).what


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "has no rows"),
        (b"text,label\n", "has no rows"),
        (b"text,label\ngood,yes\nbad \xe9,no\n", "is not UTF-8: byte 0xe9"),
        (b"body,label\ngood,yes\n", "'text'"),
        (b"text,label\ngood,yes\nbad\n", "fields"),
    ],
    ids=["empty", "header alone", "not UTF-8", "missing column", "uneven"],
)
def test_csv_that_cannot_be_read_is_refused(cli, tmp_path, data, message):
    (tmp_path / "train.csv").write_bytes(data)
    settings = (
        "task.name=delta",
        f"task.path={tmp_path}",
        "task.splits.train=train.csv",
        "task.splits.validation=''",
        "task.splits.test=''",
    )
    fault = cli.expect_fault(2, "train-prefix", "task=files", *settings, *SMALL)
    assert message in fault.what and "train.csv" in fault.what


def test_target_task_that_cannot_be_used_is_refused_before_embedding(cli, folder):
    spoil(folder, label=[0, 7] * 20)
    assert (
        "7" in cli.expect_fault(2, "probe", "bank=demo", "task=folder", f"task.path={folder}").what
    )


def test_one_task_that_cannot_be_used_ends_an_experiment_before_training(cli, folder):
    spoil(folder, label=[0, 7] * 20)
    shutil.copytree(cli.tasks / "alpha", folder.parent / "alpha")
    settings = (
        "experiment=smoke",
        "experiment.sources=[alpha]",
        "experiment.targets=[delta]",
        f"run.data_root={folder.parent}",
    )
    assert "7" in cli.expect_fault(2, "run", *settings, *SMALL, "seed=5").what


def test_data_root_that_is_missing_is_refused(cli, tmp_path):
    fault = cli.expect_fault(
        2, "run", "experiment=smoke", f"run.data_root={tmp_path / 'none'}", *SMALL
    )
    assert fault.what == f"no folder '{tmp_path / 'none'}'"
