"""Scores of a trained prefix and its own head on rows that training did not see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from prefixbank.api import combine, load_bank
from prefixbank.artifacts.json_files import read_json
from prefixbank.config.commands import TrainPrefixConfig
from prefixbank.config.running import RunConfig
from prefixbank.config.schema import CombineConfig, EncoderConfig, TaskConfig
from prefixbank.data.tasks.task import Task
from prefixbank.runtime.context import Context
from prefixbank.steps.score_prefix import step as score_prefix
from prefixbank.store.artifact import Entry
from prefixbank.store.key import key_of
from prefixbank.store.store import Store
from tests.prepared import SMALL, copy_store


@pytest.fixture
def context(prepared, tmp_path) -> Context:
    """Has the prefixes alpha and beta."""
    return Context(
        Store(copy_store(prepared.store, tmp_path / "copy")),
        RunConfig(device="cpu", data_root=str(prepared.tasks)),
    )


def unit_of(context: Context, trained: Entry, task: Task, split: str = "test"):
    files = context.encoder_files(EncoderConfig(source="tiny"))
    return score_prefix.unit(context, trained, task, files, "x", bootstrap_samples=200, split=split)


def scored(context: Context, trained: Entry, task: Task, split: str = "test") -> Entry:
    return context.ensure(unit_of(context, trained, task, split)).entry


def test_score_on_validation_is_the_one_that_training_found(context):
    trained, task = context.store.resolve("prefix", "alpha"), context.task(TaskConfig(name="alpha"))
    found = read_json(scored(context, trained, task, "validation"), "score.json")
    assert found["score"] == pytest.approx(read_json(trained, "result.json")["validation"])


def test_score_on_test_is_that_of_the_head_on_the_prefixs_own_vectors(context):
    trained, task = context.store.resolve("prefix", "alpha"), context.task(TaskConfig(name="alpha"))
    weighted = CombineConfig(normalize_weights=False)
    combine(["alpha"], name="only", combine=weighted, store=context.store.root)
    vectors = load_bank("only", store=context.store.root).embed(task.test.texts)
    head = load_file(trained.file("head.safetensors"))
    expected = np.array(
        [int(np.argmax(head["weight"] @ vector + head["bias"])) for vector in vectors]
    )
    entry = scored(context, trained, task)
    kept = load_file(entry.file("predictions.safetensors"))
    found = read_json(entry, "score.json")
    assert np.array_equal(kept["predictions"], expected) and np.array_equal(
        kept["labels"], task.test.labels
    )
    assert found["score"] == pytest.approx(float((expected == task.test.labels).mean()))
    assert (found["metric"], found["split"], found["n"]) == ("accuracy", "test", len(expected))


def test_regression_is_predicted_in_the_labels_own_units(context):
    task = context.task(TaskConfig(name="alpha"))
    rows = {
        split: replace(
            task.split(split),
            labels=100.0 + 50.0 * np.arange(len(task.split(split))) / len(task.split(split)),
        )
        for split in ("train", "validation", "test")
    }
    wanted = replace(task, kind="regression", metric="pearson", labels=(), **rows)
    from prefixbank.config.compose import compose
    from prefixbank.config.schema import PrefixRecipe, recipe_of
    from prefixbank.steps.train_prefix import step as train_prefix

    recipe = recipe_of(compose(TrainPrefixConfig, ["task=folder", *SMALL]), PrefixRecipe)
    files = context.encoder_files(EncoderConfig(source="tiny"))
    trained = context.ensure(
        replace(train_prefix.unit(context, wanted, files, recipe, "r"), ref=None)
    ).entry
    predictions = load_file(scored(context, trained, wanted).file("predictions.safetensors"))[
        "predictions"
    ]
    assert predictions.dtype == np.float64 and 80 < predictions.mean() < 170


def test_key_follows_the_prefix_and_the_rows(context):
    alpha, beta = (context.store.resolve("prefix", name) for name in ("alpha", "beta"))
    task = context.task(TaskConfig(name="alpha"))
    other = replace(task, test=replace(task.test, texts=("another text", *task.test.texts[1:])))
    keys = [
        key_of(unit_of(context, trained, rows).document)
        for trained, rows in ((alpha, task), (beta, task), (alpha, other))
    ]
    renamed = key_of(unit_of(context, alpha, replace(task, name="renamed")).document)
    assert len(set(keys)) == 3 and renamed == keys[0]


def test_line_says_metric_score_and_interval(context):
    trained, task = context.store.resolve("prefix", "alpha"), context.task(TaskConfig(name="alpha"))
    entry = scored(context, trained, task)
    found = read_json(entry, "score.json")
    assert (
        score_prefix.describe(entry)
        == f"accuracy {found['score']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"
    )
    assert found["low"] <= found["score"] <= found["high"] and torch.isfinite(
        torch.tensor(found["low"])
    )
