"""`python -m benchmarks.onnx_int8`: scores and shares, and what they are taken from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from tokenizers import Tokenizer

from benchmarks import measure, onnx_int8
from prefixbank.data.starter.suite import starter_task
from prefixbank.store.store import Store


def task_of(kind: str, labels: list[float]):
    """A task with these labels on its test rows."""
    task = starter_task("similarity" if kind == "regression" else "complaint")
    test = replace(
        task.test,
        texts=task.test.texts[: len(labels)],
        pairs=None if task.test.pairs is None else task.test.pairs[: len(labels)],
        labels=np.array(labels, dtype=task.test.labels.dtype),
    )
    return replace(task, test=test)


def test_classes_are_compared_row_by_row():
    task = task_of("classification", [0, 1, 1, 0])
    one = {"complaint": np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.3, 0.7]])}
    other = {"complaint": np.array([[0.8, 0.2], [0.6, 0.4], [0.4, 0.6], [0.6, 0.4]])}
    found = onnx_int8.compared(task, one, other)
    assert (found["fp32"], found["int8"], found["rows"]) == (0.75, 0.75, 4)
    assert found["same_predictions"] == 0.5
    assert found["largest_difference"] == pytest.approx(0.4)
    interval = found["difference"]
    assert interval["value"] == 0 and interval["low"] < 0 < interval["high"]


def test_values_have_no_share_of_equal_ones():
    task = task_of("regression", [1.0, 2.0, 3.0, 4.0])
    one = {"similarity": np.array([[0.0], [1.0], [2.0], [3.0]])}
    found = onnx_int8.compared(task, one, {"similarity": -one["similarity"]})
    assert (found["fp32"], found["int8"]) == pytest.approx((1, -1))
    assert found["same_predictions"] is None


def test_cosines_are_those_of_rows():
    one, other = np.array([[1.0, 0.0], [1.0, 1.0]]), np.array([[3.0, 0.0], [1.0, 0.0]])
    found = onnx_int8.cosines({"vector": one}, {"vector": other})
    assert found == pytest.approx([1, np.sqrt(0.5)])


@pytest.mark.slow
def test_result_is_what_plain_numpy_makes_of_the_exported_files(tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "RESULTS", tmp_path)
    small = ("--encoder", "tiny", "--epochs", "0", "--texts", "6", "--rounds", "1")
    onnx_int8.main([*small, "--store", str(tmp_path / "store")])
    found = json.loads((tmp_path / "onnx_int8.json").read_text(encoding="utf-8"))
    store = Store(tmp_path / "store")
    folders = {
        "fp32": store.resolve("export", "onnx-int8.onnx").path,
        "int8": store.resolve("export", "onnx-int8.int8.onnx").path,
    }
    assert found["bytes"] == {
        name: Path(folder, "model.onnx").stat().st_size for name, folder in folders.items()
    }
    task = starter_task("complaint")
    order = sorted(range(400), key=lambda row: len(task.test.texts[row]))
    said, vectors = {}, {}
    for name, folder in folders.items():
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        session = onnxruntime.InferenceSession(folder / "model.onnx")
        said[name], vectors[name] = np.zeros((400, 2)), np.zeros((400, 64))
        for start in range(0, 400, 32):
            rows = order[start : start + 32]
            encodings = tokenizer.encode_batch([task.test.texts[row] for row in rows])
            ids = {
                "input_ids": np.array([one.ids for one in encodings]),
                "attention_mask": np.array([one.attention_mask for one in encodings]),
                "token_type_ids": np.array([one.type_ids for one in encodings]),
            }
            vectors[name][rows], said[name][rows] = session.run(["vector", "complaint"], ids)
    head = found["heads"]["complaint"]
    labels = np.asarray(task.test.labels)
    classes = {name: one.argmax(axis=1) for name, one in said.items()}
    for name, one in classes.items():
        assert head[name] == pytest.approx((one == labels).mean())
    assert head["same_predictions"] == pytest.approx((classes["fp32"] == classes["int8"]).mean())
    assert head["largest_difference"] == pytest.approx(
        np.abs(said["fp32"] - said["int8"]).max(), abs=1e-6
    )
    assert head["difference"]["value"] == pytest.approx(head["int8"] - head["fp32"])
    least = min(
        a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        for a, b in zip(vectors["fp32"], vectors["int8"], strict=True)
    )
    assert found["vectors"]["least_cosine"] <= least + 1e-6
    assert set(found["heads"]) == {"question_type", "emotion", "similarity", "complaint"}
    fp32, int8 = found["seconds"]["fp32"], found["seconds"]["int8"]
    assert found["int8 is faster"]["median"] == pytest.approx(fp32[0] / int8[0])
