"""The heads of tasks that are trained together, from their seeds to the training's result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from prefixbank.core.training.heads import new_head
from prefixbank.core.training.loop import Progress, under
from prefixbank.core.training.settings import TaskSettings, TrainingSettings


def new_heads(settings: TrainingSettings, features: int, device: torch.device) -> nn.ModuleList:
    """Return a head for each task on the vectors [F] of texts, each with a seed of its own."""
    heads = [
        new_head(task.head_inputs(features), task.num_outputs, settings.seed + 1 + index)
        for index, task in enumerate(settings.tasks)
    ]
    return nn.ModuleList(heads).to(device)


def heads_snapshot(heads: nn.ModuleList, tasks: Sequence[TaskSettings]) -> dict[str, Tensor]:
    """Return copies of the heads as `head.<index of the task>.weight` [C, F] and `.bias` [C].

    They are in the labels' units, fp32, on the CPU.
    """
    tensors: dict[str, Tensor] = {}
    for index, (head, task) in enumerate(zip(heads, tasks, strict=True)):
        weight, bias = (parameter.detach().float().cpu() for parameter in head.parameters())
        tensors[f"head.{index}.weight"] = weight * task.label_scale
        tensors[f"head.{index}.bias"] = bias * task.label_scale + task.label_mean
    return tensors


def outcome(progress: Progress, best: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the fields of a `TrainingResult`, with heads and pooling of the best snapshot."""
    return {
        "heads": tuple(
            (best[f"head.{index}.weight"], best[f"head.{index}.bias"])
            for index in range(len(progress.examples))
        ),
        "pooling": under("pooling", best),
        "score": progress.best_score,
        "scores": tuple(progress.best_scores),
        "epoch": progress.best_epoch,
        "steps": progress.step,
        "examples": tuple(progress.examples),
        "seconds": progress.seconds,
        "curve": progress.curve,
    }
