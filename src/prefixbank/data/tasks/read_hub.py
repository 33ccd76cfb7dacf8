"""Read a task from a data set repository of the Hugging Face hub, without running its code."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Any

from prefixbank.config.schema import TaskConfig
from prefixbank.data.row_faults import columns_in_use, missing_columns
from prefixbank.data.tasks.raw import FaultList, RawSplit, RawTask
from prefixbank.errors import DataError, HubError, did_you_mean, raise_faults

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict


OFFLINE_FIX = (
    "check the name and the network; without network, set HF_HUB_OFFLINE=1 and use a filled cache, "
    "or download the files and use task=files task.path=FOLDER (or task=folder)"
)

SCRIPT_FIX = (
    "task.revision=refs/convert/parquet    "
    "if the hub has a Parquet copy, or name another repository"
)


def read_hub(config: TaskConfig, name: str) -> RawTask:
    """Load a hub data set and select its splits and columns.

    Args:
        config: with `hub_id` (a repository, or a folder with the same layout), `hub_config`,
            `revision`, `splits` and `columns`.
        name: name of the task.

    Returns:
        The task, whose rows are not checked yet. Rows with the integer label -1 are unlabelled. If
        the configuration lists no labels, they are those of the data set's label feature, if it has
        one.

    Raises:
        HubError: the repository cannot be reached, does not exist, or needs its own code to run.
        DataError: there is no `hub_id`, a split or column is missing, or the data set declares
            another number of labels.
        Faults: several of these.
    """
    if not config.hub_id:
        raise DataError(
            f"task '{name}' has no task.hub_id",
            expected="a data set repository such as nyu-mll/glue",
            fix="task.hub_id=OWNER/NAME",
        )
    dataset = _load(config)
    faults = FaultList()
    splits: dict[str, RawSplit] = {}
    for split, hub_split in dataclasses.asdict(config.splits).items():
        if hub_split:
            with faults:
                splits[split] = _select(config, dataset, split, hub_split)
    raise_faults(faults.collected)
    labels = _labels(config, dataset[config.splits.train]) if "train" in splits else config.labels
    return RawTask(name=name, kind=config.kind, metric=config.metric, labels=labels, splits=splits)


def _load(config: TaskConfig) -> DatasetDict:
    import datasets
    import huggingface_hub.errors

    if not sys.stderr.isatty():
        datasets.disable_progress_bars()

    failures: tuple[type[Exception], ...] = (
        OSError,
        ValueError,
        RuntimeError,
        datasets.exceptions.DatasetsError,
        huggingface_hub.errors.HfHubHTTPError,
    )
    try:
        return datasets.load_dataset(
            config.hub_id, config.hub_config or None, revision=config.revision
        )
    except failures as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        expected = (
            "an accessible repository with data files such as Parquet; scripts of repositories "
            "are not run"
        )
        fix = SCRIPT_FIX if "script" in reason else OFFLINE_FIX
        raise HubError(
            f"cannot load {_label(config)}: {reason}", expected=expected, fix=fix
        ) from error


def _label(config: TaskConfig) -> str:
    return (
        f"'{config.hub_id}'"
        + (f" ({config.hub_config})" if config.hub_config else "")
        + f" at revision {config.revision}"
    )


def _select(config: TaskConfig, dataset: DatasetDict, split: str, hub_split: str) -> RawSplit:
    if hub_split not in dataset:
        raise DataError(
            f"{_label(config)} has no split '{hub_split}'{did_you_mean(hub_split, dataset)}",
            expected=f"one of its splits: {', '.join(dataset)}",
            fix=f"task.splits.{split}=NAME"
            + ("" if split == "train" else f"    or take it from train: task.splits.{split}=''"),
        )
    where = f"{config.hub_id} {hub_split}"
    rows = dataset[hub_split]
    raise_faults(missing_columns(where, config.columns, rows.column_names))
    names = list(dict.fromkeys(columns_in_use(config.columns).values()))
    table = rows.select_columns(names).with_format("arrow")[:]
    return RawSplit(where=where, table=table, columns=config.columns, skip_unlabelled=True)


def _labels(config: TaskConfig, train: Dataset) -> tuple[str, ...]:
    if config.columns.labels:
        return config.labels
    declared = tuple(_class_names(train.features[config.columns.label]))
    if config.labels and declared and len(config.labels) != len(declared):
        raise DataError(
            f"task.labels lists {len(config.labels)} labels, {_label(config)} declares "
            f"{len(declared)}: {', '.join(declared)}",
            expected="the same number of labels in the same order",
            fix="correct task.labels, or leave it empty to take the data set's own",
        )
    return config.labels or declared


def _class_names(feature: Any) -> list[str]:
    """Return the names of a label feature, or of one inside a list feature, else none."""
    inner = getattr(feature, "feature", feature)
    return list(getattr(inner, "names", None) or [])
