"""What a probe gets right and wrong, class by class and row by row, as files for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from prefixbank.artifacts.json_files import read_json
from prefixbank.artifacts.probe import PREDICTIONS, PROBE
from prefixbank.artifacts.tensors import read_tensors
from prefixbank.core.stats.classes import confusion_matrix
from prefixbank.data.tasks.task import SPLITS, Task
from prefixbank.reports.charts.confusion import confusion_chart
from prefixbank.reports.charts.style import save, styled
from prefixbank.reports.csv_file import write_csv
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON

CLASSES, CONFUSION, ERRORS = "classes.csv", "confusion.png", "errors.csv"
MOST_ERRORS = 100
"""Wrong predictions that are listed."""

Place = tuple[str, int]
"""A split, and the number of a row in it."""


def write_probe_report(out: Path, probe: Entry, task: Task) -> None:
    """Write `classes.csv`, `confusion.png` and `errors.csv` of a probe into a folder.

    `classes.csv` has precision, recall, F1 and support of each class or label; `confusion.png` how
    often each class is taken for each other; `errors.csv` the most confident wrong predictions with
    their texts. Few-shot draws are counted together. A regression has none of these, and labels
    have no matrix.

    Args:
        out: the folder, made if it does not exist.
        probe: the artifact.
        task: that it was scored on.
    """
    if task.kind == "regression":
        return
    out.mkdir(parents=True, exist_ok=True)
    result: JSON = read_json(probe, PROBE)
    arrays = {name: one.numpy() for name, one in read_tensors(probe, PREDICTIONS).items()}
    predictions, probabilities = (
        [arrays[f"{draw}.{name}"] for draw in range(result["draws"])]
        for name in ("predictions", "probabilities")
    )
    labels = arrays["labels"]
    columns = ("label", "precision", "recall", "f1", "support")
    classes = [{name: one[name] for name in columns} for one in result["test"]["classes"]]
    write_csv(out / CLASSES, classes)
    if task.kind == "classification":
        counts = sum(confusion_matrix(one, labels, task.num_outputs) for one in predictions)
        with styled():
            save(
                confusion_chart(_title(task, result), task.labels, np.asarray(counts)),
                out / CONFUSION,
            )
    wrong = [
        line
        for draw in zip(predictions, probabilities, strict=True)
        for line in _errors(*draw, labels, task, _places(task, result["split"]))
    ]
    wrong.sort(key=lambda line: -line["probability"])
    write_csv(out / ERRORS, wrong[:MOST_ERRORS])


def _title(task: Task, result: JSON) -> str:
    draws = f" in {result['draws']} draws" if result["draws"] > 1 else ""
    return f"{task.name}: {result['test']['n']:,} {result['split']} rows{draws}"


def _places(task: Task, split: str) -> list[Place]:
    """Return where each scored row stands; cross-validation scores all splits one by one."""
    splits = [split] if split in SPLITS else SPLITS
    return [(name, row) for name in splits for row in range(len(task.split(name)))]


def _errors(
    predictions: np.ndarray,
    probabilities: np.ndarray,
    labels: np.ndarray,
    task: Task,
    places: Sequence[Place],
) -> Iterator[JSON]:
    """Yield a line for each wrong class, or for each label that is wrong in a row."""
    for row, *label in np.argwhere(predictions != labels).tolist():
        split, number = places[row]
        line: JSON = {"split": split, "row": number}
        if label:
            (column,) = label
            said = bool(predictions[row, column])
            odds = probabilities[row, column]
            line |= {"label": task.labels[column], "gold": not said, "predicted": said}
            line["probability"] = float(odds if said else 1 - odds)
        else:
            line |= {
                "gold": task.labels[labels[row]],
                "predicted": task.labels[predictions[row]],
                "probability": float(probabilities[row, predictions[row]]),
            }
        examples = task.split(split)
        line["text"] = examples.texts[number]
        if examples.pairs is not None:
            line["text_pair"] = examples.pairs[number]
        yield line
