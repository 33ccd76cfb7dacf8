"""Training one prefix on a frozen encoder, for one or more tasks with a head each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from prefixbank.core.embed import encode
from prefixbank.core.prefix import Prefix, prefix_of, tensors_of, trainable
from prefixbank.core.prompt import SoftPrompt
from prefixbank.core.shapes import Batch, EncoderShape
from prefixbank.core.training.loop import Part, Training
from prefixbank.core.training.precision import checkpointed_layers
from prefixbank.core.training.settings import Checkpoint, FitEvent, FitResult, FitSettings
from prefixbank.core.training.task_heads import heads_snapshot, new_heads, outcome


def fit_prefix(
    model: nn.Module,
    shape: EncoderShape,
    train: Callable[[int], Sequence[Batch]],
    validation: Sequence[Sequence[Batch]],
    settings: FitSettings,
    *,
    checkpoint: Checkpoint | None = None,
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
        on_event: called after each optimiser step and each epoch.
    Raises:
        TrainingError: the loss or a validation output is not finite.
    """
    learner = _PrefixLearner(model, shape, settings)
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
    on_event: Callable[[FitEvent], None] = lambda event: None,
) -> tuple[Prefix | SoftPrompt, int]:
    """Train only until the task embedding is reached.

    Return the task embedding that `fit_prefix` would return, and its step. The arguments are those
    of `fit_prefix`. Validation matters only if early stopping ends the training before that step.
    """
    learner = _PrefixLearner(model, shape, settings)
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


class _PrefixLearner:
    """A prefix and its heads, on a frozen encoder."""

    rate_hint: str = "optim.head_lr or prefix.init_scale"

    def __init__(self, model: nn.Module, shape: EncoderShape, settings: FitSettings) -> None:
        self.model, self.settings = model, settings
        self.device = next(model.parameters()).device
        self.prefix = trainable(model, shape, settings.start, settings.seed).to(self.device)
        self.heads = new_heads(settings, shape.hidden_size, self.device)
        self.parts: Mapping[str, Part] = {
            "prefix": Part(module=self.prefix, rate=settings.lr),
            "head": Part(module=self.heads, rate=settings.head_lr),
        }

    def outputs(self, batch: Batch, draw: int | None) -> Tensor:
        """Return the outputs [B, C] of the head of the batch's task."""
        prefix = self.prefix(
            None if draw is None or self.settings.start.dropout == 0 else self.dropout(draw)
        )
        inputs = {name: tensor.to(self.device) for name, tensor in batch.inputs.items()}
        outputs: Tensor = self.heads[batch.task](
            encode(self.model, inputs, prefix.slots(), self.settings.pooling)
        )
        return outputs

    def dropout(self, draw: int) -> Callable[[Tensor], Tensor]:
        """Return inverted dropout whose mask depends on `draw` alone."""
        share = self.settings.start.dropout
        generator = torch.Generator().manual_seed(draw)

        def drop(tensor: Tensor) -> Tensor:
            keep = (torch.rand(tensor.shape, generator=generator) >= share).to(
                tensor.device, tensor.dtype
            )
            return tensor * keep / (1.0 - share)

        return drop

    def snapshot(self) -> dict[str, Tensor]:
        """Return the tensors of the artifact: the prefix, and the heads in the labels' units."""
        return {
            **tensors_of(self.prefix.snapshot()),
            **heads_snapshot(self.heads, self.settings.tasks),
        }
