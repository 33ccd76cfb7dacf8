"""A bank and heads on it as one module: from token ids to a vector and probabilities.

It computes what `core/embed.py` and numpy compute, with tensors alone, so that it can be traced as
a whole and run elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np
import torch
from torch import Tensor, nn

from prefixbank.choices import Kind
from prefixbank.core.blocks import BlockBank, BlockEncoder
from prefixbank.core.combine import Bank
from prefixbank.core.embed import merged_encoder
from prefixbank.core.probe.solution import Solution


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearHead:
    """A fitted head.

    Args:
        kind: what it predicts.
        columns: int64 [R], the features of the vector that it reads.
        solution: weights on these features, standardised where there is a mean.
        mean: [R]; None: features are not standardised.
        scale: [R], beside a mean.
        temperature: [1] or [C], by which logits are divided; None: 1.
    """

    kind: Kind
    columns: np.ndarray
    solution: Solution
    mean: np.ndarray | None
    scale: np.ndarray | None
    temperature: np.ndarray | None = None


class HeadModule(nn.Module):
    """A head on vectors, in float32."""

    def __init__(self, head: LinearHead) -> None:
        super().__init__()
        self.kind = head.kind
        arrays = {
            "columns": head.columns,
            "mean": head.mean,
            "scale": head.scale,
            "hidden_weights": head.solution.hidden_weights,
            "hidden_bias": head.solution.hidden_bias,
            "weights": head.solution.weights,
            "bias": head.solution.bias,
            "temperature": head.temperature,
        }
        for name, array in arrays.items():
            self.register_buffer(name, None if array is None else _tensor(array))

    def forward(self, vectors: Tensor) -> Tensor:
        """Return probabilities [B, C] of vectors [B, F]; values [B, 1] of a regression."""
        x = vectors.index_select(1, self.get_buffer("columns"))
        if self.mean is not None:
            x = (x - self.get_buffer("mean")) / self.get_buffer("scale")
        if self.hidden_weights is not None:
            x = torch.tanh(x @ self.get_buffer("hidden_weights") + self.get_buffer("hidden_bias"))
        decision = x @ self.get_buffer("weights") + self.get_buffer("bias")
        if self.temperature is not None:
            decision = decision / self.get_buffer("temperature")
        match self.kind:
            case "classification":
                return decision.softmax(dim=1)
            case "multilabel":
                return decision.sigmoid()
            case "regression":
                return decision
        assert_never(self.kind)


class Predictor(nn.Module):
    """An encoder with a bank and heads.

    Args:
        model: encoder loaded with our attention, on the CPU.
        bank: prefixes, and how they turn texts into vectors.
        heads: what predicts from the vectors.
        inputs: names of the model's inputs, in the order in which `forward` takes them.
    """

    def __init__(
        self,
        model: nn.Module,
        bank: Bank | BlockBank,
        heads: Sequence[LinearHead],
        inputs: Sequence[str],
    ) -> None:
        super().__init__()
        self.model, self.inputs = model, tuple(inputs)
        self.heads = nn.ModuleList([HeadModule(head) for head in heads])
        # Read-outs of all sources share their matrix products: a graph has no CPU to itself.
        self.encode = (
            BlockEncoder(model, bank, apart=False)
            if isinstance(bank, BlockBank)
            else merged_encoder(bank, model, torch.float32)
        )

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return vectors [B, F], and what each head says [B, C].

        Args:
            inputs: [B, T] each.
        """
        blocks = self.encode(dict(zip(self.inputs, inputs, strict=True)))
        vectors = torch.cat([block.float() for block in blocks], dim=1)
        return vectors, *(head(vectors) for head in self.heads)


def _tensor(array: np.ndarray) -> Tensor:
    """Return numbers as float32, and indices as they are."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.float() if tensor.is_floating_point() else tensor
