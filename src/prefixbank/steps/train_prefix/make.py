"""Make the artifacts of steps `train-prefix` and `task-embedding`: prepare and run a fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from prefixbank.artifacts.bank import pooling_from
from prefixbank.config.schema import MultitaskRecipe, OptimConfig, PrefixRecipe
from prefixbank.core.prefix import Prefix, PrefixStart
from prefixbank.core.prompt import SoftPrompt
from prefixbank.core.shapes import Batch
from prefixbank.core.training.fit import embed_task, fit_prefix
from prefixbank.core.training.sampling import rows_each_epoch
from prefixbank.core.training.settings import (
    FitEvent,
    FitResult,
    FitSettings,
    TaskSettings,
    TrainingSettings,
)
from prefixbank.data.encoders.batches import epoch_batches
from prefixbank.data.encoders.encoder import Encoder
from prefixbank.data.encoders.files import EncoderFiles
from prefixbank.data.encoders.prompts import prompt_words
from prefixbank.data.tasks.task import Examples, Task
from prefixbank.runtime.checkpoint import FolderCheckpoint
from prefixbank.runtime.device import (
    check_memory,
    check_precision,
    free_bytes,
    memory_errors,
    open_device,
)
from prefixbank.runtime.events import Event
from prefixbank.runtime.session import Session
from prefixbank.runtime.tracking import tracked
from prefixbank.steps.flops import prefix_training_flops
from prefixbank.steps.train_prefix.batches import TokenizedTasks, mixed_batches
from prefixbank.steps.train_prefix.mixture import Mixture


@dataclass(frozen=True, kw_only=True)
class PreparedTraining:
    """Everything that a fit of a prefix needs.

    Args:
        encoder: the frozen encoder, on its device.
        rows: tokenised rows of each task.
        batches: epoch to its batches.
        validation: batches of the validation rows of each task.
        settings: what to fit and how.
    """

    encoder: Encoder
    rows: TokenizedTasks
    batches: Callable[[int], Sequence[Batch]]
    validation: list[list[Batch]]
    settings: FitSettings


def fit(
    session: Session,
    mixture: Mixture,
    files: EncoderFiles,
    recipe: PrefixRecipe,
    work: Path,
    on_event: Callable[[FitEvent], None],
    initial: Prefix | SoftPrompt | None = None,
) -> tuple[FitResult, dict[str, Any]]:
    """Train a prefix; return the result, and facts for result.json.

    Args:
        session: how to run.
        mixture: the tasks.
        files: the frozen encoder.
        recipe: settings of training.
        work: folder for checkpoints.
        on_event: gets the events of training.
        initial: prefix to start from; None: start values are drawn.
    """
    ready = prepare(session, mixture, files, recipe, initial)
    encoder = ready.encoder
    with (
        tracked(session.run, mixture.name, recipe, on_event) as listener,
        memory_errors(memory_hint(recipe.optim)),
    ):
        checkpoint = FolderCheckpoint(work, session.run.checkpoint_every_s)
        result = fit_prefix(
            encoder.model,
            encoder.shape,
            ready.batches,
            ready.validation,
            ready.settings,
            checkpoint=checkpoint,
            on_event=listener,
        )
    return result, {
        "train_rows": sum(ready.rows.sizes),
        "truncated_share": ready.rows.truncated_share,
        "training_flops": prefix_training_flops(
            encoder, ready.settings, ready.batches, result.steps
        ),
    }


def fit_early(
    session: Session,
    mixture: Mixture,
    files: EncoderFiles,
    recipe: PrefixRecipe,
    work: Path,
    on_event: Callable[[FitEvent], None],
    initial: Prefix | SoftPrompt | None = None,
) -> tuple[Prefix | SoftPrompt, int]:
    """Train as `fit`, until the task embedding is known; return it and its step."""
    ready = prepare(session, mixture, files, recipe, initial)
    encoder, checkpoint = ready.encoder, FolderCheckpoint(work, session.run.checkpoint_every_s)
    with memory_errors(memory_hint(recipe.optim)):
        return embed_task(
            encoder.model,
            encoder.shape,
            ready.batches,
            ready.validation,
            ready.settings,
            checkpoint=checkpoint,
            on_event=on_event,
        )


def prepare(
    session: Session,
    mixture: Mixture,
    files: EncoderFiles,
    recipe: PrefixRecipe,
    initial: Prefix | SoftPrompt | None,
) -> PreparedTraining:
    """Load the encoder, tokenise the rows, and check that the memory is large enough."""
    device = open_device(session.run)
    check_precision(device.name, recipe.optim.precision, setting="optim.precision")
    encoder = session.load(files, prompts=recipe.prefix.kind == "soft")
    encoder.check_length(recipe.max_length_tokens)
    rows = TokenizedTasks.of(encoder, mixture.tasks, recipe.max_length_tokens)
    check_memory(
        encoder.shape,
        max(int(one.tokens.lengths.max()) for one in rows.train),
        recipe,
        free_bytes(device.name),
    )
    return PreparedTraining(
        encoder=encoder,
        rows=rows,
        batches=_batches_of(rows, recipe, mixture.cap),
        validation=[one.validation_batches() for one in rows.validation],
        settings=fit_settings(
            mixture.tasks, recipe, initial, _first_words(encoder, mixture.tasks, recipe)
        ),
    )


def _batches_of(
    rows: TokenizedTasks, recipe: PrefixRecipe, size_cap: int
) -> Callable[[int], Sequence[Batch]]:
    """Return a function from the epoch to its batches.

    A single task has all its rows in each epoch, several tasks are mixed in proportion to size.
    """
    size, seed = recipe.optim.batch_size, recipe.seed
    if len(rows.train) == 1:
        (only,) = rows.train
        return lambda epoch: epoch_batches(
            only.tokens, only.labels, batch_size=size, seed=seed, epoch=epoch
        )
    counts = rows_each_epoch(rows.sizes, "proportional", temperature=1.0, size_cap=size_cap)
    return mixed_batches(rows.train, counts, batch_size=size, seed=seed)


def memory_hint(optim: OptimConfig) -> str:
    """Suggest settings that need less memory."""
    size = max(1, optim.batch_size // 4)
    return (
        f"optim.batch_size={size} optim.gradient_accumulation_steps=4, or "
        "optim.gradient_checkpointing=true"
    )


def fit_settings(
    tasks: Sequence[Task],
    recipe: PrefixRecipe,
    initial: Prefix | SoftPrompt | None = None,
    words: tuple[int, ...] = (),
) -> FitSettings:
    """Return the settings of a fit as `core` takes them.

    Args:
        tasks: tasks to train on.
        recipe: settings of training.
        initial: prefix to start from.
        words: token ids whose input embeddings a soft prompt starts as.
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
        soft=prefix.kind == "soft",
        words=words,
    )
    return FitSettings(
        start=start,
        task_embedding_fraction=prefix.task_embedding_fraction,
        **training_of(tasks, recipe),
    )


