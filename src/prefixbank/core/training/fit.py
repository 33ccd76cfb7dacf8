"""Training one prefix on a frozen encoder, for one or more tasks with a head each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from prefixbank.core.prefix import AnyPrefix, prefix_of
from prefixbank.core.shapes import Batch, EncoderShape
from prefixbank.core.training.learners import EncodeText, PrefixLearner, ReadoutLearner
from prefixbank.core.training.loop import Training
from prefixbank.core.training.precision import checkpointed_layers
from prefixbank.core.training.settings import Checkpoint, FitEvent, FitResult, FitSettings
from prefixbank.core.training.task_heads import outcome


def fit_prefix(
    model: nn.Module,
    shape: EncoderShape,
    train: Callable[[int], Sequence[Batch]],
    validation: Sequence[Sequence[Batch]],
    settings: FitSettings,
    *,
    checkpoint: Checkpoint | None = None,
    encode_text: EncodeText | None = None,
    on_event: Callable[[FitEvent], None] = lambda event: None,
) -> FitResult:
    """Train a prefix and its heads.

    Return those of the best epoch, and the prefix early in training. The best epoch has the highest
    mean of the tasks' validation scores. A step changes only the heads of tasks with rows in it.

    Args:
        model: frozen encoder, on its device; it is not changed.
        shape: its sizes.
        train: returns the batches of an epoch, each of one task (`Batch.task`); the same ones at
            every call.
        validation: batches with labels of each task.
        settings: what to fit and how; with `epochs=0` prefix and task embedding are the start
            values.
        checkpoint: where to save and resume.
        encode_text: returns the states of a batch of texts for read-outs, such as those of a cache;
            None: `model` encodes them in every step.
        on_event: called after each optimiser step and each epoch, and during validation.
    Raises:
        TrainingError: the loss or a validation output is not finite.
    """
    learner = _learner(model, shape, settings, encode_text)
    training = Training(
        learner,
        settings,
        train,
        validation,
        checkpoint=checkpoint,
        on_event=on_event,
        list_scores=len(settings.tasks) > 1,
        early_share=settings.task_embedding_fraction,
    )
    with checkpointed_layers(model, enabled=settings.gradient_checkpointing):
        progress, best = training.run()
    return FitResult(
        prefix=prefix_of(best),
        task_embedding=prefix_of(training.early_snapshot),
        task_embedding_step=progress.early_step,
        **outcome(progress, best),
    )


def embed_task(
    model: nn.Module,
    shape: EncoderShape,
    train: Callable[[int], Sequence[Batch]],
    validation: Sequence[Sequence[Batch]],
    settings: FitSettings,
    *,
    checkpoint: Checkpoint | None = None,
    encode_text: EncodeText | None = None,
    on_event: Callable[[FitEvent], None] = lambda event: None,
) -> tuple[AnyPrefix, int]:
    """Train only until the task embedding is reached.

    Return the task embedding that `fit_prefix` would return, and its step. The arguments are those
    of `fit_prefix`. Validation matters only if early stopping ends the training before that step.
    """
    learner = _learner(model, shape, settings, encode_text)
    share = settings.task_embedding_fraction
    training = Training(
        learner,
        settings,
        train,
        validation,
        checkpoint=checkpoint,
        on_event=on_event,
        early_share=share,
        only_early=True,
    )
    with checkpointed_layers(model, enabled=settings.gradient_checkpointing):
        progress, _ = training.run()
    return prefix_of(training.early_snapshot), progress.early_step


def _learner(
    model: nn.Module, shape: EncoderShape, settings: FitSettings, encode_text: EncodeText | None
) -> PrefixLearner | ReadoutLearner:
    if settings.start.kind == "readout":
        return ReadoutLearner(model, shape, settings, encode_text)
    return PrefixLearner(model, shape, settings)
