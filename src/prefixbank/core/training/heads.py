"""Task heads: a linear layer on the pooled vector, with the loss and predictions of each kind."""

from __future__ import annotations

from typing import assert_never

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from prefixbank.choices import Kind, Metric
from prefixbank.core.probe.solution import probabilities_from
from prefixbank.core.stats.metrics import RANKING


def new_head(inputs: int, outputs: int, seed: int) -> nn.Linear:
    """Return a linear layer [F] -> [C] drawn from `seed`; the global random state is unchanged."""
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


def scorable_of(metric: Metric, kind: Kind, outputs: Tensor) -> np.ndarray:
    """Turn outputs [N, C] into what a metric scores: probabilities [N, C], or predictions."""
    if metric in RANKING:
        return probabilities_from(kind, outputs.double().numpy())
    return predictions_of(kind, outputs)


def predictions_of(kind: Kind, outputs: Tensor) -> np.ndarray:
    """Turn outputs [N, C] into classes int64 [N], flags uint8 [N, C] or values float64 [N]."""
    match kind:
        case "classification":
            return outputs.argmax(dim=-1).numpy()
        case "multilabel":
            return (outputs > 0).to(torch.uint8).numpy()
        case "regression":
            return outputs.squeeze(-1).double().numpy()
    assert_never(kind)
