"""The training loop of prefixes and encoders: steps, epochs, validation, patience, checkpoints.

No random state is carried from step to step: batches are a function of (seed, epoch), and dropout
is one of (seed, step). So a killed run resumes from any checkpoint to the same final bytes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from prefixbank.core.shapes import Batch
from prefixbank.core.stats.metrics import score
from prefixbank.core.training.heads import loss_of, scorable_of
from prefixbank.core.training.optimizers import new_optimizer, restore, state_of
from prefixbank.core.training.precision import MixedPrecision
from prefixbank.core.training.schedule import early_step, rate_factor
from prefixbank.core.training.settings import (
    Checkpoint,
    FitEvent,
    State,
    TaskSettings,
    TrainingSettings,
)
from prefixbank.errors import TrainingError


@dataclass(kw_only=True)
class Progress:
    """The state of a training apart from tensors; lists are in the order of the tasks."""

    epoch: int = 0
    batches_done: int = 0
    step: int = 0
    best_score: float = -math.inf
    best_scores: list[float] = field(default_factory=list)
    best_epoch: int = 0
    stale_epochs: int = 0
    early_step: int = 0
    examples: list[int] = field(default_factory=list)
    seconds: float = 0.0
    curve: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Part:
    """A module that is trained, and its learning rate after warm-up.

    Args:
        module: the module.
        rate: of its parameters.
        rates: of those of its parameters that have another rate, by name.
    """

    module: nn.Module
    rate: float
    rates: Mapping[str, float] = field(default_factory=dict)

    def groups(self) -> list[dict[str, Any]]:
        """Return the parameters as groups of an optimizer, one for each rate."""
        groups: dict[float, list[nn.Parameter]] = {}
        for name, parameter in self.module.named_parameters():
            groups.setdefault(self.rates.get(name, self.rate), []).append(parameter)
        return [{"params": group, "rate": rate} for rate, group in groups.items()]


class Learner(Protocol):
    """What is trained, on one or more tasks.

    Args:
        parts: the trained modules, by their names in checkpoints.
        rate_hint: settings to lower, beside the learning rate, if numbers are not finite.
    """

    parts: Mapping[str, Part]
    rate_hint: str

    def outputs(self, batch: Batch, draw: int | None) -> Tensor:
        """Return the outputs [B, C] of the head of the batch's task.

        `draw` is the seed of dropout; None means no dropout.
        """

    def snapshot(self) -> dict[str, Tensor]:
        """Return copies of the tensors of the result, fp32, on the CPU."""


BatchLoss = Callable[[TaskSettings, Tensor, Batch], Tensor]
"""Returns the mean loss of a batch, from the outputs [B, C] of the head of its task."""


def label_loss(task: TaskSettings, outputs: Tensor, batch: Batch) -> Tensor:
    """Return the mean loss of a batch against its labels, those of a regression standardised."""
    # Only batches that are embedded have no labels.
    labels: Tensor = batch.labels.to(outputs.device)  # type: ignore[union-attr]
    if task.kind == "regression":
        labels = (labels - task.label_mean) / task.label_scale
    return loss_of(task.kind, outputs, labels)


class Training:
    """One training run.

    Args:
        learner: what to train.
        settings: how to train it.
        train: returns the batches of an epoch; the same ones at every call.
        validation: batches with labels of each task.
        checkpoint: where to save and resume.
        on_event: called after each optimiser step and each epoch, and during validation.
        loss: what is minimised.
        list_scores: put the score of each task into the curve, beside their mean.
        early_share: share of the schedule's steps after which a snapshot is kept as
            `early_snapshot`; 0 keeps none.
        only_early: stop at that snapshot.
    """

    def __init__(
        self,
        learner: Learner,
        settings: TrainingSettings,
        train: Callable[[int], Sequence[Batch]],
        validation: Sequence[Sequence[Batch]],
        *,
        checkpoint: Checkpoint | None,
        on_event: Callable[[FitEvent], None],
        loss: BatchLoss = label_loss,
        list_scores: bool = False,
        early_share: float = 0.0,
        only_early: bool = False,
    ) -> None:
        self.learner, self.settings, self.train = learner, settings, train
        self.validation = [
            [replace(batch, task=task) for batch in batches]
            for task, batches in enumerate(validation)
        ]
        self.checkpoint, self.on_event, self.list_scores = checkpoint, on_event, list_scores
        self.loss = loss
        self.early_share, self.only_early = early_share, only_early
        groups = [group for part in learner.parts.values() for group in part.groups()]
        device = next(next(iter(learner.parts.values())).module.parameters()).device
        self.precision = MixedPrecision(settings.precision, device)
        self.optimizer = new_optimizer(
            settings.optimizer, groups, lr=settings.lr, weight_decay=settings.weight_decay
        )
        self.progress = Progress(examples=[0] * len(settings.tasks))
        self.best: dict[str, Tensor] = {}
        self.early_snapshot: dict[str, Tensor] = {}
        self.resumed = time.monotonic()
        self.total_steps = self.validated = 0

    def run(self) -> tuple[Progress, dict[str, Tensor]]:
        """Train from the start or from the last checkpoint.

        Return the final progress, and the snapshot of the best epoch.
        """
        self.restore()
        if not self.best and self.settings.epochs == 0:
            self.finish_epoch(loss=math.nan)
        while (
            self.progress.epoch < self.settings.epochs
            and not self.out_of_patience()
            and not self.is_done()
        ):
            loss = self.run_epoch()
            if self.is_done():
                break
            self.progress.epoch += 1
            self.progress.batches_done = 0
            self.finish_epoch(loss)
            self.save()
        self.snapshot_early(due=True)  # training ended before that step, or had no steps
        self.count_time()
        return self.progress, self.best

    def is_done(self) -> bool:
        """Whether the early snapshot, and only that, is wanted and there."""
        return self.only_early and bool(self.early_snapshot)

    def out_of_patience(self) -> bool:
        """Whether too many epochs have passed without a better score."""
        patience = self.settings.early_stopping_patience
        return 0 < patience <= self.progress.stale_epochs

    def run_epoch(self) -> float:
        """Train on the rest of the current epoch and return the loss of its last step."""
        batches = self.train(self.progress.epoch)
        per_step = self.settings.gradient_accumulation_steps
        self.total_steps = math.ceil(len(batches) / per_step) * self.settings.epochs
        loss = math.nan
        for start in range(self.progress.batches_done, len(batches), per_step):
            loss = self.run_step(batches[start : start + per_step])
            if self.is_done():
                break
            self.progress.batches_done = min(start + per_step, len(batches))
            self.save()
        return loss

    def run_step(self, batches: Sequence[Batch]) -> float:
        """Do one optimiser step over some batches, as if they were one batch."""
        total_steps = self.total_steps
        factor = rate_factor(
            self.settings.schedule, self.progress.step, total_steps, self.settings.warmup_ratio
        )
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * factor
        rows = sum(len(batch.rows) for batch in batches)
        loss = 0.0
        for part, batch in enumerate(batches):
            partial = self.batch_loss(batch, part) * (len(batch.rows) / rows)
            self.precision.backward(partial)
            loss += float(partial.detach())
            self.progress.examples[batch.task] += len(batch.rows)
        self.check_finite(
            loss,
            f"the loss is {loss} at step {self.progress.step + 1} (epoch "
            f"{self.progress.epoch + 1})",
        )
        self.precision.clip(self.optimizer, self.settings.max_grad_norm)
        self.precision.step(self.optimizer)
        self.optimizer.zero_grad()
        self.progress.step += 1
        self.snapshot_early(due=self.progress.step >= early_step(self.early_share, total_steps))
        self.record(
            FitEvent(
                step=self.progress.step,
                total_steps=total_steps,
                epoch=self.progress.epoch,
                loss=loss,
                lr=self.settings.lr * factor,
            )
        )
        return loss

    def batch_loss(self, batch: Batch, part: int) -> Tensor:
        """Return the mean loss of one batch, the `part`-th of its step."""
        task = self.settings.tasks[batch.task]
        draw = ((self.settings.seed * 1_000_003 + self.progress.step) * 1_009 + part) % 2**63
        with self.precision.autocast():
            outputs = self.learner.outputs(batch, draw)
        return self.loss(task, outputs, batch)

    def check_finite(self, value: float, what: str) -> None:
        """Raise TrainingError unless `value` is finite."""
        if not math.isfinite(value):
            raise TrainingError(
                what,
                expected="finite numbers",
                fix=(
                    f"lower optim.lr (now {self.settings.lr:g}), {self.learner.rate_hint}, or use "
                    "optim.precision=fp32"
                ),
            )

    def finish_epoch(self, loss: float) -> None:
        """Validate, and keep a snapshot if the score is the best so far."""
        scores = self.scores()
        value, progress = sum(scores) / len(scores), self.progress
        event = FitEvent(
            step=progress.step,
            total_steps=self.total_steps,
            epoch=progress.epoch,
            loss=loss,
            lr=0.0,
            validation=value,
        )
        self.record(event if not self.list_scores else replace(event, scores=tuple(scores)))
        if value > progress.best_score or not self.best:
            (
                progress.best_score,
                progress.best_scores,
                progress.best_epoch,
                progress.stale_epochs,
            ) = value, scores, progress.epoch, 0
            self.best = self.learner.snapshot()
        else:
            progress.stale_epochs += 1

    def snapshot_early(self, *, due: bool) -> None:
        """Keep the early snapshot if one is wanted, due and not kept yet."""
        if due and self.early_share > 0 and not self.early_snapshot:
            self.early_snapshot, self.progress.early_step = (
                self.learner.snapshot(),
                self.progress.step,
            )

    def scores(self) -> list[float]:
        """Return the validation score of each task, of what the learner is now."""
        self.validated = 0
        return [
            self.validate(task, batches)
            for task, batches in zip(self.settings.tasks, self.validation, strict=True)
        ]

    def validate(self, task: TaskSettings, batches: Sequence[Batch]) -> float:
        """Return the score of a task on its validation rows."""
        predictions, labels = [], []
        with torch.no_grad(), self.precision.autocast():
            for batch in batches:
                outputs = self.learner.outputs(batch, None).float().cpu()
                largest = float(outputs.abs().max())
                self.check_finite(
                    largest,
                    f"a validation output is {largest} after step {self.progress.step} "
                    f"(epoch {self.progress.epoch})",
                )
                scored = scorable_of(task.metric, task.kind, outputs)
                predictions.append(_in_label_units(scored, task))
                # Only batches that are embedded have no labels.
                labels.append(batch.labels.numpy())  # type: ignore[union-attr]
                self.count_validated()
        return score(
            task.metric, np.concatenate(predictions), np.concatenate(labels), task.num_outputs
        )

    def count_validated(self) -> None:
        """Count a batch of validation, and report all but the last, which the score follows."""
        self.validated += 1
        share = self.validated / sum(map(len, self.validation))
        if share < 1:
            self.on_event(
                FitEvent(
                    step=self.progress.step,
                    total_steps=self.total_steps,
                    epoch=self.progress.epoch,
                    loss=math.nan,
                    lr=0.0,
                    validated=share,
                )
            )

    def record(self, event: FitEvent) -> None:
        """Add an event to the learning curve and call `on_event`."""
        line = {"step": event.step, "epoch": event.epoch, "loss": event.loss, "lr": event.lr}
        if event.validation is not None:
            line = {"step": event.step, "epoch": event.epoch, "validation": event.validation}
        self.progress.curve.append({**line, "scores": list(event.scores)} if event.scores else line)
        self.on_event(event)

    def count_time(self) -> None:
        """Add the time since the last call to the progress."""
        now = time.monotonic()
        self.progress.seconds += now - self.resumed
        self.resumed = now

    def save(self) -> None:
        """Save a checkpoint if one is due."""
        if self.checkpoint is not None and self.checkpoint.due():
            self.count_time()
            self.checkpoint.save(self.state())

    def state(self) -> State:
        """Return the state that a resumed run needs, as tensors and JSON values."""
        tensors = {
            f"{prefix}.{name}": tensor.detach()
            for prefix, part in self.learner.parts.items()
            for name, tensor in part.module.state_dict().items()
        }
        for prefix, snapshot in (("best", self.best), ("early", self.early_snapshot)):
            tensors |= {f"{prefix}.{name}": tensor for name, tensor in snapshot.items()}
        moments, numbers = state_of(self.optimizer)
        tensors |= {f"optimizer.{name}": tensor for name, tensor in moments.items()}
        return {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, {
            "progress": asdict(self.progress),
            "scaler": self.precision.state(),
            "optimizer": numbers,
        }

    def restore(self) -> None:
        """Restore the last checkpoint, if there is one."""
        state = None if self.checkpoint is None else self.checkpoint.load()
        if state is None:
            return
        tensors, facts = state
        self.progress = Progress(**facts["progress"])
        self.precision.restore(facts["scaler"])
        for prefix, part in self.learner.parts.items():
            part.module.load_state_dict(under(prefix, tensors))
        self.best, self.early_snapshot = under("best", tensors), under("early", tensors)
        restore(self.optimizer, under("optimizer", tensors), facts["optimizer"])


def _in_label_units(predictions: np.ndarray, task: TaskSettings) -> np.ndarray:
    """Undo the standardisation of regression labels."""
    return (
        predictions * task.label_scale + task.label_mean
        if task.kind == "regression"
        else predictions
    )


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names start with `prefix.`, which is removed."""
    return {
        name.removeprefix(f"{prefix}."): tensor
        for name, tensor in tensors.items()
        if name.startswith(f"{prefix}.")
    }
