"""Load a task from the starter suite, the hub, files or a task folder: three checked splits."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import assert_never

import numpy as np

from prefixbank.choices import Kind
from prefixbank.config.schema import TaskConfig
from prefixbank.core.stats.metrics import METRICS_OF
from prefixbank.data.file_format import stem_of
from prefixbank.data.tasks.check import KeptRows, build_examples, kept_rows
from prefixbank.data.tasks.label_lists import refuse_columns, with_label_lists
from prefixbank.data.tasks.labels import discover_labels
from prefixbank.data.tasks.overlap import overlap_notes
from prefixbank.data.tasks.raw import FaultList, RawSplit, RawTask
from prefixbank.data.tasks.read_files import find_file, read_split
from prefixbank.data.tasks.read_folder import read_folder
from prefixbank.data.tasks.read_hub import read_hub
from prefixbank.data.tasks.splits import SEED, SHARES, hold_out, sample, strata_of
from prefixbank.data.tasks.task import SPLITS, Examples, Task
from prefixbank.errors import DataError, raise_faults
from prefixbank.names import as_name, check_name


def load_task(config: TaskConfig, *, data_root: str = "") -> Task:
    """Load the task that a configuration describes, and check all its rows.

    A missing validation or test split is taken from train (10 % and 20 % of its rows, seeded,
    stratified). `max_rows` and `max_validation_rows` then sample rows. `Task.notes` reports both.

    Args:
        config: where the examples come from and what they are.
        data_root: folder of task folders; if it is not empty, the task is read from
            `<data_root>/<name>`, whatever its configuration.

    Returns:
        The task, with three splits that have at least one row each.

    Raises:
        DataError: something in the data is missing or wrong; the message names files, rows and
            values.
        HubError: a hub repository cannot be loaded.
        Faults: several faults at once.
    """
    name = task_name(config)
    if data_root:
        folder = _under_root(data_root, name)
        origin = TaskConfig(
            name=name,
            source="folder",
            path=str(folder.absolute()),
            label_separator=config.label_separator,
            missing=config.missing,
            max_rows=config.max_rows,
            max_validation_rows=config.max_validation_rows,
        )
        return dataclasses.replace(
            build_task(read_folder(folder, name, config), config), origin=origin
        )
    match config.source:
        case "starter":
            from prefixbank.data.starter.suite import starter_task

            return _finish(starter_task(name), config)
        case "folder" | "files" if Path(config.path).expanduser().is_file():
            return build_task(_read_file(config, name), config)
        case "folder":
            return build_task(read_folder(_folder(config), name, config), config)
        case "files":
            return build_task(_read_files(config, name), config)
        case "hub":
            return build_task(read_hub(config, name), config)
    assert_never(config.source)


def task_name(config: TaskConfig) -> str:
    """Return the task's name, by default one like that of its folder, file or hub repository.

    Raises:
        DataError: there is none of these.
        UsageError: a name that artifacts cannot have.
    """
    if config.name:
        check_name("task", config.name, setting="task.name")
        return config.name
    path = Path(config.path).expanduser().resolve()
    name = (
        config.hub_id.rpartition("/")[2]
        if config.source == "hub"
        else ""
        if not config.path
        else stem_of(path.name)
        if path.is_file()
        else path.name
    )
    if not name:
        raise DataError(
            "no task is named",
            expected="the name or the folder of a task",
            fix="task=sst2    or task=folder task.path=FOLDER",
        )
    return as_name(name, empty="task")


def _folder(config: TaskConfig) -> Path:
    if not config.path:
        fix = "task.path=FOLDER    or run.data_root=FOLDER for a folder of task folders"
        raise DataError(
            f"task '{config.name}' has no task.path",
            expected="the folder of the task",
            fix=fix,
        )
    return Path(config.path).expanduser()


def _under_root(data_root: str, name: str) -> Path:
    root = Path(data_root).expanduser()
    if not root.is_dir():
        raise DataError(
            f"no folder '{root}'", expected="a folder of task folders", fix="run.data_root=FOLDER"
        )
    return root / name


def _read_file(config: TaskConfig, name: str) -> RawTask:
    """Read a task from one file, whose rows are split."""
    named = set(dataclasses.astuple(config.splits)) - {"", *SPLITS}
    if named:
        raise DataError(
            f"task.path={config.path} is a file, and task.splits names {', '.join(sorted(named))}",
            expected="one file, which is split; or the folder of several",
            fix=f"task=files task.path={Path(config.path).parent}",
        )
    split = read_split(Path(config.path).expanduser(), config.columns, config)
    return RawTask(
        name=name,
        kind=config.kind,
        metric=config.metric,
        labels=config.labels,
        splits={"train": split},
    )


def _read_files(config: TaskConfig, name: str) -> RawTask:
    folder = Path(config.path or ".").expanduser()
    faults = FaultList()
    splits: dict[str, RawSplit] = {}
    for split, file_name in dataclasses.asdict(config.splits).items():
        if file_name:
            with faults:
                splits[split] = read_split(
                    find_file(folder, file_name, f"task.splits.{split}"), config.columns, config
                )
    raise_faults(faults.collected)
    return RawTask(
        name=name, kind=config.kind, metric=config.metric, labels=config.labels, splits=splits
    )


def build_task(raw: RawTask, config: TaskConfig) -> Task:
    """Check the rows of a task, and take missing splits from train."""
    if "train" not in raw.splits:
        raise DataError(
            f"task '{raw.name}' has no train split",
            expected="rows to learn from",
            fix="task.splits.train=NAME",
        )
    raw = _with_label_lists(raw, config)
    faults, kept, built = FaultList(), {}, {}
    for split, rows in raw.splits.items():
        with faults:
            kept[split] = kept_rows(rows, raw.kind, raw.labels, config.missing)
    raise_faults(faults.collected)
    labels, notes = _labels(raw, kept["train"])
    with faults:
        _refuse_labels(raw, labels)
    for split, of_split in kept.items():
        with faults:
            built[split] = build_examples(of_split, raw.kind, labels)
            notes += tuple(f"{split}: {note}" for note in of_split.notes)
    raise_faults(faults.collected)
    train, added = _fill(raw, built)
    task = Task(
        name=raw.name,
        kind=raw.kind,
        metric=raw.metric,
        labels=labels,
        train=train,
        validation=built["validation"],
        test=built["test"],
        notes=raw.notes + notes + added,
    )
    return _finish(task, config)


def _with_label_lists(raw: RawTask, config: TaskConfig) -> RawTask:
    """Return a multilabel task with a list of labels in each row; others as they are."""
    refuse_columns(raw.kind, config.columns.labels, raw.labels)
    if raw.kind != "multilabel":
        return raw
    faults, splits = FaultList(), {}
    for name, split in raw.splits.items():
        with faults:
            splits[name] = with_label_lists(split, config.label_separator, raw.labels)
    raise_faults(faults.collected)
    return dataclasses.replace(raw, splits=splits, labels=raw.labels or config.columns.labels)


def _labels(raw: RawTask, train: KeptRows) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the label names, declared or from the train split, and in that case a note."""
    if raw.kind == "regression" or raw.labels:
        return (() if raw.kind == "regression" else raw.labels), ()
    names = discover_labels(train.column(train.raw.columns.label), raw.kind)
    names = tuple(name for name in names if not (train.raw.skip_unlabelled and name == "-1"))
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return names, (f"labels: {len(names)} found in train, sorted: {shown}",)


