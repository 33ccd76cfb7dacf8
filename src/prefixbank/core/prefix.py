"""Prefixes, and their parameters in training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import assert_never

import torch
from torch import Tensor, nn

from prefixbank.choices import PrefixKind, Projection, Summary
from prefixbank.core.attention.prefix_attention import Slots
from prefixbank.core.prompt import SoftPrompt, TrainablePrompt, word_table
from prefixbank.core.readout import Readout, TrainableReadout
from prefixbank.core.shapes import EncoderShape, ShapeError

VECTORS_SEED, PROJECTION_SEED = 500_009, 500_029
"""Distance of the seeds of read-out vectors and of their projection from that of their slots."""


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


AnyPrefix = Prefix | SoftPrompt | Readout
"""A trained prefix of any kind."""


@dataclass(frozen=True, kw_only=True)
class PrefixStart:
    """How a prefix is parameterised in training, and its start values.

    Args:
        kind: `deep`; `soft` or `readout`, for which projection network and gate do not count.
        length: P.
        init_scale: standard deviation of the normal start values.
        projection: `none` trains the tensor itself (P-tuning v2); `mlp` trains an embedding and a
            two-layer network that produce it (Li & Liang).
        mlp_hidden_size: size of the network's hidden layer.
        gated: learn a log-gate for each layer and head.
        gate_init: its start value; strongly negative starts from the plain encoder.
        dropout: share of the tensor's entries set to zero in a training step.
        initial: a prefix of this kind to start from, in place of random values; not with `mlp`.
        words: token ids whose input embeddings the vectors of a soft prompt (P) or of read-outs (M)
            start from; empty: normal start values.
        slots: [L, 2, H, P, D] that slots start from; None: normal start values.
        readouts: M, the number of read-outs.
        summary: `mean`: of the read-outs; `concat`: side by side, then projected.
        normalised: whether the summary of the read-outs is layer-normalised.
        size: F, features of a learned projection; 0: none.
    """

    length: int
    init_scale: float
    projection: Projection
    mlp_hidden_size: int
    gated: bool
    gate_init: float
    dropout: float
    kind: PrefixKind = "deep"
    initial: AnyPrefix | None = None
    words: tuple[int, ...] = ()
    slots: Tensor | None = None
    readouts: int = 1
    summary: Summary = "mean"
    normalised: bool = False
    size: int = 0

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
        wanted = _description(self.kind, self.length, gated=self.gated, readouts=self.readouts)
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


Trainable = TrainablePrefix | TrainablePrompt | TrainableReadout


def trainable(model: nn.Module, shape: EncoderShape, start: PrefixStart, seed: int) -> Trainable:
    """Return the parameters of a prefix.

    Args:
        model: encoder, for the input embeddings that vectors start from.
        shape: its sizes.
        start: what to train, and its start values.
        seed: of normal start values.
    """
    match start.kind:
        case "deep":
            return TrainablePrefix(shape, start, seed)
        case "soft":
            return TrainablePrompt(_first_vectors(model, start, start.length, seed))
        case "readout":
            return TrainableReadout(_first_readout(model, shape, start, seed))
    assert_never(start.kind)


def tensors_of(prefix: AnyPrefix) -> dict[str, Tensor]:
    """Return a prefix as named tensors."""
    named: dict[str, Tensor | None]
    match prefix:
        case Prefix():
            named = {"prefix": prefix.tensor, "log_gate": prefix.log_gate}
        case SoftPrompt():
            named = {"prompt": prefix.tensor}
        case Readout():
            named = {
                "readouts": prefix.vectors,
                "slots": prefix.slots,
                "projection.weight": prefix.weight,
                "projection.bias": prefix.bias,
                "normalised": torch.ones(1, dtype=torch.uint8) if prefix.normalised else None,
            }
    return {name: tensor for name, tensor in named.items() if tensor is not None}


def prefix_of(tensors: Mapping[str, Tensor]) -> AnyPrefix:
    """Return the prefix that `tensors_of` took apart; other names are ignored."""
    if "prompt" in tensors:
        return SoftPrompt(tensor=tensors["prompt"])
    if "readouts" in tensors:
        return Readout(
            vectors=tensors["readouts"],
            slots=tensors["slots"],
            weight=tensors.get("projection.weight"),
            bias=tensors.get("projection.bias"),
            normalised="normalised" in tensors,
        )
    return Prefix(tensor=tensors["prefix"], log_gate=tensors.get("log_gate"))


def _first_vectors(model: nn.Module, start: PrefixStart, count: int, seed: int) -> Tensor:
    """Return the start values of `count` input vectors, [count, V]."""
    table = word_table(model)
    if isinstance(start.initial, SoftPrompt):
        return _fitting(start.initial.tensor, (count, table.shape[1]))
    if start.words:
        return table[list(start.words)].detach().cpu()
    return normal_start((count, table.shape[1]), start.init_scale, seed)


def _first_readout(model: nn.Module, shape: EncoderShape, start: PrefixStart, seed: int) -> Readout:
    """Return the start values of read-outs. Slots and vectors are drawn from different seeds."""
    inputs = shape.hidden_size * (start.readouts if start.summary == "concat" else 1)
    if isinstance(start.initial, Readout):
        _fitting(start.initial.slots, shape.prefix_shape(start.length))
        _fitting(start.initial.vectors, (start.readouts, word_table(model).shape[1]))
        if start.initial.weight is not None or start.size:
            _fitting(start.initial.projection, (start.size, inputs))
        return replace(start.initial, normalised=start.normalised)
    slots = (
        normal_start(shape.prefix_shape(start.length), start.init_scale, seed)
        if start.slots is None
        else _fitting(start.slots, shape.prefix_shape(start.length))
    )
    vectors = _first_vectors(model, start, start.readouts, seed + VECTORS_SEED)
    readout = Readout(vectors=vectors, slots=slots, normalised=start.normalised)
    if not start.size:
        return readout
    weight = normal_start((start.size, inputs), inputs**-0.5, seed + PROJECTION_SEED)
    return replace(readout, weight=weight, bias=torch.zeros(start.size))


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
        case "none" if start.slots is not None:
            return nn.Parameter(_fitting(start.slots, shape.prefix_shape(start.length))), None
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
            f"a prefix to start from has a tensor of shape {list(tensor.shape)}",
            expected=f"{list(shape)}, as this training's settings say",
            fix="start from a prefix of the same encoder",
        )
    return tensor.detach().clone()


def _description_of(prefix: AnyPrefix) -> str:
    match prefix:
        case Prefix():
            return _description("deep", prefix.length, gated=prefix.log_gate is not None)
        case SoftPrompt():
            return _description("soft", prefix.length)
        case Readout():
            return _description("readout", prefix.length, readouts=prefix.count)


def _description(kind: PrefixKind, length: int, *, gated: bool = False, readouts: int = 0) -> str:
    match kind:
        case "deep":
            return f"{length} slots {'with' if gated else 'without'} a gate"
        case "soft":
            return f"a soft prompt of {length} vectors"
        case "readout":
            return f"{readouts} read-outs with {length} slots"
    assert_never(kind)
