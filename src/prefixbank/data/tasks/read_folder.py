"""Read a task folder: task.json with kind, labels and metric, and one Parquet file for each split.

    my_task/task.json            {"kind": "classification", "labels": ["no", "yes"], "metric":
                                 "accuracy"}
    my_task/train.parquet        columns text, label and, for pairs of texts, text_pair; other
                                 columns are ignored
    my_task/validation.parquet   if it is missing, rows are taken from train, as for test.parquet
    my_task/test.parquet

`labels` is left out (or null) for a regression. If it is left out otherwise, the labels are those
of the train split. Other keys are ignored.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pyarrow.parquet as parquet

from prefixbank.choices import Kind, Metric
from prefixbank.config.schema import ColumnNames, FileSettings, TaskConfig
from prefixbank.data.rows import read_lines
from prefixbank.data.tasks.raw import FaultList, RawSplit, RawTask, near_names
from prefixbank.data.tasks.read_files import read_split
from prefixbank.data.tasks.task import SPLITS
from prefixbank.errors import DataError, did_you_mean, raise_faults

HEADER = "task.json"


@dataclass(frozen=True, kw_only=True)
class Header:
    """The content of task.json."""

    kind: Kind
    metric: Metric
    labels: tuple[str, ...]


def read_folder(folder: Path, name: str, config: TaskConfig) -> RawTask:
    """Read a task folder.

    Args:
        folder: the task folder.
        name: name of the task.
        config: the configuration; if its kind, metric or labels differ from task.json, those of
            task.json are used, with a note.

    Returns:
        The task, whose rows are not checked yet.

    Raises:
        DataError: the folder, task.json or train.parquet is missing or cannot be read.
        Faults: several of these.
    """
    if not folder.is_dir():
        raise DataError(
            f"no task folder '{folder}'",
            expected=(
                f"a folder with {HEADER} and train.parquet; '{folder.parent}' holds: "
                f"{near_names(folder.parent, folder.name)}"
            ),
            fix="task.path=FOLDER or FILE    or, for a folder of tasks, run.data_root=FOLDER",
        )
    faults = FaultList()
    header = Header(kind=config.kind, metric=config.metric, labels=())
    splits: dict[str, RawSplit] = {}
    columns = ColumnNames()
    with faults:
        header = read_header(folder / HEADER)
    with faults:
        columns = _columns(folder)
    for split in SPLITS:
        path = folder / f"{split}.parquet"
        if path.is_file():
            with faults:
                splits[split] = read_split(path, columns, FileSettings())
    raise_faults(faults.collected)
    return RawTask(
        name=name,
        kind=header.kind,
        metric=header.metric,
        labels=header.labels,
        splits=splits,
        notes=_differences(config, header),
    )


def read_header(path: Path) -> Header:
    """Read and check task.json.

    Args:
        path: path of the file.

    Raises:
        DataError: it is missing or not a JSON object, its kind or metric is unknown, or its labels
            are not a list of names.
        Faults: several of these.
    """
    example = '{"kind": "classification", "labels": ["no", "yes"], "metric": "accuracy"}'
    if not path.is_file():
        raise DataError(
            f"no file '{path}'",
            expected=f"a {HEADER} such as {example}",
            fix=f"write {HEADER} beside train.parquet",
        )
    try:
        document = json.loads("".join(read_lines(path, f"'{path}'")))
    except ValueError as error:
        what = f"'{path}' is not JSON: {error}"
        raise DataError(
            what, expected=f"one object such as {example}", fix=f"python -m json.tool '{path}'"
        ) from error
    if not isinstance(document, dict):
        raise DataError(
            f"'{path}' holds a {type(document).__name__}",
            expected=f"one object such as {example}",
            fix="write one object",
        )
    faults = FaultList()
    for key, known in (("kind", get_args(Kind)), ("metric", get_args(Metric))):
        with faults:
            _refuse_unknown(path, key, document.get(key), known)
    labels = document.get("labels") or []
    with faults:
        _refuse_odd_labels(path, labels)
    raise_faults(faults.collected)
    return Header(kind=document["kind"], metric=document["metric"], labels=tuple(labels))


def _refuse_unknown(path: Path, key: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        what = (
            f"'{path}' has no \"{key}\""
            if value is None
            else f"'{path}': unknown {key} {value!r}{did_you_mean(str(value), known)}"
        )
        raise DataError(
            what, expected=f'"{key}": one of ' + ", ".join(known), fix=f'set "{key}" in {HEADER}'
        )


def _refuse_odd_labels(path: Path, labels: Any) -> None:
    if not isinstance(labels, list) or not all(
        isinstance(label, str) and label.strip() for label in labels
    ):
        raise DataError(
            f"'{path}': labels are {labels!r}",
            expected=(
                '"labels": a list of names in the order of their indices, null for a regression'
            ),
            fix='write the names as JSON texts: "labels": ["0", "1"]',
        )


def _columns(folder: Path) -> ColumnNames:
    path = folder / "train.parquet"
    if not path.is_file():
        raise DataError(
            f"no file '{path}'",
            expected=(
                f"{HEADER} and train.parquet; '{folder}' holds: {near_names(folder, path.name)}"
            ),
            fix="write the train rows to train.parquet    or read other files with task=files",
        )
    try:
        names = parquet.read_schema(path).names
    except (OSError, ValueError):
        names = []
    return ColumnNames(text_pair="text_pair" if "text_pair" in names else "")


def _differences(config: TaskConfig, header: Header) -> tuple[str, ...]:
    default = TaskConfig()
    notes = []
    for key in ("kind", "metric", "labels"):
        configured, actual = getattr(config, key), getattr(header, key)
        if configured not in (getattr(default, key), actual):
            notes.append(
                f"{key}: {_shown(actual)}, from {HEADER} (the configuration has "
                f"{_shown(configured)})"
            )
    if config.source == "folder":
        ignored = [
            key
            for key in ("splits", "columns", "hub_id", "hub_config")
            if getattr(config, key) != getattr(default, key)
        ]
        notes += [f"task.{key}: ignored, a task folder has fixed names" for key in ignored]
    return tuple(notes)


def _shown(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else ", ".join(value) or "none"
