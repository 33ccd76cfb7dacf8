"""Settings of trainings as `core` takes them, from recipes and tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np
from torch import Tensor

from prefixbank.artifacts.bank import pooling_from
from prefixbank.choices import SourcePairs
from prefixbank.config.schema import MultitaskRecipe, PrefixRecipe
from prefixbank.core.prefix import AnyPrefix, PrefixStart
from prefixbank.core.training.settings import FitSettings, TaskSettings
from prefixbank.data.tasks.task import Examples, Task
from prefixbank.steps.train_prefix.mixture import pairs_read


def fit_settings(
    tasks: Sequence[Task],
    recipe: PrefixRecipe,
    initial: AnyPrefix | None = None,
    words: tuple[int, ...] = (),
    slots: Tensor | None = None,
) -> FitSettings:
    """Return the settings of a fit as `core` takes them.

    Args:
        tasks: tasks to train on.
        recipe: settings of training.
        initial: prefix to start from.
        words: token ids whose input embeddings vectors start as.
        slots: keys and values that slots start as.
    """
    prefix = recipe.prefix
    start = PrefixStart(
        length=prefix.length,
        init_scale=prefix.init_scale,
        projection=prefix.projection,
        mlp_hidden_size=prefix.mlp_hidden_size,
        gated=prefix.gate == "learned",
        gate_init=prefix.gate_init,
        dropout=prefix.dropout,
        initial=initial,
        kind=prefix.kind,
        words=words,
        slots=slots,
        readouts=prefix.readouts,
        summary=prefix.summary,
        normalised=prefix.norm == "layer",
        size=prefix.size,
    )
    return FitSettings(
        start=start,
        task_embedding_fraction=prefix.task_embedding_fraction,
        **training_of(tasks, recipe),
    )


def training_of(tasks: Sequence[Task], recipe: PrefixRecipe | MultitaskRecipe) -> dict[str, Any]:
    """Return the fields of the settings of a training: all of `optim` but the batch size."""
    known = {field.name for field in fields(FitSettings)}
    pairs = (recipe.prefix if isinstance(recipe, PrefixRecipe) else recipe.multitask).pairs
    return {
        **{name: value for name, value in asdict(recipe.optim).items() if name in known},
        "tasks": tuple(_task_settings(task, pairs) for task in tasks),
        "pooling": pooling_from(recipe.pooling),
        "seed": recipe.seed,
    }


def _task_settings(task: Task, pairs: SourcePairs) -> TaskSettings:
    """Return the settings of a task's head."""
    mean, scale = (0.0, 1.0) if task.kind != "regression" else _standard(task.train)
    return TaskSettings(
        kind=task.kind,
        metric=task.metric,
        num_outputs=task.num_outputs,
        label_mean=mean,
        label_scale=scale,
        separate=pairs_read(task, pairs) == "separate",
    )


def _standard(examples: Examples) -> tuple[float, float]:
    """Return mean and standard deviation of regression labels; 1 if the deviation is 0."""
    labels = np.asarray(examples.labels, dtype=np.float64)
    return float(labels.mean()), float(labels.std()) or 1.0
