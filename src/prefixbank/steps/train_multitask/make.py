"""Make the artifact of step `train-multitask`: prepare and run `fit_multitask`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from prefixbank.config.schema import MultitaskRecipe
from prefixbank.core.training.multitask import fit_multitask
from prefixbank.core.training.sampling import rows_each_epoch
from prefixbank.core.training.settings import FitEvent, MultitaskResult, TrainingSettings
from prefixbank.data.encoders.files import EncoderFiles
from prefixbank.data.tasks.task import Task
from prefixbank.runtime.checkpoint import FolderCheckpoint
from prefixbank.runtime.device import memory_errors
from prefixbank.runtime.session import Session
from prefixbank.runtime.tracking import tracked
from prefixbank.steps.flops import finetuning_flops
from prefixbank.steps.train_prefix.batches import TokenizedTasks, mixed_batches
from prefixbank.steps.train_prefix.make import memory_hint
from prefixbank.steps.train_prefix.settings import training_of


def fit(
    session: Session,
    tasks: Sequence[Task],
    files: EncoderFiles,
    recipe: MultitaskRecipe,
    work: Path,
    name: str,
    on_event: Callable[[FitEvent], None],
) -> tuple[MultitaskResult, dict[str, Any]]:
    """Train; return the result, and facts for result.json."""
    optim = recipe.optim
    session.open_device(optim.precision, setting="optim.precision")
    encoder = session.load(files)
    encoder.check_length(recipe.max_length_tokens)
    multitask, settings = recipe.multitask, fit_settings(tasks, recipe)
    rows = TokenizedTasks.of(encoder, tasks, recipe.max_length_tokens, multitask.pairs)
    counts = rows_each_epoch(
        rows.sizes,
        multitask.sampling,
        temperature=multitask.temperature,
        size_cap=multitask.size_cap,
    )
    batches = mixed_batches(rows.train, counts, batch_size=optim.batch_size, seed=recipe.seed)
    with (
        tracked(session.run, name, recipe, on_event) as listener,
        memory_errors(memory_hint(optim)),
    ):
        result = fit_multitask(
            encoder.model,
            encoder.shape,
            batches,
            [one.validation_batches() for one in rows.validation],
            settings,
            checkpoint=FolderCheckpoint(work, session.run.checkpoint_every_s),
            on_event=listener,
        )
    flops = finetuning_flops(encoder, settings, batches, result.steps)
    return result, {"truncated_share": rows.truncated_share, "training_flops": flops}


def fit_settings(tasks: Sequence[Task], recipe: MultitaskRecipe) -> TrainingSettings:
    """Return the settings of training as `core` takes them."""
    return TrainingSettings(**training_of(tasks, recipe))
