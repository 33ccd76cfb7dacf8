"""Fine-tuning a whole encoder on several tasks together, with a head for each.

Source: Du et al. 2020 (2004.14287), section 3: the shared encoder that independent prefixes are compared with.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from prefixbank.core.embed import encode
from prefixbank.core.fit_types import Checkpoint, FitEvent, MultitaskResult, MultitaskSettings, TaskSettings
from prefixbank.core.heads import new_head
from prefixbank.core.precision import checkpointed_layers
from prefixbank.core.shapes import Batch
from prefixbank.core.training import Part, Training, head_tensors, under


def fit_multitask(
    model: nn.Module,
    hidden_size: int,
    train: Callable[[int], Sequence[Batch]],
    validation: Sequence[Sequence[Batch]],
    settings: MultitaskSettings,
    *,
    checkpoint: Checkpoint | None = None,
    on_event: Callable[[FitEvent], None] = lambda event: None,
) -> MultitaskResult:
    """Train a copy of an encoder and a head for each task; return those of the epoch with the best mean of the validation scores.

    The encoder's own dropout is on while it trains, as is usual where all weights are trained; its masks follow from seed and step, so
    that a run that was killed resumes to the same bytes. A step moves no head but those of the tasks whose rows are in it.

    Args:
        model: encoder, on its device; it is not changed.
        hidden_size: E.
        train: gives the batches of an epoch, each of one task (`Batch.task`), the same ones each time it is asked.
        validation: for each task its batches with labels.
        settings: what to train on and how; `epochs=0` returns the encoder as it was.
        checkpoint: where to save and resume.
        on_event: called after each optimiser step and each epoch.
    Raises:
        TrainingError: the loss, or an output for validation, is not finite.
    """
    learner = _MultitaskLearner(copy.deepcopy(model).requires_grad_(True), hidden_size, settings)
    of_tasks = [[replace(batch, task=task) for batch in batches] for task, batches in enumerate(validation)]
    training = Training(learner, settings, train, of_tasks, checkpoint=checkpoint, on_event=on_event, list_scores=True)
    with checkpointed_layers(learner.model, enabled=settings.gradient_checkpointing):
        progress, best = training.run()
    heads = [under(f"head.{task}", best) for task in range(len(settings.tasks))]
    return MultitaskResult(
        encoder=under("encoder", best),
        heads=tuple((head["weight"], head["bias"]) for head in heads),
        score=progress.best_score,
        scores=tuple(progress.best_scores),
        epoch=progress.best_epoch,
        steps=progress.step,
        examples=tuple(progress.examples),
        seconds=progress.seconds,
        curve=progress.curve,
    )


class _MultitaskLearner:
    """An encoder of which every weight is trained, and its heads."""

    lower: str = "optim.head_lr"

    def __init__(self, model: nn.Module, hidden_size: int, settings: MultitaskSettings) -> None:
        self.model, self.settings = model, settings
        self.tasks: Sequence[TaskSettings] = settings.tasks
        self.device = next(model.parameters()).device
        features = settings.pooling.output_size(hidden_size)
        self.heads = [new_head(features, task.num_outputs, settings.seed + 1 + place) for place, task in enumerate(settings.tasks)]
        heads = nn.ModuleList(self.heads).to(self.device)
        self.parts: Mapping[str, Part] = {
            "encoder": Part(module=model, rate=settings.lr),
            "head": Part(module=heads, rate=settings.head_lr),
        }

    def outputs(self, batch: Batch, draw: int | None) -> Tensor:
        """Return the outputs [B, C] of the head of the batch's task."""
        inputs = {name: tensor.to(self.device) for name, tensor in batch.inputs.items()}
        with _dropout(self.model, draw, self.device):
            vectors = encode(self.model, inputs, None, self.settings.pooling)
        outputs: Tensor = self.heads[batch.task](vectors)
        return outputs

    def snapshot(self) -> dict[str, Tensor]:
        """Return a copy of the encoder, and the heads in the labels' own units."""
        tensors = {f"encoder.{name}": tensor.detach().to("cpu", copy=True) for name, tensor in self.model.state_dict().items()}
        for place, (head, task) in enumerate(zip(self.heads, self.tasks, strict=True)):
            tensors |= {f"head.{place}.{name}": tensor for name, tensor in head_tensors(head, task).items()}
        return tensors


@contextmanager
def _dropout(model: nn.Module, draw: int | None, device: torch.device) -> Iterator[None]:
    """Let the model drop out what `draw` says, or nothing without it, and leave the global random state alone."""
    model.train(draw is not None)
    if draw is None:
        yield
        return
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(draw)
        yield
