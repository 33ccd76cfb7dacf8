"""Tasks read from hub repositories.

Folders laid out as the hub lays them out, loaded by `datasets`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from prefixbank.config.schema import ColumnNames, SplitNames, TaskConfig
from prefixbank.data.tasks.check import build_examples, kept_rows
from prefixbank.data.tasks.load import load_task
from prefixbank.data.tasks.raw import RawSplit
from prefixbank.errors import DataError, Faults, HubError

CARD = """---
configs:
- config_name: nli
  data_files:
  - split: train
    path: nli/train-*
  - split: validation_matched
    path: nli/validation-*
  - split: test
    path: nli/test-*
dataset_info:
- config_name: nli
  features:
  - name: premise
    dtype: string
  - name: hypothesis
    dtype: string
  - name: label
    dtype:
      class_label:
        names:
          '0': entailment
          '1': neutral
  - name: topics
    list:
      class_label:
        names:
          '0': art
          '1': law
  - name: agreed
    dtype: bool
  - name: stars
    dtype: int64
---
"""
SCHEMA = pa.schema(
    {
        "premise": pa.string(),
        "hypothesis": pa.string(),
        "label": pa.int64(),
        "topics": pa.list_(pa.int64()),
        "agreed": pa.bool_(),
        "stars": pa.int64(),
    }
)


def split(labels: list[int]) -> pa.Table:
    texts = [f"text {row}" for row in range(len(labels))]
    topics = [[row % 2] for row in range(len(labels))]
    agreed = [row % 3 == 0 for row in range(len(labels))]
    return pa.table(
        [texts, [f"{text}?" for text in texts], labels, topics, agreed, labels], schema=SCHEMA
    )


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub") / "nli-data"
    (folder / "nli").mkdir(parents=True)
    (folder / "README.md").write_text(CARD, encoding="utf-8")
    for name, labels in (("train", [0, 1, -1, 1] * 10), ("validation", [1, 0]), ("test", [-1, -1])):
        parquet.write_table(split(labels), folder / "nli" / f"{name}-00000-of-00001.parquet")
    return folder


@pytest.fixture
def config(repository: Path) -> Callable[..., TaskConfig]:
    def build(**settings: Any) -> TaskConfig:
        defaults: dict[str, Any] = {
            "source": "hub",
            "hub_id": str(repository),
            "hub_config": "nli",
            "splits": SplitNames(validation="", test="validation_matched"),
            "columns": ColumnNames(text="premise", text_pair="hypothesis"),
        }
        return TaskConfig(**(defaults | settings))

    return build


def test_hub_gives_texts_pairs_and_declared_label_names(config: Callable[..., TaskConfig]):
    task = load_task(config())
    assert (
        task.name,
        task.labels,
        task.test.texts,
        task.test.pairs,
        task.test.labels.tolist(),
    ) == (
        "nli-data",
        ("entailment", "neutral"),
        ("text 0", "text 1"),
        ("text 0?", "text 1?"),
        [1, 0],
    )


def test_hub_rows_marked_unlabelled_are_left_out_and_counted(config: Callable[..., TaskConfig]):
    task = load_task(config())
    assert (len(task.train) + len(task.validation), task.notes[0]) == (
        30,
        "train: 10 rows without label (-1) left out of 40",
    )


def test_hub_labels_without_names_are_found_in_train(config: Callable[..., TaskConfig]):
    assert load_task(config(columns=ColumnNames(text="premise", label="stars"))).labels == (
        "0",
        "1",
    )


def test_rows_are_numbered_as_in_the_source_when_some_are_left_out():
    table = pa.table({"text": ["a", "b", ""], "label": [-1, 0, 1]})
    raw = RawSplit(where="here", table=table, columns=ColumnNames(), skip_unlabelled=True)
    kept = kept_rows(raw, "classification", ("no", "yes"), "error")
    with pytest.raises(DataError, match="here: 1 row without text in column 'text': row 3"):
        build_examples(kept, "classification", ("no", "yes"))


def test_hub_label_names_can_be_replaced(config: Callable[..., TaskConfig]):
    assert load_task(config(labels=("follows", "open"))).labels == ("follows", "open")


def test_hub_label_names_of_another_number_are_refused(config: Callable[..., TaskConfig]):
    with pytest.raises(
        DataError, match="task.labels lists 3 labels, .* declares 2: entailment, neutral"
    ):
        load_task(config(labels=("a", "b", "c")))


def test_hub_reads_lists_of_labels(config: Callable[..., TaskConfig]):
    task = load_task(
        config(
            kind="multilabel",
            metric="macro_f1",
            columns=ColumnNames(text="premise", label="topics"),
        )
    )
    assert (task.labels, task.test.labels.tolist()) == (("art", "law"), [[1, 0], [0, 1]])


def test_hub_reads_truth_values(config: Callable[..., TaskConfig]):
    task = load_task(
        config(labels=("no", "yes"), columns=ColumnNames(text="premise", label="agreed"))
    )
    assert task.test.labels.tolist() == [1, 0]


def test_hub_split_with_hidden_labels_is_refused(config: Callable[..., TaskConfig]):
    with pytest.raises(DataError, match="all 2 rows are marked as not labelled") as caught:
        load_task(config(splits=SplitNames(validation="validation_matched")))
    assert "task.splits.test=''" in caught.value.fix


def test_hub_regression_with_hidden_targets_is_refused(config: Callable[..., TaskConfig]):
    splits = SplitNames(validation="validation_matched")
    with pytest.raises(DataError, match="all 2 rows are marked as not labelled"):
        load_task(config(kind="regression", metric="pearson", splits=splits))


def test_hub_regression_may_have_targets_of_minus_one(config: Callable[..., TaskConfig]):
    task = load_task(config(kind="regression", metric="pearson"))
    assert len(task.train) + len(task.validation) == 40


def test_hub_split_that_is_missing_is_answered_with_a_near_one(config: Callable[..., TaskConfig]):
    with pytest.raises(
        DataError, match="no split 'validation_mached'; did you mean 'validation_matched'"
    ):
        load_task(config(splits=SplitNames(validation="", test="validation_mached")))


def test_hub_column_that_is_missing_is_answered_with_a_near_one(config: Callable[..., TaskConfig]):
    with pytest.raises(Faults) as caught:
        load_task(config(columns=ColumnNames(text="premises")))
    assert [
        "no column 'premises'; did you mean 'premise'?" in fault.what
        for fault in caught.value.faults
    ] == [True, True]


def test_hub_configuration_that_is_missing_is_a_hub_error(config: Callable[..., TaskConfig]):
    with pytest.raises(HubError, match="nly"):
        load_task(config(hub_config="nly"))


def test_hub_repository_with_a_script_is_not_run(tmp_path: Path):
    (tmp_path / "scripted").mkdir()
    (tmp_path / "scripted" / "scripted.py").write_text(
        "raise SystemExit('was run')\n", encoding="utf-8"
    )
    with pytest.raises(HubError, match="scripts are no longer supported") as caught:
        load_task(TaskConfig(source="hub", hub_id=str(tmp_path / "scripted")))
    assert caught.value.fix.startswith("task.revision=refs/convert/parquet")


def test_unreachable_hub_says_how_to_go_offline():
    with pytest.raises(HubError, match="cannot load 'nobody/nothing' at revision main") as caught:
        load_task(TaskConfig(source="hub", hub_id="nobody/nothing"))
    assert (
        caught.value.exit_code,
        "HF_HUB_OFFLINE=1" in caught.value.fix,
        "task=files" in caught.value.fix,
    ) == (1, True, True)


def test_hub_task_without_repository_is_refused():
    with pytest.raises(DataError, match="task 'x' has no task.hub_id"):
        load_task(TaskConfig(source="hub", name="x"))