def _first_words(encoder: Encoder, tasks: Sequence[Task], recipe: PrefixRecipe) -> tuple[int, ...]:
    """Return the token ids whose input embeddings a soft prompt starts as, if it does."""
    match recipe.prefix.init:
        case "vocabulary":
            return prompt_words(encoder, (), recipe.prefix.length, recipe.seed)
        case "labels":
            labels = dict.fromkeys(label for task in tasks for label in task.labels)
            return prompt_words(encoder, tuple(labels), recipe.prefix.length, recipe.seed)
        case _:
            return ()


def _task_settings(task: Task) -> TaskSettings:
    """Return the settings of a task's head."""
    mean, scale = (0.0, 1.0) if task.kind != "regression" else _standard(task.train)
    return TaskSettings(
        kind=task.kind,
        metric=task.metric,
        num_outputs=task.num_outputs,
        label_mean=mean,
        label_scale=scale,
    )


def training_of(tasks: Sequence[Task], recipe: PrefixRecipe | MultitaskRecipe) -> dict[str, Any]:
    """Return the fields of `TrainingSettings`: all of `optim` but the batch size."""
    known = {field.name for field in fields(TrainingSettings)}
    return {
        **{name: value for name, value in asdict(recipe.optim).items() if name in known},
        "tasks": tuple(_task_settings(task) for task in tasks),
        "pooling": pooling_from(recipe.pooling),
        "seed": recipe.seed,
    }


def _standard(examples: Examples) -> tuple[float, float]:
    """Return mean and standard deviation of regression labels; 1 if the deviation is 0."""
    labels = np.asarray(examples.labels, dtype=np.float64)
    return float(labels.mean()), float(labels.std()) or 1.0


def progress_of(session: Session, step: str, name: str) -> Callable[[FitEvent], None]:
    """Return a listener that emits training events as progress."""

    def listen(event: FitEvent) -> None:
        text = (
            f"loss {event.loss:.3f}"
            if event.validation is None
            else f"validation {event.validation:.3f}"
        )
        session.emit(
            Event(
                kind="progress",
                step=step,
                name=name,
                done=event.step,
                total=event.total_steps,
                text=text,
            )
        )

    return listen
