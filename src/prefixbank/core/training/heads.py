"""Task heads and their losses.

A linear layer on the pooled vector, the loss of each kind of task, and predictions from outputs.
"""

from __future__ import annotations

from typing import assert_never

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from prefixbank.choices import Kind


def new_head(inputs: int, outputs: int, seed: int) -> nn.Linear:
    """Return a linear layer [F] -> [C] drawn from `seed`, leaving the global random state alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Linear(inputs, outputs)


def loss_of(kind: Kind, outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the mean loss of a batch.

    Args:
        kind: cross-entropy, binary cross-entropy for each label, or squared error.
        outputs: [B, C]; regression [B, 1].
        labels: [B] int64, [B, C] float, or [B] float.
    """
    match kind:
        case "classification":
            return functional.cross_entropy(outputs.float(), labels)
        case "multilabel":
            return functional.binary_cross_entropy_with_logits(outputs.float(), labels)
        case "regression":
            return functional.mse_loss(outputs.squeeze(-1).float(), labels)
    assert_never(kind)


def predictions_of(kind: Kind, outputs: Tensor) -> np.ndarray:
    """Return predictions for outputs [N, C].

    Class numbers [N] int64, label flags [N, C] uint8, or values [N] float64.
    """
    match kind:
        case "classification":
            return outputs.argmax(dim=-1).numpy()
        case "multilabel":
            return (outputs > 0).to(torch.uint8).numpy()
        case "regression":
            return outputs.squeeze(-1).double().numpy()
    assert_never(kind)
