"""Runs of `fit_prefix` on the toy task, and what interrupts them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prefixbank.choices import PrefixKind
from prefixbank.core.shapes import Batch
from prefixbank.core.training import loop as training_module
from prefixbank.core.training.fit import fit_prefix
from prefixbank.core.training.learners import EncodeText
from prefixbank.core.training.precision import MixedPrecision
from prefixbank.core.training.settings import Checkpoint, FitEvent, FitResult, State
from tests.core.toys import SETTINGS, SHAPE, batch_of, epochs_of, texts_of

TRAIN, TRAIN_CLASSES = texts_of(40, seed=1)
VALIDATION, VALIDATION_CLASSES = texts_of(24, seed=2)


def labels_of(kind: str, classes: np.ndarray) -> np.ndarray:
    """The toy task's classes as labels of another kind.

    Two flags that exclude each other, or values 80 and 120.
    """
    if kind == "multilabel":
        return np.stack([classes == 0, classes == 1], axis=1).astype(np.float32)
    return (80 + 40 * classes).astype(np.float32) if kind == "regression" else classes


def fit(
    model: nn.Module,
    *,
    batch_size: int = 8,
    rows: int = 40,
    checkpoint: Checkpoint | None = None,
    events: list[FitEvent] | None = None,
    train: Callable[[int], list[Batch]] | None = None,
    validation: list[Batch] | None = None,
    by: Callable[..., Any] = fit_prefix,
    prefix: PrefixKind = "deep",
    encode_text: EncodeText | None = None,
    **changes: Any,
) -> Any:
    """Fit on the first `rows` texts with `SETTINGS` changed.

    Names of `PrefixStart` and `TaskSettings` reach start and task; `kind` is the task's.

    `by` is the function that fits, `prefix` the kind of prefix, `encode_text` where read-outs get
    the states of their texts.
    """
    task, start = (
        {name: changes.pop(name) for name in list(changes) if hasattr(part, name)}
        for part in (SETTINGS.tasks[0], SETTINGS.start)
    )
    wanted = replace(SETTINGS.tasks[0], **task)
    begin = replace(SETTINGS.start, kind=prefix, **start)
    settings = replace(SETTINGS, start=begin, tasks=(wanted,), **changes)
    whole = batch_of(VALIDATION, labels_of(wanted.kind, VALIDATION_CLASSES), range(len(VALIDATION)))
    return by(
        model,
        SHAPE,
        train or epochs_of(TRAIN[:rows], labels_of(wanted.kind, TRAIN_CLASSES), batch_size),
        [validation or [whole]],
        settings,
        checkpoint=checkpoint,
        encode_text=encode_text,
        on_event=lambda event: None if events is None else events.append(event),
    )


def everything(result: FitResult) -> dict[str, Any]:
    """A result as values that compare by their bytes."""
    tensors = {
        "tensor": result.prefix.tensor,
        "gate": result.prefix.log_gate,
        "weight": result.heads[0][0],
        "bias": result.heads[0][1],
    }
    early = result.task_embedding
    tensors |= {"embedding": early.tensor, "embedding gate": early.log_gate}
    as_bytes = {
        name: None if tensor is None else tensor.numpy().tobytes()
        for name, tensor in tensors.items()
    }
    counts = {
        "epoch": result.epoch,
        "steps": result.steps,
        "embedding step": result.task_embedding_step,
    }
    return {**as_bytes, **counts, "score": result.score, "curve": result.curve}


def losses_of(result: FitResult) -> list[float]:
    """Loss of every optimiser step."""
    return [line["loss"] for line in result.curve if "loss" in line]


@contextmanager
def gradients(*, clipped: bool) -> Iterator[list[list[Tensor]]]:
    """Collect the gradients of every optimiser step (prefix parameters, then head), before or after
    clipping.
    """
    seen: list[list[Tensor]] = []
    clip = MixedPrecision.clip

    def watched(self: MixedPrecision, optimizer: torch.optim.Optimizer, max_norm: float) -> None:
        if clipped:
            clip(self, optimizer, max_norm)
        seen.append(
            [
                torch.zeros_like(one) if one.grad is None else one.grad.detach().clone()
                for group in optimizer.param_groups
                for one in group["params"]
            ]
        )
        if not clipped:
            clip(self, optimizer, max_norm)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MixedPrecision, "clip", watched)
        yield seen


def script_scores(patch: pytest.MonkeyPatch, *scores: float) -> None:
    """Let validation return these scores, one after the other."""
    left = iter(scores)
    patch.setattr(training_module, "score", lambda *_: next(left))


class Killed(BaseException):
    """Stands for the end of the process."""


class MemoryCheckpoint:
    """Keeps every state, as a file would: tensors copied, facts through JSON.

    Kills the run after `kill_after` saves.
    """

    def __init__(self, kill_after: int = -1) -> None:
        self.state: State | None = None
        self.kill_after = kill_after
        self.saves = 0

    def load(self) -> State | None:
        return copy.deepcopy(self.state)

    def due(self) -> bool:
        return True

    def save(self, state: State) -> None:
        tensors, facts = state
        self.state = (
            {name: tensor.clone() for name, tensor in tensors.items()},
            json.loads(json.dumps(facts)),
        )
        self.saves += 1
        if self.saves == self.kill_after:
            raise Killed


def seed_global_state(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed)
