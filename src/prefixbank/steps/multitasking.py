"""From configuration, tasks and encoder to a call of `core.multitask`, and the artifact's tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from prefixbank.config.schema import MultitaskRecipe
from prefixbank.core.fit_types import FitEvent, MultitaskResult, TrainingSettings
from prefixbank.core.multitask import fit_multitask
from prefixbank.core.sampling import rows_each_epoch
from prefixbank.data.encoder_files import SINGLE_WEIGHTS, EncoderFiles, copy_without_weights, list_files
from prefixbank.data.tasks import Task
from prefixbank.steps.context import Context
from prefixbank.steps.fitting import check_precision, smaller, training_of
from prefixbank.steps.flops import finetuning_flops
from prefixbank.steps.memory import memory_errors
from prefixbank.steps.mixing import Split, mixed_batches
from prefixbank.steps.tensors import FolderCheckpoint, write_tensors
from prefixbank.steps.tracking import tracked


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
    rows, mixed, wanted = Split.of(encoder, tasks, recipe.max_length_tokens), recipe.multitask, settings(tasks, recipe)
    counts = rows_each_epoch(rows.sizes, mixed.sampling, temperature=mixed.temperature, size_cap=mixed.size_cap)
    batches = mixed_batches(rows.train, counts, batch_size=optim.batch_size, seed=recipe.seed)
    with tracked(context.run, name, recipe, on_event) as listener, memory_errors(smaller(optim)):
        result = fit_multitask(
            encoder.model,
            encoder.shape.hidden_size,
            batches,
            [one.scored() for one in rows.validation],
            wanted,
            checkpoint=FolderCheckpoint(work, context.run.checkpoint_every_s),
            on_event=listener,
        )
    flops = finetuning_flops(encoder, wanted, batches, result.steps)
    return result, {"truncated_share": rows.truncated_share, "training_flops": flops}


def settings(tasks: Sequence[Task], recipe: MultitaskRecipe) -> TrainingSettings:
    """Translate tasks and recipe into the words of `core`."""
    return TrainingSettings(**training_of(tasks, recipe))


def write_encoder(out: Path, listing: Path, files: EncoderFiles, result: MultitaskResult) -> None:
    """Write the fine-tuned encoder as a folder of its own, and the list of its files whose hash is its digest."""
    out.mkdir()
    copy_without_weights(files.folder, out)
    write_tensors(out / SINGLE_WEIGHTS, result.encoder)
    listing.write_bytes(list_files(out))
