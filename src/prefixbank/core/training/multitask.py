"""Fine-tuning a whole encoder on several tasks together, with a head for each.

It is the baseline of independent prefixes. Source: Du et al. 2020 (2004.14287), section 3.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from prefixbank.core.embed import encode
from prefixbank.core.pairs import side_by_side
from prefixbank.core.shapes import Batch, EncoderShape
from prefixbank.core.training.loop import Part, Training, under
from prefixbank.core.training.pooling import TrainablePooling, pooling_part
from prefixbank.core.training.precision import checkpointed_layers
from prefixbank.core.training.settings import (
    Checkpoint,
    FitEvent,
    MultitaskResult,
    TrainingSettings,
)
from prefixbank.core.training.task_heads import heads_snapshot, new_heads, outcome


def fit_multitask(
    model: nn.Module,
    shape: EncoderShape,
    train: Callable[[int], Sequence[Batch]],
    validation: Sequence[Sequence[Batch]],
    settings: TrainingSettings,
    *,
    checkpoint: Checkpoint | None = None,
    on_event: Callable[[FitEvent], None] = lambda event: None,
) -> MultitaskResult:
    """Train a copy of an encoder and a head for each task.

    Return those of the epoch with the highest mean of the validation scores. The encoder's own
    dropout is on in training, as is usual where all weights are trained. Its masks are a function
    of seed and step, so that a killed run resumes to the same bytes. A step changes only the heads
    of tasks with rows in it.

    Args:
        model: encoder, on its device; it is not changed.
        shape: its sizes.
        train: returns the batches of an epoch, each of one task (`Batch.task`); the same ones at
            every call.
        validation: batches with labels of each task.
        settings: what to train on and how, with the encoder's rate as `lr`; `epochs=0` returns the
            encoder as it was.
        checkpoint: where to save and resume.
        on_event: called after each optimiser step and each epoch, and during validation.
    Raises:
        TrainingError: the loss or a validation output is not finite.
    """
    learner = _MultitaskLearner(copy.deepcopy(model).requires_grad_(True), shape, settings)
    training = Training(
        learner,
        settings,
        train,
        validation,
        checkpoint=checkpoint,
        on_event=on_event,
        list_scores=True,
    )
    with checkpointed_layers(learner.model, enabled=settings.gradient_checkpointing):
        progress, best = training.run()
    return MultitaskResult(encoder=under("encoder", best), **outcome(progress, best))


class _MultitaskLearner:
    """An encoder whose weights are all trained, and its heads."""

    rate_hint: str = "optim.head_lr"

    def __init__(self, model: nn.Module, shape: EncoderShape, settings: TrainingSettings) -> None:
        self.model, self.settings = model, settings
        self.device = next(model.parameters()).device
        self.pooling = TrainablePooling(settings.pooling, shape, settings.seed).to(self.device)
        features = settings.pooling.output_size(shape.hidden_size)
        self.heads = new_heads(settings, features, self.device)
        self.parts: Mapping[str, Part] = {
            "encoder": Part(module=model, rate=settings.lr),
            "head": Part(module=self.heads, rate=settings.head_lr),
            **pooling_part(self.pooling, settings.head_lr),
        }

    def outputs(self, batch: Batch, draw: int | None) -> Tensor:
        """Return the outputs [B, C] of the head of the batch's task."""
        inputs = {name: tensor.to(self.device) for name, tensor in batch.inputs.items()}
        with _dropout(self.model, draw, self.device):
            vectors = encode(self.model, inputs, None, self.pooling())
        if self.settings.tasks[batch.task].separate:
            vectors = side_by_side(vectors)
        outputs: Tensor = self.heads[batch.task](vectors)
        return outputs

    def snapshot(self) -> dict[str, Tensor]:
        """Return copies of encoder and pooling, and the heads in the labels' units."""
        tensors = {
            f"encoder.{name}": tensor.detach().to("cpu", copy=True)
            for name, tensor in self.model.state_dict().items()
        }
        heads = heads_snapshot(self.heads, self.settings.tasks)
        return {**tensors, **self.pooling.snapshot(), **heads}


@contextmanager
def _dropout(model: nn.Module, draw: int | None, device: torch.device) -> Iterator[None]:
    """Turn the model's dropout on with seed `draw`, or off if it is None.

    The global random state is restored.
    """
    model.train(draw is not None)
    if draw is None:
        yield
        return
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(draw)
        yield