def _refuse_labels(raw: RawTask, labels: tuple[str, ...]) -> None:
    """Raise DataError for a metric that does not fit, and for too few or repeated label names."""
    faults = FaultList()
    fitting = ", ".join(METRICS_OF[raw.kind])
    if raw.metric not in METRICS_OF[raw.kind]:
        what = f"task '{raw.name}': metric {raw.metric} does not fit a {raw.kind}"
        faults.collected.append(
            DataError(
                what, expected=f"one of {fitting}", fix=f"task.metric={METRICS_OF[raw.kind][0]}"
            )
        )
    if raw.kind == "classification" and raw.metric == "f1" and len(labels) > 2:
        what = (
            f"task '{raw.name}': metric f1 is that of the second of two labels, the task has "
            f"{len(labels)}"
        )
        faults.collected.append(
            DataError(
                what, expected="macro_f1 for more than two labels", fix="task.metric=macro_f1"
            )
        )
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        what = f"task '{raw.name}': label {', '.join(twice)} is listed twice"
        faults.collected.append(
            DataError(what, expected="each label once", fix="remove the second one from the labels")
        )
    if len(labels) < 2 and raw.kind == "classification":
        what = f"task '{raw.name}' has {len(labels)} label{'s' if not labels else ': ' + labels[0]}"
        fix = (
            f"check the column '{raw.splits['train'].columns.label}' of {raw.splits['train'].where}"
        )
        faults.collected.append(DataError(what, expected="two labels or more", fix=fix))
    if not labels and raw.kind == "multilabel":
        train = raw.splits["train"]
        faults.collected.append(
            DataError(
                f"task '{raw.name}': no train row has a label",
                expected="rows with labels; an empty list is a row without any",
                fix=f"check the column '{train.columns.label}' of {train.where}",
            )
        )
    raise_faults(faults.collected)


