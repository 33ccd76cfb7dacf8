"""From configuration, tasks and encoder to a call of `core.multitask`, and the artifact's tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from prefixbank.config.schema import MultitaskRecipe
from prefixbank.core.fit_types import FitEvent, MultitaskResult, MultitaskSettings
from prefixbank.core.multitask import fit_multitask
from prefixbank.core.sampling import epoch_plan, rows_each_epoch
from prefixbank.core.shapes import Batch
from prefixbank.data.batches import Tokens, budget_batches, tokenize
from prefixbank.data.encoder import Encoder
from prefixbank.data.encoder_files import SINGLE_WEIGHTS, EncoderFiles, copy_without_weights, list_files
from prefixbank.data.tasks import Examples, Task
from prefixbank.steps.context import Context
from prefixbank.steps.fitting import VALIDATION_TOKENS, check_precision, pooling_of, task_settings, training_labels, training_of
from prefixbank.steps.flops import batches_seen, finetuning_flops
from prefixbank.steps.memory import memory_errors
from prefixbank.steps.tensors import FolderCheckpoint, write_tensors
from prefixbank.steps.tracking import tracked


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """One split of a task, tokenised."""

    tokens: Tokens
    labels: np.ndarray


def fit(
    context: Context,
    tasks: Sequence[Task],
    files: EncoderFiles,
    recipe: MultitaskRecipe,
    work: Path,
    name: str,
    on_event: Callable[[FitEvent], None],
) -> tuple[MultitaskResult, dict[str, Any]]:
    """Train; return the result, and what is worth knowing about the rows it saw."""
    optim = recipe.optim
    check_precision(context, optim.precision, setting="optim.precision")
    encoder = context.load(files)
    encoder.check_length(recipe.max_length_tokens)
    train = [_rows(encoder, task.train, recipe) for task in tasks]
    validation = [_rows(encoder, task.validation, recipe) for task in tasks]
    smaller = f"optim.batch_size={max(1, optim.batch_size // 4)} optim.accumulation_steps=4, or optim.gradient_checkpointing=true"
    batches = _batches_of(train, recipe)
    with tracked(context.run, name, recipe, on_event) as listener, memory_errors(smaller):
        result = fit_multitask(
            encoder.model,
            encoder.shape.hidden_size,
            batches,
            [list(budget_batches(rows.tokens, VALIDATION_TOKENS, rows.labels)) for rows in validation],
            settings(tasks, recipe),
            checkpoint=FolderCheckpoint(work, context.run.checkpoint_every_s),
            on_event=listener,
        )
    every = [rows.tokens for rows in (*train, *validation)]
    seen = batches_seen(batches, result.steps, optim.accumulation_steps)
    flops = finetuning_flops(encoder, pooling_of(recipe.pooling), ((tasks[batch.task].num_outputs, batch) for batch in seen))
    truncated = sum(tokens.truncated for tokens in every) / sum(len(tokens) for tokens in every)
    return result, {"truncated_share": truncated, "training_flops": flops}


def settings(tasks: Sequence[Task], recipe: MultitaskRecipe) -> MultitaskSettings:
    """Translate tasks and recipe into the words of `core`."""
    heads = tuple(task_settings(task) for task in tasks)
    return MultitaskSettings(tasks=heads, pooling=pooling_of(recipe.pooling), **training_of(recipe.optim, recipe.seed))


def _rows(encoder: Encoder, examples: Examples, recipe: MultitaskRecipe) -> _Rows:
    tokens = tokenize(encoder.tokenizer, examples.texts, examples.pairs, recipe.max_length_tokens)
    return _Rows(tokens=tokens, labels=training_labels(examples))


def _batches_of(train: Sequence[_Rows], recipe: MultitaskRecipe) -> Callable[[int], Sequence[Batch]]:
    """Return what gives the batches of an epoch, each of one task."""
    mixed = recipe.multitask
    sizes = [len(rows.tokens) for rows in train]
    counts = rows_each_epoch(sizes, mixed.sampling, temperature=mixed.temperature, size_cap=mixed.size_cap)
    lengths = [rows.tokens.lengths for rows in train]

    def batches(epoch: int) -> Sequence[Batch]:
        plan = epoch_plan(lengths, counts, batch_size=recipe.optim.batch_size, seed=recipe.seed, epoch=epoch)
        return [replace(train[task].tokens.batch(rows, train[task].labels), task=task) for task, rows in plan]

    return batches


def write_encoder(out: Path, listing: Path, files: EncoderFiles, result: MultitaskResult) -> None:
    """Write the fine-tuned encoder as a folder of its own, and the list of its files whose hash is its digest."""
    out.mkdir()
    copy_without_weights(files.folder, out)
    write_tensors(out / SINGLE_WEIGHTS, result.encoder)
    listing.write_bytes(list_files(out))


def write_heads(path: Path, result: MultitaskResult) -> None:
    """Write the heads as `<place of the task>.weight` [C, F] and `.bias` [C], in the labels' own units."""
    tensors: dict[str, Tensor] = {}
    for place, (weight, bias) in enumerate(result.heads):
        tensors |= {f"{place}.weight": weight, f"{place}.bias": bias}
    write_tensors(path, tensors)
