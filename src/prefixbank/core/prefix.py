"""Prefixes, and their parameters in training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

import torch
from torch import Tensor, nn

from prefixbank.choices import Projection
from prefixbank.core.attention.prefix_attention import Slots
from prefixbank.core.prompt import SoftPrompt, TrainablePrompt, word_table
from prefixbank.core.shapes import EncoderShape, ShapeError


@dataclass(frozen=True, kw_only=True)
class Prefix:
    """Trained keys and values of one source task.

    Args:
        tensor: [L, 2, H, P, D]; index 0 of the second axis holds keys, 1 values.
        log_gate: [L, H] added to the attention logits of all P slots; None means 0 everywhere.
    """

    tensor: Tensor
    log_gate: Tensor | None = None

    def __post_init__(self) -> None:
        """Check that the shapes of tensor and gate fit."""
        shape = tuple(self.tensor.shape)
        if len(shape) != 5 or shape[1] != 2:
            raise ShapeError(
                f"prefix tensor has shape {list(shape)}",
                expected="[L, 2, H, P, D]",
                fix="use the tensor of a prefix artifact",
            )
        if self.log_gate is not None and tuple(self.log_gate.shape) != (shape[0], shape[2]):
            raise ShapeError(
                f"log-gate has shape {list(self.log_gate.shape)} beside a prefix of shape "
                f"{list(shape)}",
                expected=f"[L, H] = [{shape[0]}, {shape[2]}]",
                fix="use the prefix and the gate of one artifact",
            )

    @property
    def length(self) -> int:
        """P, slots per layer."""
        return self.tensor.shape[3]

    def bias(self, log_weight: float) -> Tensor | None:
        """Return log-weight plus log-gate, [L, H, P]; None if that is zero everywhere."""
        if self.log_gate is None and log_weight == 0.0:
            return None
        layers, _, heads, length, _ = self.tensor.shape
        gate = self.tensor.new_zeros(layers, heads) if self.log_gate is None else self.log_gate
        return (gate + log_weight).unsqueeze(-1).expand(layers, heads, length)

    def slots(self) -> Slots:
        """Return the slots of this prefix alone, at weight 1."""
        return Slots(keys=self.tensor[:, 0], values=self.tensor[:, 1], bias=self.bias(0.0))

    def cycled(self, length: int) -> Prefix:
        """Return the prefix cut or repeated to `length` slots; slot i is slot i mod P."""
        return Prefix(
            tensor=self.tensor[:, :, :, torch.arange(length) % self.length], log_gate=self.log_gate
        )


@dataclass(frozen=True, kw_only=True)
class PrefixStart:
    """How a prefix is parameterised in training, and its start values.

    Args:
        length: P.
        init_scale: standard deviation of the normal start values.
        projection: `none` trains the tensor itself (P-tuning v2); `mlp` trains an embedding and a
            two-layer network that produce it (Li & Liang).
        mlp_hidden_size: size of the network's hidden layer.
        gated: learn a log-gate for each layer and head.
        gate_init: its start value; strongly negative starts from the plain encoder.
        dropout: share of the tensor's entries set to zero in a training step.
        initial: a prefix (with its gate) or a soft prompt to start from, in place of random values;
            not with `mlp`.
        soft: train a soft prompt, for which only length, start values and dropout count.
        words: P token ids whose input embeddings a soft prompt starts from; empty: normal start
            values.
    """

    length: int
    init_scale: float
    projection: Projection
    mlp_hidden_size: int
    gated: bool
    gate_init: float
    dropout: float
    initial: Prefix | SoftPrompt | None = None
    soft: bool = False
    words: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Check that `initial` has the kind and length of the prefix that is trained."""
        if self.initial is None:
            return
        if self.projection != "none":
            raise ShapeError(
                f"a prefix to start from with projection {self.projection}",
                expected="none: the parameters of a network cannot be set from a prefix",
                fix="train the tensor itself, or start from random values",
            )
        wanted = _description(self.length, soft=self.soft, gated=self.gated)
        if _description_of(self.initial) != wanted:
            raise ShapeError(
                f"a prefix to start from: {_description_of(self.initial)}",
                expected=wanted,
                fix="start from a prefix of this kind and length, with a gate if one is learned",
            )


