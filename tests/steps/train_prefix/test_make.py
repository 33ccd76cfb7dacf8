"""From configuration, task and machine to the settings of a fit, and what is refused before it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from prefixbank.config.schema import OptimConfig, PoolingConfig, PrefixConfig, PrefixRecipe
from prefixbank.data.tasks.task import Examples, Task
from prefixbank.steps.train_prefix.settings import fit_settings


def task_of(kind: str, labels: np.ndarray) -> Task:
    rows = Examples(texts=("a",) * len(labels), pairs=None, labels=labels)
    metric = "pearson" if kind == "regression" else "accuracy"
    return Task(
        name="t",
        kind=kind,
        metric=metric,
        labels=() if kind == "regression" else ("no", "yes"),
        train=rows,
        validation=rows,
        test=rows,
        notes=(),
    )


def test_regression_labels_are_standardised():
    found = fit_settings([task_of("regression", np.array([1.0, 2.0, 6.0]))], PrefixRecipe())
    assert (found.tasks[0].label_mean, found.tasks[0].label_scale) == pytest.approx(
        (3.0, np.sqrt(14 / 3))
    )


def test_class_labels_are_left_as_they_are():
    found = fit_settings([task_of("classification", np.array([0, 1, 1]))], PrefixRecipe())
    assert [(task.label_mean, task.label_scale, task.num_outputs) for task in found.tasks] == [
        (0.0, 1.0, 2)
    ]


def test_settings_are_those_of_the_recipe():
    recipe = PrefixRecipe(
        prefix=PrefixConfig(length=3, init_scale=0.1, gate="learned", gate_init=-1.0, dropout=0.2),
        optim=OptimConfig(
            lr=0.5,
            head_lr=0.25,
            epochs=7,
            early_stopping_patience=2,
            gradient_accumulation_steps=3,
            schedule="cosine",
            precision="bf16",
        ),
        pooling=PoolingConfig(position="cls", layers="concat_last", last_k=2),
        seed=11,
    )
    found = fit_settings([task_of("classification", np.array([0, 1]))], recipe)
    start = found.start
    assert (start.length, start.init_scale, start.gated, start.gate_init, start.dropout) == (
        3,
        0.1,
        True,
        -1.0,
        0.2,
    )
    assert (
        found.lr,
        found.head_lr,
        found.epochs,
        found.early_stopping_patience,
        found.gradient_accumulation_steps,
    ) == (0.5, 0.25, 7, 2, 3)
    assert (found.schedule, found.precision, found.seed) == ("cosine", "bf16", 11)
    assert (found.optimizer, start.kind, start.words) == ("adamw", "deep", ())
    assert found.pooling == replace(found.pooling, position="cls", layers="concat_last", last_k=2)


def test_settings_of_a_soft_prompt_are_those_of_the_recipe():
    recipe = PrefixRecipe(
        prefix=PrefixConfig(kind="soft", length=3), optim=OptimConfig(optimizer="adafactor")
    )
    found = fit_settings([task_of("classification", np.array([0, 1]))], recipe, words=(5, 6, 7))
    assert (found.optimizer, found.start.kind, found.start.words, found.start.length) == (
        "adafactor",
        "soft",
        (5, 6, 7),
        3,
    )


def test_settings_of_read_outs_are_those_of_the_recipe():
    recipe = PrefixRecipe(
        prefix=PrefixConfig(kind="readout", length=0, readouts=3, summary="concat", size=7),
        optim=OptimConfig(vector_lr=0.25, text_states="cached_fp16"),
    )
    found = fit_settings([task_of("classification", np.array([0, 1]))], recipe)
    start = found.start
    assert (start.kind, start.length, start.readouts) == ("readout", 0, 3)
    assert (start.summary, start.size) == ("concat", 7)
    assert (found.vector_lr, found.text_states) == (0.25, "cached_fp16")
