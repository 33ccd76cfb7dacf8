"""Read-out prefixes: a source task's own tokens, which read a text and leave it as it is.

M read-outs (trained input vectors) pass the encoder beside a text. In every layer they attend to
the text, to P slots (keys and values) of their task, and to each other. The text attends to none of
them. So the text's states are those of the plain encoder, and the block of features of a task is
the same whichever other tasks read the text in the same pass.

Every read-out stands behind its text: it has the position after the text's last token, or the last
position that the encoder has a vector for, and token type 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from prefixbank.core.attention.readout import ReadoutSlots, TextStates, pad_slots
from prefixbank.core.prompt import position_table, text_positions
from prefixbank.core.shapes import ShapeError


@dataclass(frozen=True, kw_only=True)
class Readout:
    """The trained read-outs and slots of one source task.

    Args:
        vectors: [M, V], input vectors of the read-outs; V is the size of an input embedding.
        slots: [L, 2, H, P, D]; index 0 of the second axis holds keys, 1 values. P may be 0.
        weight: [F, E] of a projection of the read-outs' mean, or [F, M·E] of all of them side by
            side; None: the mean itself is the block.
        bias: [F] of the projection.
        normalised: whether the summary of the read-outs is scaled to mean 0 and variance 1 over its
            features.
    """

    vectors: Tensor
    slots: Tensor
    weight: Tensor | None = None
    bias: Tensor | None = None
    normalised: bool = False

    def __post_init__(self) -> None:
        """Check the shapes."""
        vectors, slots = tuple(self.vectors.shape), tuple(self.slots.shape)
        if len(vectors) != 2 or len(slots) != 5 or slots[1] != 2:
            raise ShapeError(
                f"read-outs of shape {list(vectors)} with slots of shape {list(slots)}",
                expected="[M, V] and [L, 2, H, P, D]",
                fix="use the tensors of a prefix artifact",
            )

    @property
    def count(self) -> int:
        """M, the number of read-outs."""
        return self.vectors.shape[0]

    @property
    def length(self) -> int:
        """P, slots per layer."""
        return self.slots.shape[3]

    @property
    def tensor(self) -> Tensor:
        """The slots, as which a read-out prefix is compared with others."""
        return self.slots

    @property
    def projection(self) -> Tensor:
        """The weight of the projection, without features if there is none."""
        return self.vectors.new_zeros(0, 0) if self.weight is None else self.weight

    def cycled(self, length: int) -> Readout:
        """Return the prefix with its slots cut or repeated to `length`; slot i is slot i mod P."""
        return replace(self, slots=self.slots[:, :, :, torch.arange(length) % max(1, self.length)])

    def to(self, device: torch.device, dtype: torch.dtype) -> Readout:
        """Return the prefix on another device; only the slots change their precision."""
        return replace(
            self,
            vectors=self.vectors.to(device),
            slots=self.slots.to(device, dtype),
            weight=None if self.weight is None else self.weight.to(device),
            bias=None if self.bias is None else self.bias.to(device),
        )

    def block(self, states: Tensor) -> Tensor:
        """Return the task's block of features [B, F] from the last states [B, M, E] of its pass.

        That is the mean of the read-outs, or all of them side by side; normalised if the prefix
        says so; and projected if there is a projection.
        """
        states = states.float()
        joined = self.weight is not None and self.weight.shape[1] != states.shape[2]
        summary = states.flatten(1) if joined else states.mean(dim=1)
        if self.normalised:
            summary = functional.layer_norm(summary, summary.shape[-1:])
        if self.weight is None:
            return summary
        return functional.linear(summary, self.weight.float(), self.bias)


def encode_text(
    model: nn.Module, inputs: Mapping[str, Tensor], *, all_layers: bool = False
) -> tuple[TextStates, Sequence[Tensor]]:
    """Run the plain encoder over texts.

    Args:
        model: encoder loaded with our attention.
        inputs: its keyword arguments, [B, T] each.
        all_layers: return the hidden states of all layers, not only of the last.
    Returns:
        What read-outs attend to, and the hidden states [B, T, E], embeddings first.
    """
    states = TextStates(mask=inputs["attention_mask"].bool())
    output = model(
        **inputs, text_states=states, attention_calls=[], output_hidden_states=all_layers
    )
    return states, output.hidden_states if all_layers else (output.last_hidden_state,)


def token_slot(model: nn.Module, inputs: Mapping[str, Tensor], token: int) -> Tensor:
    """Return keys and values of one token of one text [1, T] as a slot, [L, 2, H, 1, D]."""
    device = next(model.parameters()).device
    with torch.no_grad():
        text, _ = encode_text(model, {name: one.to(device) for name, one in inputs.items()})
    both = torch.stack([torch.stack(text.keys), torch.stack(text.values)], dim=1)
    return both[:, :, 0, :, token : token + 1].cpu()


def readout_positions(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    """Return the position of each text's read-outs, [B]."""
    last = inputs["attention_mask"].flip(1).argmax(dim=1, keepdim=True)
    tokens = inputs["attention_mask"].shape[1]
    positions = text_positions(model, inputs).gather(1, tokens - 1 - last)[:, 0] + 1
    table = position_table(model)
    return positions if table is None else positions.clamp(max=table.weight.shape[0] - 1)


