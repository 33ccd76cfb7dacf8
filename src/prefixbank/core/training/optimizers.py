"""Optimisers, and their state in checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, assert_never

import torch
from torch import Tensor
from transformers.optimization import Adafactor

from prefixbank.choices import OptimizerName


def new_optimizer(
    name: OptimizerName, groups: Sequence[dict[str, Any]], *, lr: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Return an optimiser over parameter groups.

    `adafactor` uses the learning rate as it is: it neither scales it by the parameters' size, as
    torch's own always does, nor lowers it over the steps.

    Source: Shazeer & Stern 2018 (1804.04235); as Lester et al. 2021 (2104.08691) train soft
    prompts.
    """
    match name:
        case "adamw":
            # One pass over each tensor; torch's default for the CPU makes about ten.
            return torch.optim.AdamW(groups, lr=lr, weight_decay=weight_decay, fused=True)
        case "adafactor":
            return Adafactor(
                groups,
                lr=lr,
                weight_decay=weight_decay,
                scale_parameter=False,
                relative_step=False,
                warmup_init=False,
            )
    assert_never(name)


def state_of(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Return the state of all parameters as tensors and numbers, by `<parameter number>.<name>`."""
    state = {
        f"{number}.{name}": value
        for number, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    return tensors, {name: value for name, value in state.items() if name not in tensors}


def restore(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], numbers: Mapping[str, float]
) -> None:
    """Restore what `state_of` returned in an optimiser over the same parameters."""
    state: dict[int, dict[str, Any]] = {}
    for full_name, value in {**tensors, **numbers}.items():
        number, name = full_name.split(".", 1)
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict(
        {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
    )