def _fill(raw: RawTask, built: dict[str, Examples]) -> tuple[Examples, tuple[str, ...]]:
    """Add missing splits to `built`; return the rest of the train rows, and notes."""
    train = built["train"]
    total, notes = len(train), []
    for split in reversed(SPLITS[1:]):
        if split in built:
            continue
        taken = hold_out(strata_of(train.labels, raw.kind), SHARES[split] * total / len(train))
        if not len(taken):
            of_numbers = (
                ""
                if raw.kind == "regression"
                else "    or, if labels are numbers: task.kind=regression task.metric=pearson"
            )
            what = f"task '{raw.name}': {total} train rows are too few for a {split} split"
            raise DataError(
                what,
                expected="two or more rows of some label",
                fix=f"add rows, or give the task a {split} split" + of_numbers,
            )
        built[split] = train.take(taken)
        train = train.take(np.setdiff1d(np.arange(len(train)), taken))
        notes.append(
            f"{split}: {len(taken)} of {total} train rows (seed {SEED}, stratified), as no "
            f"{split} split is given"
        )
    return train, tuple(notes)


def _finish(task: Task, config: TaskConfig) -> Task:
    """Sample train and validation rows; raise DataError if all train rows have one label."""
    train, of_train = _sampled(task.train, "train", task.kind, config.max_rows, "max_rows")
    validation, of_validation = _sampled(
        task.validation, "validation", task.kind, config.max_validation_rows, "max_validation_rows"
    )
    notes = task.notes + of_train + of_validation
    if (train.labels == train.labels[0]).all():
        value = (
            train.labels[0]
            if task.kind == "regression"
            else ", ".join(np.array(task.labels)[np.atleast_1d(_chosen(task, train))])
        )
        raise DataError(
            f"task '{task.name}': all {len(train)} train rows have the same label: "
            f"{value or 'none'}",
            expected="at least two different labels in train",
            fix="raise task.max_rows"
            if of_train
            else "check the label column, or add rows of another label",
        )
    notes += _absent(task, train)
    task = dataclasses.replace(task, train=train, validation=validation, origin=_lasting(config))
    return dataclasses.replace(task, notes=notes + overlap_notes(task))


def _lasting(config: TaskConfig) -> TaskConfig:
    """Return the configuration with an absolute path, which leads to the same files anywhere."""
    is_here = config.source in ("folder", "files")
    return (
        dataclasses.replace(config, path=str(Path(config.path).expanduser().absolute()))
        if is_here
        else config
    )


def _sampled(
    rows: Examples, split: str, kind: Kind, limit: int, setting: str
) -> tuple[Examples, tuple[str, ...]]:
    """Return at most `limit` rows (0: all), and a note if rows were left out."""
    if not limit or limit >= len(rows):
        return rows, ()
    note = f"{split}: {limit} of {len(rows)} rows ({setting}, seed {SEED}, stratified)"
    return rows.take(sample(strata_of(rows.labels, kind), limit)), (note,)


def _chosen(task: Task, train: Examples) -> np.ndarray:
    return (
        np.flatnonzero(train.labels[0])
        if task.kind == "multilabel"
        else np.asarray(train.labels[0])
    )


def _absent(task: Task, train: Examples) -> tuple[str, ...]:
    if task.kind != "classification":
        return ()
    counts = np.bincount(train.labels, minlength=len(task.labels)).tolist()
    absent = [label for label, count in zip(task.labels, counts, strict=True) if not count]
    return (f"train: no row has the label {', '.join(absent)}",) if absent else ()
