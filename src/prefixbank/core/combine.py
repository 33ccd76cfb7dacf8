"""Combination: from independently trained prefixes to the slots of the attention layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import assert_never

import torch
from torch import Tensor

from prefixbank.choices import Rule
from prefixbank.core.attention.prefix_attention import Slots
from prefixbank.core.pooling import Pooling, PoolingWeights
from prefixbank.core.prefix import Prefix
from prefixbank.core.prompt import PromptVectors, SoftPrompt
from prefixbank.core.shapes import ShapeError
from prefixbank.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Bank:
    """Ordered prefixes and how they turn a text into one vector.

    Without prefixes it is the plain encoder.

    Args:
        prefixes: K prefixes of one encoder.
        weights: K numbers >= 0; weight 0 leaves a prefix out.
        rule: `concat_prefixes`: one pass with all prefixes, log w added to the logits of each
            prefix's slots. `mean_prefixes`: one pass with their weighted mean. `mean_vectors`: one
            pass for each prefix, then the weighted mean of the vectors. `concat_vectors`: one pass
            for each prefix, vectors side by side (weights can only leave prefixes out).
        pooling: how hidden states become a vector. Without prefixes it has the weights of learned
            pooling itself.
        learned: of each prefix, what its training learned of the pooling; empty: nothing. Each
            prefix's vector is pooled with its own weights. `concat_prefixes` has one pass, whose
            states are pooled with those of each prefix in turn, side by side.

    All prefixes are deep, or all are soft prompts. Soft prompts attend to each other, so their
    states in a bank differ from those of each alone. A weight w adds log w to the logits of the
    prompt's keys, for all queries. So w = 1 is plain concatenation, w = 0 leaves a prompt out, and
    order changes nothing. K copies of one prompt at w = 1/K equal that prompt, since the copies
    stay equal in every layer. K different prompts at w = 1/K have the mass of one only as far as
    their keys are alike, as with deep prefixes.

    Source: Huang et al. 2023 (2305.13499), section 3.
    """

    prefixes: tuple[Prefix | SoftPrompt, ...]
    weights: tuple[float, ...]
    rule: Rule
    pooling: Pooling
    learned: tuple[PoolingWeights, ...] = ()

    def __post_init__(self) -> None:
        """Check that prefixes, weights, rule and pooling fit together."""
        if self.learned:
            check_learned(self.rule, self.weights, self.pooling.size)
        check_weights(self.rule, self.weights, len(self.prefixes))
        check_shapes(self.rule, [tuple(prefix.tensor.shape) for prefix in self.prefixes])

    @property
    def soft(self) -> bool:
        """Whether its prefixes are soft prompts."""
        return any(isinstance(prefix, SoftPrompt) for prefix in self.prefixes)

    def passes(self) -> list[Slots | PromptVectors | None]:
        """Return the slots or prompt of each forward pass; None is the plain encoder."""
        used = [
            (prefix, weight)
            for prefix, weight in zip(self.prefixes, self.weights, strict=True)
            if weight > 0
        ]
        prompts = [(prefix, weight) for prefix, weight in used if isinstance(prefix, SoftPrompt)]
        deep = [(prefix, weight) for prefix, weight in used if isinstance(prefix, Prefix)]
        if not used:
            return [None]
        match self.rule:
            case "concat_prefixes":
                return [_concatenated(prompts) if prompts else _side_by_side(deep)]
            case "mean_prefixes":
                return [(_mean_prompt(prompts) if prompts else mean_prefix(deep)).slots()]
            case "concat_vectors" | "mean_vectors":
                return [prefix.slots() for prefix, _ in used]
        assert_never(self.rule)

    def poolings(self) -> list[list[Pooling]]:
        """Return how each pass is pooled, in one way or in several side by side."""
        if not self.learned:
            return [[self.pooling] for _ in self.passes()]
        own = [
            replace(self.pooling, weights=learned)
            for learned, weight in zip(self.learned, self.weights, strict=True)
            if weight > 0
        ]
        return [own] if self.rule == "concat_prefixes" else [[one] for one in own]

    @property
    def views(self) -> int:
        """Number of vectors that lie side by side in the bank's."""
        poolings = self.poolings()
        return len(poolings) if self.rule == "concat_vectors" else len(poolings[0])

    def merge(self, vectors: Sequence[Tensor]) -> Tensor:
        """Merge the vectors [B, F] of all passes into one, [B, F] or [B, K·F]."""
        if len(vectors) == 1:
            return vectors[0]
        if self.rule == "concat_vectors":
            return torch.cat(list(vectors), dim=-1)
        return weighted_mean(vectors, [weight for weight in self.weights if weight > 0])


def default_weights(count: int, *, normalize: bool) -> tuple[float, ...]:
    """Return `count` equal weights: 1 / count each if they are normalized, else 1 each."""
    return (1.0 / count if normalize else 1.0,) * count


def check_weights(rule: Rule, weights: Sequence[float], count: int) -> None:
    """Raise UsageError unless the weights fit `count` prefixes and the rule."""
    if len(weights) != count:
        raise UsageError(
            f"{len(weights)} weights for {count} prefixes",
            expected="one weight for each prefix, in their order",
            fix="combine.weights=[...]",
        )
    if any(not math.isfinite(weight) or weight < 0 for weight in weights):
        raise UsageError(
            f"weights {list(weights)}", expected="finite numbers >= 0", fix="combine.weights=[...]"
        )
    if rule == "concat_vectors" and len({weight for weight in weights if weight > 0}) > 1:
        raise UsageError(
            f"weights {list(weights)} under concat_vectors",
            expected=(
                "equal weights (or 0 to leave a prefix out): vectors side by side are not weighted"
            ),
            fix="drop combine.weights, or use combine=mean_vectors",
        )


