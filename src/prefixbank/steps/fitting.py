"""From configuration, task and encoder to a call of `core.fit`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from prefixbank.config.schema import OptimConfig, PoolingConfig, PrefixRecipe
from prefixbank.core.fit import FitEvent, FitResult, FitSettings, embed_task, fit_prefix
from prefixbank.core.fit_types import TaskSettings, TrainingSettings
from prefixbank.core.pooling import Pooling
from prefixbank.core.prefix import Prefix, PrefixStart
from prefixbank.core.prompt import SoftPrompt
from prefixbank.core.shapes import Batch
from prefixbank.data.batches import Tokens, budget_batches, epoch_batches, tokenize
from prefixbank.data.encoder import Encoder
from prefixbank.data.encoder_files import EncoderFiles
from prefixbank.data.prompts import prompt_words
from prefixbank.data.tasks import Examples, Task
from prefixbank.errors import DeviceError
from prefixbank.steps.context import Context
from prefixbank.steps.events import Event
from prefixbank.steps.flops import prefix_training_flops
from prefixbank.steps.memory import check_memory, free_bytes, memory_errors
from prefixbank.steps.tensors import FolderCheckpoint
from prefixbank.steps.tracking import tracked

VALIDATION_TOKENS = 4096


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Everything that a fit of a prefix needs.

    Args:
        encoder: frozen, on its device.
        train: tokens of the train rows.
        validation: of the validation rows.
        batches: gives the batches of an epoch.
        scored: batches of the validation rows.
        settings: what to fit and how.
    """

    encoder: Encoder
    train: Tokens
    validation: Tokens
    batches: Callable[[int], Sequence[Batch]]
    scored: list[Batch]
    settings: FitSettings


def fit(
    context: Context,
    task: Task,
    files: EncoderFiles,
    recipe: PrefixRecipe,
    work: Path,
    on_event: Callable[[FitEvent], None],
    initial: Prefix | SoftPrompt | None = None,
) -> tuple[FitResult, dict[str, Any]]:
    """Train, from a prefix if one is given; return the result, and what is worth knowing about the rows it saw."""
    ready = prepare(context, task, files, recipe, initial)
    encoder = ready.encoder
    with tracked(context.run, task.name, recipe, on_event) as listener, memory_errors(_smaller(recipe)):
        checkpoint = FolderCheckpoint(work, context.run.checkpoint_every_s)
        result = fit_prefix(
            encoder.model, encoder.shape, ready.batches, ready.scored, ready.settings, checkpoint=checkpoint, on_event=listener
        )
    rows = len(ready.train) + len(ready.validation)
    return result, {
        "train_rows": len(ready.train),
        "truncated_share": (ready.train.truncated + ready.validation.truncated) / rows,
        "training_flops": prefix_training_flops(encoder, ready.settings, ready.batches, result.steps),
    }


def fit_early(
    context: Context,
    task: Task,
    files: EncoderFiles,
    recipe: PrefixRecipe,
    work: Path,
    on_event: Callable[[FitEvent], None],
    initial: Prefix | SoftPrompt | None = None,
) -> tuple[Prefix | SoftPrompt, int]:
    """Train as `fit` does, no longer than the task embedding needs; return it and its step."""
    ready = prepare(context, task, files, recipe, initial)
    encoder, checkpoint = ready.encoder, FolderCheckpoint(work, context.run.checkpoint_every_s)
    with memory_errors(_smaller(recipe)):
        return embed_task(
            encoder.model, encoder.shape, ready.batches, ready.scored, ready.settings, checkpoint=checkpoint, on_event=on_event
        )


def prepare(context: Context, task: Task, files: EncoderFiles, recipe: PrefixRecipe, initial: Prefix | SoftPrompt | None) -> Fit:
    """Load the encoder, tokenise the rows and check that there is memory for them."""
    check_precision(context, recipe.optim.precision, setting="optim.precision")
    encoder = context.load(files, prompts=recipe.prefix.kind == "soft")
    encoder.check_length(recipe.max_length_tokens)
    train = tokenize(encoder.tokenizer, task.train.texts, task.train.pairs, recipe.max_length_tokens)
    validation = tokenize(encoder.tokenizer, task.validation.texts, task.validation.pairs, recipe.max_length_tokens)
    check_memory(encoder.shape, train, recipe, free_bytes(context.device()))
    labels = training_labels(task.train)

    def batches(epoch: int) -> Sequence[Batch]:
        return epoch_batches(train, labels, batch_size=recipe.optim.batch_size, seed=recipe.seed, epoch=epoch)

    return Fit(
        encoder=encoder,
        train=train,
        validation=validation,
        batches=batches,
        scored=list(budget_batches(validation, VALIDATION_TOKENS, task.validation.labels)),
        settings=settings(task, recipe, initial, _first_words(encoder, task, recipe)),
    )


