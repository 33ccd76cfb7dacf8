"""Make the artifacts of steps `train-prefix` and `task-embedding`: prepare and run a fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from prefixbank.config.schema import PrefixRecipe, TrainingConfig
from prefixbank.core.prefix import AnyPrefix
from prefixbank.core.readout import token_slot
from prefixbank.core.shapes import Batch
from prefixbank.core.training.fit import embed_task, fit_prefix
from prefixbank.core.training.flops import shapes_of
from prefixbank.core.training.learners import EncodeText
from prefixbank.core.training.sampling import rows_each_epoch
from prefixbank.core.training.settings import (
    FitEvent,
    FitResult,
    FitSettings,
)
from prefixbank.data.encoders.batches import PairTokens, epoch_batches
from prefixbank.data.encoders.encoder import Encoder
from prefixbank.data.encoders.files import EncoderFiles
from prefixbank.data.encoders.prompts import prompt_words
from prefixbank.data.tasks.task import Task
from prefixbank.runtime.checkpoint import FolderCheckpoint
from prefixbank.runtime.device import (
    check_memory,
    free_bytes,
    memory_errors,
)
from prefixbank.runtime.events import Event
from prefixbank.runtime.session import Session
from prefixbank.runtime.tracking import tracked
from prefixbank.steps.flops import prefix_training_flops
from prefixbank.steps.train_prefix.batches import TokenizedTasks, mixed_batches
from prefixbank.steps.train_prefix.mixture import Mixture
from prefixbank.steps.train_prefix.settings import fit_settings
from prefixbank.steps.train_prefix.text_states import text_encoder


@dataclass(frozen=True, kw_only=True)
class PreparedTraining:
    """Everything that a fit of a prefix needs.

    Args:
        encoder: the frozen encoder, on its device.
        model: its model for inference, on which the prefix is trained: no weight of it changes.
        rows: tokenised rows of each task.
        batches: epoch to its batches.
        validation: batches of the validation rows of each task.
        settings: what to fit and how.
        encode_text: returns the states of texts for read-outs; None for other kinds of prefix.
    """

    encoder: Encoder
    model: nn.Module
    rows: TokenizedTasks
    batches: Callable[[int], Sequence[Batch]]
    validation: list[list[Batch]]
    settings: FitSettings
    encode_text: EncodeText | None

    def encoded_once(self) -> Counter[tuple[int, int]] | None:
        """Return the shapes of the batches in which texts were encoded before training, if any."""
        kept = self.settings.text_states != "recomputed"
        return shapes_of(self.rows.batches_once()) if kept else None


def fit(
    session: Session,
    mixture: Mixture,
    files: EncoderFiles,
    recipe: PrefixRecipe,
    work: Path,
    on_event: Callable[[FitEvent], None],
    initial: AnyPrefix | None = None,
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
    ready = prepare(session, mixture, files, recipe, initial, work)
    encoder = ready.encoder
    with (
        tracked(session.run, mixture.name, recipe, on_event) as listener,
        memory_errors(memory_hint(recipe.optim)),
    ):
        checkpoint = FolderCheckpoint(work, session.run.checkpoint_every_s)
        result = fit_prefix(
            ready.model,
            encoder.shape,
            ready.batches,
            ready.validation,
            ready.settings,
            checkpoint=checkpoint,
            encode_text=ready.encode_text,
            on_event=listener,
        )
    return result, {
        "train_rows": sum(ready.rows.sizes),
        "truncated_share": ready.rows.truncated_share,
        "training_flops": prefix_training_flops(
            encoder, ready.settings, ready.batches, result.steps, ready.encoded_once()
        ),
    }


def fit_early(
    session: Session,
    mixture: Mixture,
    files: EncoderFiles,
    recipe: PrefixRecipe,
    work: Path,
    on_event: Callable[[FitEvent], None],
    initial: AnyPrefix | None = None,
) -> tuple[AnyPrefix, int]:
    """Train as `fit`, until the task embedding is known; return it and its step."""
    ready = prepare(session, mixture, files, recipe, initial, work)
    encoder, checkpoint = ready.encoder, FolderCheckpoint(work, session.run.checkpoint_every_s)
    with memory_errors(memory_hint(recipe.optim)):
        return embed_task(
            ready.model,
            encoder.shape,
            ready.batches,
            ready.validation,
            ready.settings,
            checkpoint=checkpoint,
            encode_text=ready.encode_text,
            on_event=on_event,
        )


def prepare(
    session: Session,
    mixture: Mixture,
    files: EncoderFiles,
    recipe: PrefixRecipe,
    initial: AnyPrefix | None,
    work: Path,
) -> PreparedTraining:
    """Load the encoder, tokenise the rows, and check that the memory is large enough.

    The states of texts that are kept are computed here.
    """
    device = session.open_device(recipe.optim.precision, setting="optim.precision")
    encoder = session.load(files, kind=recipe.prefix.kind)
    encoder.check_length(recipe.max_length_tokens)
    rows = TokenizedTasks.of(encoder, mixture.tasks, recipe.max_length_tokens, recipe.prefix.pairs)
    check_memory(
        encoder.shape,
        max(int(one.tokens.lengths.max()) for one in rows.train),
        recipe,
        free_bytes(device.name),
        max(one.tokens.texts_per_row for one in rows.train),
    )
    return PreparedTraining(
        encoder=encoder,
        model=session.inference_model(encoder.files, recipe.optim.precision),
        rows=rows,
        batches=_batches_of(rows, recipe, mixture.cap),
        validation=[one.forward_batches() for one in rows.validation],
        settings=fit_settings(
            mixture.tasks,
            recipe,
            initial,
            _first_words(encoder, mixture.tasks, recipe),
            _first_slots(encoder, rows, recipe),
        ),
        encode_text=text_encoder(session, mixture.name, encoder, rows, recipe, work),
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


def memory_hint(optim: TrainingConfig) -> str:
    """Suggest settings that need less memory."""
    size = max(1, optim.batch_size // 4)
    return (
        f"optim.batch_size={size} optim.gradient_accumulation_steps=4, or "
        "optim.gradient_checkpointing=true"
    )


def _first_words(encoder: Encoder, tasks: Sequence[Task], recipe: PrefixRecipe) -> tuple[int, ...]:
    """Return the token ids whose input embeddings vectors start as, if they do."""
    prefix = recipe.prefix
    count = prefix.readouts if prefix.kind == "readout" else prefix.length
    match prefix.init:
        case "labels":
            labels = dict.fromkeys(label for task in tasks for label in task.labels)
            return prompt_words(encoder, tuple(labels), count, recipe.seed)
        case "vocabulary" | "texts" if prefix.kind != "deep":
            return prompt_words(encoder, (), count, recipe.seed)
        case _:
            return ()


def _first_slots(encoder: Encoder, rows: TokenizedTasks, recipe: PrefixRecipe) -> Tensor | None:
    """Return the keys and values that slots start as, if they are those of the tasks' texts.

    Each slot is a random token of a random train row, of all tasks in turn.
    """
    if recipe.prefix.init != "texts":
        return None
    rng = np.random.default_rng(recipe.seed)
    slots = []
    for index in range(recipe.prefix.length):
        tokens = rows.train[index % len(rows.train)].tokens
        tokens = tokens.first if isinstance(tokens, PairTokens) else tokens
        row = rng.integers(len(tokens), size=1)
        token = int(rng.integers(tokens.lengths[row[0]]))
        slots.append(token_slot(encoder.model, tokens.batch(row).inputs, token))
    return torch.cat(slots, dim=3) if slots else torch.empty(encoder.shape.prefix_shape(0))


def progress_of(session: Session, step: str, name: str) -> Callable[[FitEvent], None]:
    """Return a listener that emits training events as progress."""

    def listen(event: FitEvent) -> None:
        if event.validated is not None:
            text = f"validating, {event.validated:.0%}"
        elif event.validation is not None:
            text = f"validation {event.validation:.3f}"
        else:
            text = f"loss {event.loss:.3f}"
        session.emit(
            Event(
                kind="progress",
                step=step,
                name=name,
                done=event.step,
                total=event.total_steps,
                unit="steps",
                text=text,
            )
        )

    return listen