class TrainablePrefix(nn.Module):
    """The parameters of one prefix in training; `forward` returns the prefix, with gradients."""

    def __init__(self, shape: EncoderShape, start: PrefixStart, seed: int) -> None:
        """Start from the prefix in `start`, or draw start values from `seed`.

        The global random state does not change.

        Raises:
            ShapeError: the prefix to start from does not have this encoder's shape.
        """
        super().__init__()
        self.shape = shape.prefix_shape(start.length)
        self.produce: nn.Module | None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.start, self.produce = _parameters(shape, start, seed)
        self.log_gate = nn.Parameter(_first_gate(shape, start)) if start.gated else None

    def forward(self, drop: Callable[[Tensor], Tensor] | None = None) -> Prefix:
        """Return the prefix, its tensor passed through `drop` if one is given."""
        tensor = self.start if self.produce is None else self._produced(self.produce)
        return Prefix(tensor=tensor if drop is None else drop(tensor), log_gate=self.log_gate)

    def _produced(self, network: nn.Module) -> Tensor:
        """Reshape the network's output [P, 2·L·H·D] to [L, 2, H, P, D]."""
        layers, two, heads, length, size = self.shape
        flat: Tensor = network(self.start)
        return flat.view(length, layers, two, heads, size).permute(1, 2, 3, 0, 4)

    def snapshot(self) -> Prefix:
        """Return a copy without gradients, fp32, on the CPU, in memory order."""
        with torch.no_grad():
            prefix = self()
            gate = (
                None if prefix.log_gate is None else prefix.log_gate.detach().clone().float().cpu()
            )
            return Prefix(
                tensor=prefix.tensor.detach().clone().float().cpu().contiguous(), log_gate=gate
            )


def trainable(
    model: nn.Module, shape: EncoderShape, start: PrefixStart, seed: int
) -> TrainablePrefix | TrainablePrompt:
    """Return the parameters of a prefix or a soft prompt.

    Args:
        model: encoder, for the input embeddings that a soft prompt starts from.
        shape: its sizes.
        start: what to train, and its start values.
        seed: of normal start values.
    """
    return (
        TrainablePrompt(_first_vectors(model, start, seed))
        if start.soft
        else TrainablePrefix(shape, start, seed)
    )


def tensors_of(prefix: Prefix | SoftPrompt) -> dict[str, Tensor]:
    """Return a prefix or a soft prompt as named tensors."""
    if isinstance(prefix, SoftPrompt):
        return {"prompt": prefix.tensor}
    return (
        {"prefix": prefix.tensor}
        if prefix.log_gate is None
        else {"prefix": prefix.tensor, "log_gate": prefix.log_gate}
    )


def prefix_of(tensors: Mapping[str, Tensor]) -> Prefix | SoftPrompt:
    """Return the prefix or soft prompt that `tensors_of` took apart; other names are ignored."""
    if "prompt" in tensors:
        return SoftPrompt(tensor=tensors["prompt"])
    return Prefix(tensor=tensors["prefix"], log_gate=tensors.get("log_gate"))


def _first_vectors(model: nn.Module, start: PrefixStart, seed: int) -> Tensor:
    """Return the start values of a soft prompt, [P, E]."""
    table = word_table(model)
    if start.initial is not None:
        return _fitting(start.initial.tensor, (start.length, table.shape[1]))
    if start.words:
        return table[list(start.words)].detach().cpu()
    return normal_start((start.length, table.shape[1]), start.init_scale, seed)


def normal_start(shape: Sequence[int], scale: float, seed: int) -> Tensor:
    """Return normal start values of a prefix or soft prompt of this shape.

    The global random state does not change.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return torch.randn(*shape) * scale


def _parameters(
    shape: EncoderShape, start: PrefixStart, seed: int
) -> tuple[nn.Parameter, nn.Module | None]:
    """Return the start tensor and, if there is one, the network that turns it into a prefix."""
    match start.projection:
        case "none" if start.initial is not None:
            return nn.Parameter(
                _fitting(start.initial.tensor, shape.prefix_shape(start.length))
            ), None
        case "none":
            return nn.Parameter(
                normal_start(shape.prefix_shape(start.length), start.init_scale, seed)
            ), None
        case "mlp":
            outputs = 2 * shape.layers * shape.kv_heads * shape.head_size
            network = nn.Sequential(
                nn.Linear(shape.hidden_size, start.mlp_hidden_size),
                nn.Tanh(),
                nn.Linear(start.mlp_hidden_size, outputs),
            )
            return nn.Parameter(
                torch.randn(start.length, shape.hidden_size) * start.init_scale
            ), network
    assert_never(start.projection)


def _first_gate(shape: EncoderShape, start: PrefixStart) -> Tensor:
    """Return the start values of the log-gates, [L, H]."""
    if isinstance(start.initial, Prefix) and start.initial.log_gate is not None:
        return start.initial.log_gate.detach().clone()
    return torch.full((shape.layers, shape.kv_heads), start.gate_init)


def _fitting(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return a copy of a tensor; raise ShapeError unless it has this shape."""
    if tuple(tensor.shape) != tuple(shape):
        raise ShapeError(
            f"a prefix to start from has shape {list(tensor.shape)}",
            expected=f"{'[P, E]' if len(shape) == 2 else '[L, 2, H, P, D]'} = {list(shape)}",
            fix="start from a prefix of the same encoder",
        )
    return tensor.detach().clone()


def _description_of(prefix: Prefix | SoftPrompt) -> str:
    gated = isinstance(prefix, Prefix) and prefix.log_gate is not None
    return _description(prefix.length, soft=isinstance(prefix, SoftPrompt), gated=gated)


def _description(length: int, *, soft: bool, gated: bool) -> str:
    return (
        f"a soft prompt of {length} vectors"
        if soft
        else f"{length} slots {'with' if gated else 'without'} a gate"
    )