def check_learned(rule: Rule, weights: Sequence[float], size: int) -> None:
    """Refuse what means nothing for prefixes that learned how to pool.

    Args:
        rule: of the bank.
        weights: of the prefixes.
        size: features of the learned projection; 0: none.

    Raises:
        UsageError: the mean of prefixes, whose poolings have no mean; the mean of vectors that were
            projected, each to features of its own; or no prefix that counts.
    """
    if rule == "mean_prefixes":
        raise UsageError(
            "combine.rule=mean_prefixes with learned pooling, of which there is no mean",
            expected="a rule under which each prefix's pooling is used as it is",
            fix="combine=concat_prefixes    or train the prefixes with pooling=mean",
        )
    if rule == "mean_vectors" and size:
        raise UsageError(
            f"combine.rule=mean_vectors with pooling.size={size}: each prefix projects to "
            "features of its own",
            expected="a rule that puts them side by side",
            fix="combine=concat_vectors    or train the prefixes with pooling.size=0",
        )
    if not any(weights):
        raise UsageError(
            f"weights {list(weights)} with learned pooling",
            expected="a weight above 0: the plain encoder has not learned how to pool",
            fix="combine.weights=[...]",
        )


def check_shapes(rule: Rule, shapes: Sequence[tuple[int, ...]]) -> None:
    """Raise ShapeError if prefixes [L, 2, H, P, D] or prompts [P, E] differ in more than length.

    `mean_prefixes` needs equal lengths, too.
    """
    soft = [len(shape) == 2 for shape in shapes]
    if any(soft) and not all(soft):
        raise ShapeError(
            f"prefixes of two kinds: {len(soft) - sum(soft)} deep, {sum(soft)} soft",
            expected="prefixes of one kind: all prefix.kind=deep, or all prefix.kind=soft",
            fix="make a bank of each kind, or train them again with one prefix.kind",
        )
    encoders = {
        f"size {shape[1]}"
        if len(shape) == 2
        else f"{shape[0]} layers x {shape[2]} heads x {shape[4]}"
        for shape in shapes
    }
    if len(encoders) > 1:
        listed = ", ".join(sorted(encoders))
        raise ShapeError(
            f"prefixes of different shapes: {listed}",
            expected="prefixes of one encoder",
            fix="train them all on one encoder",
        )
    lengths = sorted({shape[0] if len(shape) == 2 else shape[3] for shape in shapes})
    if rule == "mean_prefixes" and len(lengths) > 1:
        raise ShapeError(
            f"mean_prefixes over prefixes of lengths {lengths}",
            expected="prefixes of one length",
            fix="combine=concat_prefixes, or train them again with one prefix.length",
        )


def mean_prefix(used: Sequence[tuple[Prefix, float]]) -> Prefix:
    """Return the weighted mean of tensors and gates; a missing gate counts as 0.

    Args:
        used: one or more prefixes of one shape, each with its weight > 0. Weights are scaled to a
            sum of 1.
    """
    weights = [weight for _, weight in used]
    tensor = weighted_mean([prefix.tensor for prefix, _ in used], weights)
    if all(prefix.log_gate is None for prefix, _ in used):
        return Prefix(tensor=tensor)
    gates = [
        tensor.new_zeros(tensor.shape[0], tensor.shape[2])
        if prefix.log_gate is None
        else prefix.log_gate
        for prefix, _ in used
    ]
    return Prefix(tensor=tensor, log_gate=weighted_mean(gates, weights))


def weighted_mean(tensors: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Return the mean of tensors of one shape, weights scaled to a sum of 1."""
    total = math.fsum(weights)
    return torch.stack(
        [weight / total * tensor for weight, tensor in zip(weights, tensors, strict=True)]
    ).sum(dim=0)


def _side_by_side(used: Sequence[tuple[Prefix, float]]) -> Slots:
    """Concatenate prefixes along the slot axis; log w + gate is the bias of a prefix's slots."""
    biases = [prefix.bias(math.log(weight)) for prefix, weight in used]
    bias = None
    if any(part is not None for part in biases):
        zeros = [
            prefix.tensor.new_zeros(prefix.tensor.shape[0], prefix.tensor.shape[2], prefix.length)
            for prefix, _ in used
        ]
        bias = torch.cat(
            [zero if part is None else part for part, zero in zip(biases, zeros, strict=True)],
            dim=-1,
        )
    tensor = torch.cat([prefix.tensor for prefix, _ in used], dim=3)
    return Slots(keys=tensor[:, 0].contiguous(), values=tensor[:, 1].contiguous(), bias=bias)


def _concatenated(used: Sequence[tuple[SoftPrompt, float]]) -> PromptVectors:
    """Concatenate prompts; log w is the log-weight of a prompt's vectors."""
    vectors = torch.cat([prompt.tensor for prompt, _ in used])
    if all(weight == 1.0 for _, weight in used):
        return PromptVectors(vectors=vectors)
    weights = [torch.full((prompt.length,), math.log(weight)) for prompt, weight in used]
    return PromptVectors(vectors=vectors, log_weights=torch.cat(weights).to(vectors.device))


def _mean_prompt(used: Sequence[tuple[SoftPrompt, float]]) -> SoftPrompt:
    """Return the weighted mean of prompts."""
    return SoftPrompt(
        tensor=weighted_mean([prompt.tensor for prompt, _ in used], [weight for _, weight in used])
    )
