"""Make the artifact of step `train-multitask`: prepare and run `fit_multitask`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefixbank.config.schema import MultitaskRecipe
from prefixbank.core.pooling import PoolingWeights
from prefixbank.core.shapes import Batch
from prefixbank.core.training.loop import BatchLoss, label_loss
from prefixbank.core.training.multitask import fit_multitask
from prefixbank.core.training.sampling import rows_each_epoch
from prefixbank.core.training.settings import FitEvent, Head, MultitaskResult, TrainingSettings
from prefixbank.data.encoders.encoder import Encoder
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


@dataclass(frozen=True, kw_only=True)
class PreparedTraining:
    """Everything that fine-tuning needs.

    Args:
        encoder: what it begins with, on its device.
        recipe: settings of training.
        rows: tokenised rows of each task.
        batches: epoch to its batches.
        validation: batches of the validation rows of each task.
        settings: what to train on and how.
    """

    encoder: Encoder
    recipe: MultitaskRecipe
    rows: TokenizedTasks
    batches: Callable[[int], Sequence[Batch]]
    validation: list[list[Batch]]
    settings: TrainingSettings


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
    return train(session, prepare(session, tasks, files, recipe), work, name, on_event)


def prepare(
    session: Session, tasks: Sequence[Task], files: EncoderFiles, recipe: MultitaskRecipe
) -> PreparedTraining:
    """Load the encoder and tokenise the rows."""
    optim, multitask = recipe.optim, recipe.multitask
    session.open_device(optim.precision, setting="optim.precision")
    encoder = session.load(files)
    encoder.check_length(recipe.max_length_tokens)
    rows = TokenizedTasks.of(encoder, tasks, recipe.max_length_tokens, multitask.pairs)
    counts = rows_each_epoch(
        rows.sizes,
        multitask.sampling,
        temperature=multitask.temperature,
        size_cap=multitask.size_cap,
    )
    return PreparedTraining(
        encoder=encoder,
        recipe=recipe,
        rows=rows,
        batches=mixed_batches(rows.train, counts, batch_size=optim.batch_size, seed=recipe.seed),
        validation=[one.forward_batches() for one in rows.validation],
        settings=fit_settings(tasks, recipe),
    )


def train(
    session: Session,
    ready: PreparedTraining,
    work: Path,
    name: str,
    on_event: Callable[[FitEvent], None],
    *,
    heads: Sequence[Head] | None = None,
    pooling: PoolingWeights | None = None,
    loss: BatchLoss = label_loss,
) -> tuple[MultitaskResult, dict[str, Any]]:
    """Train, from `heads`, `pooling` and on `loss` if they are given: see `fit_multitask`."""
    encoder, recipe = ready.encoder, ready.recipe
    with (
        tracked(session.run, name, recipe, on_event) as listener,
        memory_errors(memory_hint(recipe.optim)),
    ):
        result = fit_multitask(
            encoder.model,
            encoder.shape,
            ready.batches,
            ready.validation,
            ready.settings,
            heads=heads,
            pooling=pooling,
            loss=loss,
            checkpoint=FolderCheckpoint(work, session.run.checkpoint_every_s),
            on_event=listener,
        )
    flops = finetuning_flops(encoder, ready.settings, ready.batches, result.steps)
    return result, {
        "truncated_share": ready.rows.truncated_share,
        "training_flops": flops,
    }


def fit_settings(tasks: Sequence[Task], recipe: MultitaskRecipe) -> TrainingSettings:
    """Return the settings of training as `core` takes them."""
    return TrainingSettings(**training_of(tasks, recipe))
