"""Settings and results of a training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from prefixbank.choices import (
    Kind,
    Metric,
    OptimizerName,
    Precision,
    Schedule,
    TextStatesMode,
)
from prefixbank.core.pooling import Pooling
from prefixbank.core.prefix import AnyPrefix, PrefixStart

State = tuple[dict[str, Tensor], dict[str, Any]]
Head = tuple[Tensor, Tensor]


@dataclass(frozen=True, kw_only=True)
class TaskSettings:
    """What one head learns.

    Args:
        kind: kind of the labels.
        metric: how validation is scored.
        num_outputs: C.
        label_mean: subtracted from regression labels in training, and folded into the head
            afterwards.
        label_scale: divisor of regression labels, likewise.
        separate: batches hold pairs of texts read apart, and the head gets u, v, |u - v|, u * v.
    """

    kind: Kind
    metric: Metric
    num_outputs: int
    label_mean: float = 0.0
    label_scale: float = 1.0
    separate: bool = False

    def head_inputs(self, features: int) -> int:
        """Return the size of what the head gets, where texts have vectors of size F."""
        return 4 * features if self.separate else features


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """What to train on and how.

    Args:
        tasks: what each head learns.
        pooling: how hidden states become the input of the heads.

    The others have the meaning of the settings with the same names.
    """

    tasks: tuple[TaskSettings, ...]
    pooling: Pooling
    lr: float
    head_lr: float
    weight_decay: float
    schedule: Schedule
    warmup_ratio: float
    epochs: int
    gradient_accumulation_steps: int
    max_grad_norm: float
    early_stopping_patience: int
    precision: Precision
    gradient_checkpointing: bool
    seed: int
    optimizer: OptimizerName = "adamw"


@dataclass(frozen=True, kw_only=True)
class FitSettings(TrainingSettings):
    """Which prefix to train and how; `lr` is the rate of the prefix.

    Args:
        start: parameters and start values of the prefix.
        vector_lr: rate of the vectors of read-outs; 0: `lr`.
        text_states: whether texts are encoded in every epoch, or once, and how their keys and
            values are kept; for read-outs only.
        task_embedding_fraction: share of the schedule's steps after which a copy of the prefix is
            kept as the task's embedding.
    """

    start: PrefixStart
    task_embedding_fraction: float
    vector_lr: float = 0.0
    text_states: TextStatesMode = "recomputed"


@dataclass(frozen=True, kw_only=True)
class FitEvent:
    """One event of the learning curve.

    It is an optimiser step, or the end of an epoch, with `validation` as the mean of the tasks'
    `scores`. Or, and then it is not in the curve, a validation is under way: `validated` is the
    share of its batches that are done.
    """

    step: int
    total_steps: int
    epoch: int
    loss: float
    lr: float
    validation: float | None = None
    scores: tuple[float, ...] = ()
    validated: float | None = None


class Checkpoint(Protocol):
    """Where a training saves its state; file formats and clocks are up to the caller."""

    def load(self) -> State | None:
        """Return the last saved state, if any."""

    def due(self) -> bool:
        """Return whether it is time to save again."""

    def save(self, state: State) -> None:
        """Replace the saved state."""


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """The heads of the best epoch, by mean validation score, and the course of the training.

    Lists are in the order of the tasks.

    Args:
        heads: weight [C, F] and bias [C] of each head, fp32, on the CPU.
        pooling: the tensors of `PoolingWeights`, if something of the pooling was learned.
        score: mean of `scores`.
        scores: validation score of each task in the best epoch.
        epoch: number of epochs trained before the best validation; 0 is the start.
        steps: optimiser steps in all.
        examples: rows of each task in these steps; a row counts each time it is shown.
        seconds: time spent on training and validation, over all runs if it was resumed.
        curve: all events, in order.
    """

    heads: tuple[Head, ...]
    pooling: dict[str, Tensor]
    score: float
    scores: tuple[float, ...]
    epoch: int
    steps: int
    examples: tuple[int, ...]
    seconds: float
    curve: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class FitResult(TrainingResult):
    """The best prefix, with its heads.

    Args:
        prefix: fp32, on the CPU.
        task_embedding: the prefix after `task_embedding_step` optimiser steps; see
            `FitSettings.task_embedding_fraction`.
        task_embedding_step: that share of the schedule's steps, or the last step if training
            stopped before it.
    """

    prefix: AnyPrefix
    task_embedding: AnyPrefix
    task_embedding_step: int


@dataclass(frozen=True, kw_only=True)
class MultitaskResult(TrainingResult):
    """The best encoder, with its heads.

    Args:
        encoder: the model's state, fp32, on the CPU.
    """

    encoder: dict[str, Tensor]