def read_out(
    model: nn.Module, text: TextStates, positions: Tensor, readouts: Sequence[Readout]
) -> list[Tensor]:
    """Run the read-outs of K tasks over texts, and return each task's block of features [B, F].

    Args:
        model: encoder loaded with our attention.
        text: what `encode_text` recorded, of B texts.
        positions: [B] from `readout_positions`.
        readouts: one or more read-out prefixes with the same number M of read-outs.
    """
    return ReadoutPass(model, [readouts])(text, positions)


class ReadoutPass:
    """The read-outs of several groups of tasks, ready to read many batches of texts.

    Tasks of a group share their matrix products.

    Args:
        model: encoder loaded with our attention; that of `each_alone` where there are groups.
        groups: groups of equally many tasks, all with the same number M of read-outs.
    """

    def __init__(self, model: nn.Module, groups: Sequence[Sequence[Readout]]) -> None:
        self.model, self.groups = model, groups
        self.slots = [pad_slots([readout.slots for readout in group]) for group in groups]
        self.vectors = [
            torch.stack([readout.vectors for readout in group]).to(dtype_of(model))
            for group in groups
        ]  # [K, M, V] each

    def __call__(self, text: TextStates, positions: Tensor) -> list[Tensor]:
        """Return the block of features [B, F] of each task, group by group.

        Args:
            text: what `encode_text` recorded, of B texts.
            positions: [B] from `readout_positions`.
        """
        rows, (tasks, count, _) = positions.shape[0], self.vectors[0].shape
        behind = positions.repeat_interleave(tasks).repeat(len(self.groups))
        output = self.model(
            inputs_embeds=torch.cat([vectors.repeat(rows, 1, 1) for vectors in self.vectors]),
            position_ids=behind[:, None].expand(-1, count),
            readout_slots=[
                ReadoutSlots(text=text, keys=keys, values=values, bias=bias)
                for keys, values, bias in self.slots
            ],
            attention_calls=[],
        )
        states = output.last_hidden_state.view(len(self.groups), rows, tasks, count, -1)
        return [
            readout.block(of_group[:, index])
            for group, of_group in zip(self.groups, states, strict=True)
            for index, readout in enumerate(group)
        ]


def dtype_of(model: nn.Module) -> torch.dtype:
    """Return the type of a model's weights."""
    return next(model.parameters()).dtype


class TrainableReadout(nn.Module):
    """The parameters of a read-out prefix in training; `forward` returns it, with gradients."""

    def __init__(self, start: Readout) -> None:
        """Start from copies of the tensors in `start`."""
        super().__init__()
        self.vectors = nn.Parameter(start.vectors.detach().clone().float())
        self.slots = nn.Parameter(start.slots.detach().clone().float())
        self.normalised = start.normalised
        self.weight, self.bias = (
            None if tensor is None else nn.Parameter(tensor.detach().clone().float())
            for tensor in (start.weight, start.bias)
        )

    def forward(self, drop: Callable[[Tensor], Tensor] | None = None) -> Readout:
        """Return the prefix, its slots passed through `drop` if one is given."""
        slots = self.slots if drop is None else drop(self.slots)
        return Readout(
            vectors=self.vectors,
            slots=slots,
            weight=self.weight,
            bias=self.bias,
            normalised=self.normalised,
        )

    def snapshot(self) -> Readout:
        """Return a copy without gradients, fp32, on the CPU."""
        copies = {
            name: tensor.detach().clone().cpu().contiguous()
            for name, tensor in self.named_parameters()
        }
        return Readout(**copies, normalised=self.normalised)
