"""Training one prefix and its task head on a frozen encoder.

Nothing random survives between two steps: batches come from (seed, epoch) and dropout from (seed, step). A run that was killed therefore
resumes to the same final bytes from any checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from prefixbank.core.embed import encode
from prefixbank.core.fit_types import Checkpoint, FitEvent, FitResult, FitSettings, State
from prefixbank.core.heads import loss_of, new_head, predictions_of
from prefixbank.core.metrics import score
from prefixbank.core.precision import MixedPrecision, checkpointed_layers
from prefixbank.core.prefix import Prefix, TrainablePrefix
from prefixbank.core.schedule import rate_factor
from prefixbank.core.shapes import Batch, EncoderShape
from prefixbank.errors import TrainingError

__all__ = ["Checkpoint", "FitEvent", "FitResult", "FitSettings", "State", "fit_prefix"]


@dataclass(kw_only=True)
class _Progress:
    """Everything about a fit that is neither a tensor nor a setting."""

    epoch: int = 0
    batches_done: int = 0
    step: int = 0
    best_score: float = -math.inf
    best_epoch: int = 0
    stale_epochs: int = 0
    curve: list[dict[str, Any]] = field(default_factory=list)


def fit_prefix(
    model: nn.Module,
    shape: EncoderShape,
    train: Callable[[int], Sequence[Batch]],
    validation: Sequence[Batch],
    settings: FitSettings,
    *,
    checkpoint: Checkpoint | None = None,
    on_event: Callable[[FitEvent], None] = lambda event: None,
) -> FitResult:
    """Train a prefix and a head; return those of the epoch with the best validation score.

    Args:
        model: frozen encoder, on its device; it is not changed.
        shape: its sizes.
        train: gives the batches of an epoch, the same ones each time it is asked.
        validation: batches with labels.
        settings: what to fit and how; `epochs=0` returns the start values.
        checkpoint: where to save and resume.
        on_event: called after each optimiser step and each epoch.
    Raises:
        TrainingError: the loss, or an output for validation, is not finite.
    """
    fit = _Fit(model, shape, train, validation, settings, checkpoint, on_event)
    with checkpointed_layers(model, enabled=settings.gradient_checkpointing):
        return fit.run()


class _Fit:
    """The state of one training run."""

    def __init__(
        self,
        model: nn.Module,
        shape: EncoderShape,
        train: Callable[[int], Sequence[Batch]],
        validation: Sequence[Batch],
        settings: FitSettings,
        checkpoint: Checkpoint | None,
        on_event: Callable[[FitEvent], None],
    ) -> None:
        self.model, self.train, self.validation, self.settings = model, train, validation, settings
        self.checkpoint, self.on_event = checkpoint, on_event
        self.device = next(model.parameters()).device
        self.prefix = TrainablePrefix(shape, settings.start, settings.seed).to(self.device)
        features = settings.pooling.output_size(shape.hidden_size)
        self.head = new_head(features, settings.num_outputs, settings.seed + 1).to(self.device)
        self.precision = MixedPrecision(settings.precision, self.device)
        groups = [
            {"params": list(self.prefix.parameters()), "rate": settings.lr},
            {"params": list(self.head.parameters()), "rate": settings.head_lr},
        ]
        self.optimizer = self.precision.prepare(torch.optim.AdamW(groups, lr=settings.lr, weight_decay=settings.weight_decay))
        self.progress = _Progress()
        self.best: dict[str, Tensor] = {}

    def run(self) -> FitResult:
        """Train from the start or from the last checkpoint."""
        self.restore()
        if not self.best and self.settings.epochs == 0:
            self.finish_epoch(loss=math.nan)
        while self.progress.epoch < self.settings.epochs and not self.out_of_patience():
            loss = self.run_epoch()
            self.progress.epoch += 1
            self.progress.batches_done = 0
            self.finish_epoch(loss)
            self.save(now=False)
        return self.result()

    def out_of_patience(self) -> bool:
        patience = self.settings.patience_epochs
        return 0 < patience <= self.progress.stale_epochs

    def run_epoch(self) -> float:
        """Train on what is left of the current epoch and return the loss of its last step."""
        batches = self.train(self.progress.epoch)
        per_step = self.settings.accumulation_steps
        steps_per_epoch = math.ceil(len(batches) / per_step)
        loss = math.nan
        for start in range(self.progress.batches_done, len(batches), per_step):
            loss = self.run_step(batches[start : start + per_step], steps_per_epoch * self.settings.epochs)
            self.progress.batches_done = min(start + per_step, len(batches))
            self.save(now=False)
        return loss

    def run_step(self, batches: Sequence[Batch], total_steps: int) -> float:
        """Do one optimiser step over some batches as if they were one."""
        factor = rate_factor(self.settings.schedule, self.progress.step, total_steps, self.settings.warmup_share)
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * factor
        rows = sum(len(batch.rows) for batch in batches)
        loss = 0.0
        for part, batch in enumerate(batches):
            partial = self.batch_loss(batch, part) * (len(batch.rows) / rows)
            self.precision.backward(partial)
            loss += float(partial.detach())
        self.check_finite(loss, f"the loss is {loss} at step {self.progress.step + 1} (epoch {self.progress.epoch + 1})")
        self.precision.clip([*self.prefix.parameters(), *self.head.parameters()], self.settings.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.progress.step += 1
        self.record(
            FitEvent(step=self.progress.step, total_steps=total_steps, epoch=self.progress.epoch, loss=loss, lr=self.settings.lr * factor)
        )
        return loss

    def batch_loss(self, batch: Batch, part: int) -> Tensor:
        """Return the mean loss of one batch."""
        drop = self.dropout(part) if self.settings.start.dropout > 0 else None
        with self.precision.autocast():
            outputs = self.outputs(batch, self.prefix(drop))
        labels: Tensor = batch.labels.to(self.device)  # type: ignore[union-attr]
        if self.settings.kind == "regression":
            labels = (labels - self.settings.label_mean) / self.settings.label_scale
        return loss_of(self.settings.kind, outputs, labels)

    def outputs(self, batch: Batch, prefix: Prefix) -> Tensor:
        """Return the head's outputs [B, C]."""
        inputs = {name: tensor.to(self.device) for name, tensor in batch.inputs.items()}
        vectors = encode(self.model, inputs, prefix.slots(), self.settings.pooling)
        outputs: Tensor = self.head(vectors)
        return outputs

    def dropout(self, part: int) -> Callable[[Tensor], Tensor]:
        """Return inverted dropout whose mask depends on seed, step and part alone."""
        share = self.settings.start.dropout
        generator = torch.Generator().manual_seed((self.settings.seed * 1_000_003 + self.progress.step) * 1_009 + part)

        def drop(tensor: Tensor) -> Tensor:
            keep = (torch.rand(tensor.shape, generator=generator) >= share).to(tensor.device, tensor.dtype)
            return tensor * keep / (1.0 - share)

        return drop

    def check_finite(self, value: float, what: str) -> None:
        if not math.isfinite(value):
            raise TrainingError(
                what,
                expected="finite numbers",
                fix=f"lower optim.lr (now {self.settings.lr:g}), optim.head_lr or prefix.init_scale, or use optim.precision=fp32",
            )

    def finish_epoch(self, loss: float) -> None:
        """Score the prefix on validation and keep it if it is the best so far."""
        value = self.validate()
        progress = self.progress
        self.record(FitEvent(step=progress.step, total_steps=progress.step, epoch=progress.epoch, loss=loss, lr=0.0, validation=value))
        if value > progress.best_score or not self.best:
            progress.best_score, progress.best_epoch, progress.stale_epochs = value, progress.epoch, 0
            self.best = self.snapshot()
        else:
            progress.stale_epochs += 1

    def validate(self) -> float:
        """Return the task's metric on the validation rows."""
        predictions, labels = [], []
        with torch.no_grad(), self.precision.autocast():
            prefix = self.prefix()
            for batch in self.validation:
                outputs = self.outputs(batch, prefix).float().cpu()
                largest = float(outputs.abs().max())
                self.check_finite(
                    largest, f"an output for validation is {largest} after step {self.progress.step} (epoch {self.progress.epoch})"
                )
                predictions.append(self.in_label_units(predictions_of(self.settings.kind, outputs)))
                labels.append(batch.labels.numpy())  # type: ignore[union-attr]
        return score(self.settings.metric, np.concatenate(predictions), np.concatenate(labels), self.settings.num_outputs)

    def in_label_units(self, predictions: np.ndarray) -> np.ndarray:
        """Undo the standardisation of regression labels."""
        if self.settings.kind != "regression":
            return predictions
        return predictions * self.settings.label_scale + self.settings.label_mean

    def snapshot(self) -> dict[str, Tensor]:
        """Return what the artifact needs: prefix, gate, and the head in the labels' own units."""
        prefix, scale = self.prefix.snapshot(), self.settings.label_scale
        weight, bias = (parameter.detach().float().cpu() for parameter in (self.head.weight, self.head.bias))
        tensors = {"prefix": prefix.tensor, "weight": weight * scale, "bias": bias * scale + self.settings.label_mean}
        return tensors if prefix.log_gate is None else {**tensors, "log_gate": prefix.log_gate}

    def record(self, event: FitEvent) -> None:
        line = {"step": event.step, "epoch": event.epoch, "loss": event.loss, "lr": event.lr}
        if event.validation is not None:
            line = {"step": event.step, "epoch": event.epoch, "validation": event.validation}
        self.progress.curve.append(line)
        self.on_event(event)

    def save(self, *, now: bool) -> None:
        if self.checkpoint is not None and (now or self.checkpoint.due()):
            self.checkpoint.save(self.state())

    def state(self) -> State:
        """Return all that a resumed run needs, as plain tensors and JSON values."""
        tensors = {f"prefix.{name}": tensor.detach() for name, tensor in self.prefix.state_dict().items()}
        tensors |= {f"head.{name}": tensor.detach() for name, tensor in self.head.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in moments.items()}
        return {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, {
            "progress": asdict(self.progress),
            "scaler": self.precision.state(),
        }

    def restore(self) -> None:
        """Continue from the last checkpoint, if there is one."""
        state = None if self.checkpoint is None else self.checkpoint.load()
        if state is None:
            return
        tensors, facts = state
        self.progress = _Progress(**facts["progress"])
        self.precision.restore(facts["scaler"])
        self.prefix.load_state_dict(_under(tensors, "prefix"))
        self.head.load_state_dict(_under(tensors, "head"))
        self.best = _under(tensors, "best")
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _under(tensors, "optimizer").items():
            index, moment = name.split(".", 1)
            moments.setdefault(int(index), {})[moment] = tensor
        self.optimizer.load_state_dict({"state": moments, "param_groups": self.optimizer.state_dict()["param_groups"]})

    def result(self) -> FitResult:
        progress = self.progress
        return FitResult(
            prefix=Prefix(tensor=self.best["prefix"], log_gate=self.best.get("log_gate")),
            head_weight=self.best["weight"],
            head_bias=self.best["bias"],
            score=progress.best_score,
            epoch=progress.best_epoch,
            steps=progress.step,
            curve=progress.curve,
        )


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the entries below `prefix.`, without it."""
    return {name.removeprefix(f"{prefix}."): tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")}
