"""Soft prompts: trained vectors in front of the embedded text, at the input only.

A prompt passes through every layer as tokens do: each layer computes its queries, keys and values.
The text's positions do not shift; every prompt vector has the position of the first token. Training
absorbs whatever the embedding layer adds there.

Source: Lester et al. 2021 (2104.08691); Vu et al. 2022 (2110.07904, SPoT).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from prefixbank.core.shapes import ShapeError


@dataclass(frozen=True, kw_only=True)
class PromptVectors:
    """The vectors in front of all texts of a batch, in one forward pass.

    Args:
        vectors: [S, E], E the size of an input embedding.
        log_weights: [S] added to the attention logits of each vector's keys, in every layer; None
            means zeros.
    """

    vectors: Tensor
    log_weights: Tensor | None = None

    def to(self, device: torch.device, dtype: torch.dtype) -> PromptVectors:
        """Return the vectors on another device; as input embeddings, they keep their precision."""
        weights = None if self.log_weights is None else self.log_weights.to(device)
        return PromptVectors(vectors=self.vectors.to(device), log_weights=weights)


@dataclass(frozen=True, kw_only=True)
class SoftPrompt:
    """Trained input vectors of one source task.

    Args:
        tensor: [P, E], E the size of an input embedding.
    """

    tensor: Tensor

    def __post_init__(self) -> None:
        """Check the shape."""
        if self.tensor.ndim != 2:
            raise ShapeError(
                f"soft prompt has shape {list(self.tensor.shape)}",
                expected="[P, E]",
                fix="use the tensor of a prefix artifact",
            )

    @property
    def length(self) -> int:
        """P, vectors in front of the text."""
        return self.tensor.shape[0]

    def cycled(self, length: int) -> SoftPrompt:
        """Return the prompt cut or repeated to `length` vectors: vector i is vector i mod P."""
        return SoftPrompt(tensor=self.tensor[torch.arange(length) % self.length])

    def slots(self) -> PromptVectors:
        """Return the vectors of this prompt alone, at weight 1."""
        return PromptVectors(vectors=self.tensor)


class TrainablePrompt(nn.Module):
    """The parameters of one soft prompt in training; `forward` returns it, with gradients."""

    def __init__(self, start: Tensor) -> None:
        """Start from a copy of `start` [P, E]."""
        super().__init__()
        self.start = nn.Parameter(start.detach().clone().float())

    def forward(self, drop: Callable[[Tensor], Tensor] | None = None) -> SoftPrompt:
        """Return the prompt, its tensor passed through `drop` if one is given."""
        return SoftPrompt(tensor=self.start if drop is None else drop(self.start))

    def snapshot(self) -> SoftPrompt:
        """Return a copy without gradients, fp32, on the CPU."""
        return SoftPrompt(tensor=self.start.detach().clone().cpu().contiguous())


def word_embeddings(model: nn.Module) -> nn.Module:
    """Return the input embedding layer, whose `weight` is [words, E]."""
    # torch types methods it does not know as tensors.
    layer: nn.Module = model.get_input_embeddings()  # type: ignore[operator]
    return layer


def word_table(model: nn.Module) -> Tensor:
    """Return the input embeddings of all words, [words, E]."""
    # torch types attributes as tensors or modules.
    table: Tensor = word_embeddings(model).weight  # type: ignore[assignment]
    return table


def prompted(
    model: nn.Module, inputs: Mapping[str, Tensor], prompt: PromptVectors
) -> dict[str, Any]:
    """Return keyword arguments that put the prompt in front of the texts.

    Args:
        model: encoder loaded with our attention.
        inputs: its keyword arguments without a prompt, [B, T] each.
        prompt: S vectors.
    Returns:
        `inputs_embeds` [B, S + T, E]; the other inputs as [B, S + T], where the prompt has token
        type 0, is visible, and has the position of each text's first token; and `prompt`, for our
        attention.
    """
    rows, count = inputs["input_ids"].shape[0], prompt.vectors.shape[0]
    words = word_embeddings(model)(inputs["input_ids"])
    positions = text_positions(model, inputs)
    first = positions.gather(1, inputs["attention_mask"].argmax(dim=1, keepdim=True))
    widened = {
        name: functional.pad(tensor, (count, 0), value=int(name == "attention_mask"))
        for name, tensor in inputs.items()
    }
    del widened["input_ids"]
    return {
        **widened,
        "inputs_embeds": torch.cat(
            [prompt.vectors.to(words.dtype).expand(rows, -1, -1), words], dim=1
        ),
        "position_ids": torch.cat([first.expand(-1, count), positions], dim=1),
        "prompt": prompt,
    }


def text_positions(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    """Return the position ids [B, T] that the model would compute for the texts.

    They count from 0. Where the position table has a row for padding (RoBERTa and its relatives),
    they count the tokens from the row after it.
    """
    if "position_ids" in inputs:
        return inputs["position_ids"]
    ids = inputs["input_ids"]
    padding = getattr(position_table(model), "padding_idx", None)
    if padding is None:
        return torch.arange(ids.shape[1], device=ids.device).expand(ids.shape)
    tokens = (ids != padding).long()
    positions: Tensor = tokens.cumsum(dim=1) * tokens + padding
    return positions


def position_table(model: nn.Module) -> nn.Embedding | None:
    """Return the table of position vectors, None if the encoder has none (rotary positions)."""
    parts = (getattr(model, "embeddings", None), model)
    for part, name in zip(parts, ("position_embeddings", "wpe"), strict=True):
        table = getattr(part, name, None)
        if isinstance(table, nn.Embedding):
            return table
    return None


def visible_to_all(mask: Tensor, count: int, *, causal: bool) -> Tensor:
    """Let all tokens attend to the first `count` keys, however local their attention is.

    The prompt's queries attend to all that any token attends to. In a causal model they attend to
    the prompt only, so that no information about later tokens leaks through it.

    Args:
        mask: [B or 1, 1 or heads, S + T, S + T], True where attention is allowed.
        count: S.
        causal: tokens see only earlier tokens.
    """
    in_prompt = torch.arange(mask.shape[-1], device=mask.device) < count
    visible = in_prompt if causal else mask.any(dim=-2, keepdim=True)
    return (in_prompt[:, None] & visible) | (~in_prompt[:, None] & mask) | in_prompt