def _smaller(recipe: PrefixRecipe) -> str:
    """Return settings that need less memory."""
    size = max(1, recipe.optim.batch_size // 4)
    return f"optim.batch_size={size} optim.accumulation_steps=4, or optim.gradient_checkpointing=true"


def settings(task: Task, recipe: PrefixRecipe, initial: Prefix | SoftPrompt | None = None, words: tuple[int, ...] = ()) -> FitSettings:
    """Translate task and recipe into the words of `core`, with the prefix to start from, or the words whose embeddings a soft prompt is."""
    prefix = recipe.prefix
    start = PrefixStart(
        length=prefix.length,
        init_scale=prefix.init_scale,
        reparameterisation=prefix.reparameterisation,
        mlp_hidden_size=prefix.mlp_hidden_size,
        gated=prefix.gate == "learned",
        gate_init=prefix.gate_init,
        dropout=prefix.dropout,
        initial=initial,
        soft=prefix.kind == "soft",
        words=words,
    )
    shared = {**asdict(task_settings(task)), **training_of(recipe.optim, recipe.seed)}
    return FitSettings(start=start, pooling=pooling_of(recipe.pooling), embedding_share=prefix.embedding_share, **shared)


def _first_words(encoder: Encoder, task: Task, recipe: PrefixRecipe) -> tuple[int, ...]:
    """Return the token ids that a soft prompt starts as; none where it starts from other values."""
    match recipe.prefix.init:
        case "vocabulary":
            return prompt_words(encoder, (), recipe.prefix.length, recipe.seed)
        case "labels":
            return prompt_words(encoder, task.labels, recipe.prefix.length, recipe.seed)
        case _:
            return ()


def task_settings(task: Task) -> TaskSettings:
    """Say what a task's head learns."""
    mean, scale = (0.0, 1.0) if task.kind != "regression" else _standard(task.train)
    return TaskSettings(kind=task.kind, metric=task.metric, num_outputs=task.num_outputs, label_mean=mean, label_scale=scale)


def training_of(optim: OptimConfig, seed: int) -> dict[str, Any]:
    """Return the fields of `TrainingSettings`; all but the batch size, which is in the batches."""
    kept = {field.name for field in fields(TrainingSettings)}
    return {**{name: value for name, value in asdict(optim).items() if name in kept}, "optimizer": optim.name, "seed": seed}


def pooling_of(config: PoolingConfig) -> Pooling:
    """Translate the pooling part of a configuration."""
    return Pooling(position=config.position, layers=config.layers, last_k=config.last_k, layer=config.layer)


def training_labels(examples: Examples) -> np.ndarray:
    """Return the labels as batches want them."""
    return np.asarray(examples.labels)


def _standard(examples: Examples) -> tuple[float, float]:
    """Return mean and standard deviation of regression labels; 1 in place of the deviation where all are equal."""
    labels = np.asarray(examples.labels, dtype=np.float64)
    return float(labels.mean()), float(labels.std()) or 1.0


def progress_of(context: Context, step: str, name: str) -> Callable[[FitEvent], None]:
    """Return a listener that passes training events on as progress."""

    def listen(event: FitEvent) -> None:
        text = f"loss {event.loss:.3f}" if event.validation is None else f"validation {event.validation:.3f}"
        context.emit(Event(kind="progress", step=step, name=name, done=event.step, total=event.total_steps, text=text))

    return listen


def check_precision(context: Context, precision: str, *, setting: str) -> None:
    """Refuse half precision, as `setting` asks for it, where the device has none.

    Raises:
        DeviceError: fp16 away from a GPU, or bf16 on a GPU that lacks it.
    """
    import torch

    device = context.device()
    if (precision == "fp16" and device != "cuda") or (precision == "bf16" and device == "cuda" and not torch.cuda.is_bf16_supported()):
        raise DeviceError(
            f"{setting}={precision} on device {device}",
            expected="fp32, or bf16 where the device has it; fp16 needs a GPU",
            fix=f"{setting}=fp32",
        )
