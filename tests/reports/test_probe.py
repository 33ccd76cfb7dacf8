"""Files on what a probe gets right and wrong."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from prefixbank.artifacts.json_files import write_json
from prefixbank.data.tasks.task import Examples, Task
from prefixbank.reports.probe import MOST_ERRORS, write_probe_report

ODDS = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.45, 0.55]])
GOLD = np.array([0, 0, 1, 0])


def examples(labels: np.ndarray, split: str, *, pairs: bool = False) -> Examples:
    texts = tuple(f'{split} "text", {row}\nof two lines' for row in range(len(labels)))
    return Examples(texts=texts, pairs=texts[::-1] if pairs else None, labels=labels)


def task_of(gold: np.ndarray, *, pairs: bool = False, **changes) -> Task:
    splits = {split: examples(gold, split, pairs=pairs) for split in ("train", "validation")}
    given = {"kind": "classification", "metric": "accuracy", "labels": ("no", "yes")}
    test = examples(gold, "test", pairs=pairs)
    return Task(**{"name": "mood", "test": test, **splits, **given, **changes})


@pytest.fixture
def report(put, tmp_path):
    """Write the files on a probe with these predictions; return the rows of both tables."""

    def write(
        task: Task, labels: np.ndarray, *draws: tuple[np.ndarray, np.ndarray], split: str = "test"
    ) -> tuple[list[dict[str, str]], list[dict[str, str]], Path]:
        def files(out: Path) -> None:
            classes = [{"label": "no", "precision": 0.5, "recall": 1.0, "f1": 2 / 3, "support": 3}]
            test = {"n": len(labels), "classes": classes}
            write_json(out / "probe.json", {"draws": len(draws), "split": split, "test": test})
            arrays = {
                f"{draw}.{name}": array
                for draw, both in enumerate(draws)
                for name, array in zip(("predictions", "probabilities"), both, strict=True)
            }
            save_file({"labels": labels, **arrays}, out / "predictions.safetensors")

        out = tmp_path / "out"
        write_probe_report(out, put("probe", files), task)
        tables = []
        for name in ("classes.csv", "errors.csv"):
            with (out / name).open(encoding="utf-8", newline="") as file:
                tables.append(list(csv.DictReader(file)))
        return *tables, out

    return write


def test_wrong_rows_come_with_texts_the_most_confident_first(report):
    _, errors, out = report(task_of(GOLD), GOLD, (ODDS.argmax(axis=1), ODDS))
    assert errors == [
        {
            "split": "test",
            "row": str(row),
            "gold": "no",
            "predicted": "yes",
            "probability": str(odds),
            "text": f'test "text", {row}\nof two lines',
        }
        for row, odds in ((1, 0.8), (3, 0.55))
    ]
    assert (out / "confusion.png").read_bytes().startswith(b"\x89PNG")


def test_scores_of_classes_are_those_of_the_result(report):
    classes, *_ = report(task_of(GOLD), GOLD, (GOLD, ODDS))
    assert classes == [
        {"label": "no", "precision": "0.5", "recall": "1.0", "f1": str(2 / 3), "support": "3"}
    ]
    assert list(classes[0]) == ["label", "precision", "recall", "f1", "support"]


def test_pairs_have_both_texts(report):
    _, errors, _ = report(task_of(GOLD, pairs=True), GOLD, (1 - GOLD, ODDS))
    assert {row["text_pair"] for row in errors} == {
        f'test "text", {row}\nof two lines' for row in range(4)
    }


def test_labels_that_are_wrong_in_a_row_are_listed_one_by_one(report):
    flags = np.array([[1, 0], [0, 0]], dtype=np.uint8)
    said = np.array([[0, 0], [0, 1]], dtype=np.uint8)
    odds = np.array([[0.2, 0.1], [0.3, 0.6]])
    _, errors, out = report(task_of(flags, kind="multilabel"), flags, (said, odds))
    found = [
        [row[name] for name in ("row", "label", "gold", "predicted", "probability")]
        for row in errors
    ]
    assert found == [["0", "no", "True", "False", "0.8"], ["1", "yes", "False", "True", "0.6"]]
    assert not (out / "confusion.png").exists()


def test_draws_are_listed_together(report):
    _, errors, _ = report(task_of(GOLD), GOLD, (1 - GOLD, ODDS), (1 - GOLD, ODDS[:, ::-1]))
    assert len(errors) == 8


def test_rows_of_cross_validation_are_named_by_their_split(report):
    labels = np.concatenate([GOLD] * 3)
    odds = np.concatenate([ODDS] * 3)
    _, errors, _ = report(
        task_of(GOLD), labels, (odds.argmax(axis=1), odds), split="cross-validated"
    )
    assert [(row["split"], row["row"]) for row in errors] == [
        (split, str(row)) for row in (1, 3) for split in ("train", "validation", "test")
    ]
    assert all(row["text"].startswith(row["split"]) for row in errors)


def test_no_more_than_the_most_confident_are_listed(report):
    labels = np.zeros(MOST_ERRORS + 20, dtype=int)
    high = np.linspace(0.5, 1, len(labels))
    odds = np.column_stack([1 - high, high])
    _, errors, _ = report(task_of(labels), labels, (np.ones(len(labels), dtype=int), odds))
    assert [float(row["probability"]) for row in errors] == sorted(high)[: -MOST_ERRORS - 1 : -1]


def test_probe_without_an_error_has_an_empty_list(report):
    _, errors, out = report(task_of(GOLD), GOLD, (GOLD, ODDS))
    assert errors == [] and (out / "errors.csv").exists()


def test_regression_has_no_such_files(put, tmp_path):
    numbers = task_of(GOLD.astype(float), kind="regression", labels=())
    write_probe_report(tmp_path / "out", put("probe", {"probe.json": {}}), numbers)
    assert not (tmp_path / "out").exists()
