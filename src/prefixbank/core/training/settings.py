"""What goes into a fit and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from prefixbank.choices import Kind, Metric, OptimizerName, Precision, Schedule
from prefixbank.core.pooling import Pooling
from prefixbank.core.prefix import Prefix, PrefixStart
from prefixbank.core.prompt import SoftPrompt

State = tuple[dict[str, Tensor], dict[str, Any]]
Head = tuple[Tensor, Tensor]


@dataclass(frozen=True, kw_only=True)
class TaskSettings:
    """What one head learns.

    Args:
        kind: kind of the labels.
        metric: how validation is scored.
        num_outputs: C.
        label_mean: subtracted from regression labels while training; folded into the head
            afterwards.
        label_scale: regression labels are divided by it.
    """

    kind: Kind
    metric: Metric
    num_outputs: int
    label_mean: float = 0.0
    label_scale: float = 1.0


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """What to train on and how, whatever is trained.

    Args:
        tasks: what each head learns.
        pooling: how hidden states become the vector that the heads read.

    The meanings of the others are those of the configuration of the same names; `optimizer` is its
    `name`.
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
    """What prefix to fit and how; `lr` is the rate of the prefix.

    Args:
        start: where the prefix starts.
        task_embedding_fraction: share of the schedule's steps after which the prefix as it stands
            is the task's embedding.
    """

    start: PrefixStart
    task_embedding_fraction: float


@dataclass(frozen=True, kw_only=True)
class FitEvent:
    """One line of the learning curve.

    An optimiser step, or (with `validation`, the mean of the tasks' `scores`) the end of an epoch.
    """

    step: int
    total_steps: int
    epoch: int
    loss: float
    lr: float
    validation: float | None = None
    scores: tuple[float, ...] = ()


class Checkpoint(Protocol):
    """Where a fit keeps its state; file formats and clocks are the caller's."""

    def load(self) -> State | None:
        """Return the last state saved, if any."""

    def due(self) -> bool:
        """Say whether it is time to save again."""

    def save(self, state: State) -> None:
        """Keep `state` in place of the last one."""


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """The heads of the epoch with the best mean validation score, and how training went.

    Lists are in the order of the tasks.

    Args:
        heads: weight [C, F] and bias [C] of each head, fp32, on the CPU.
        score: mean of `scores`.
        scores: validation scores of what was best under each task's metric.
        epoch: epochs trained when it was best; 0 is the start.
        steps: optimiser steps done in all.
        examples: rows of each task that these steps processed, a row once for each time that it was
            shown.
        seconds: time spent training and validating, over all runs if it was resumed.
        curve: every event, in order.
    """

    heads: tuple[Head, ...]
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
        task_embedding: the prefix as it stood after `task_embedding_step` optimiser steps; see
            `FitSettings.task_embedding_fraction`.
        task_embedding_step: that share of the schedule's steps, or the last step where training
            stopped before it.
    """

    prefix: Prefix | SoftPrompt
    task_embedding: Prefix | SoftPrompt
    task_embedding_step: int


@dataclass(frozen=True, kw_only=True)
class MultitaskResult(TrainingResult):
    """The best encoder, with its heads.

    Args:
        encoder: the model's state, fp32, on the CPU.
    """

    encoder: dict[str, Tensor]
