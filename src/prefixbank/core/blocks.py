"""Banks of read-outs: one block of features for each source task, beside the plain vector.

Blocks come from one pass over the text. Each equals what its source gives alone, whichever others
are in the bank: see `core/readout.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prefixbank.core.alone import each_alone
from prefixbank.core.pooling import Pooling, pool
from prefixbank.core.readout import Readout, ReadoutPass, encode_text, readout_positions


@dataclass(frozen=True, kw_only=True)
class BlockBank:
    """The read-outs of K source tasks, and the plain vector.

    Args:
        readouts: one or more, of one encoder; none only beside a plain vector.
        plain: how hidden states become the plain vector; None: there is none.
    """

    readouts: tuple[Readout, ...]
    plain: Pooling | None

    def to(self, device: torch.device, dtype: torch.dtype) -> BlockBank:
        """Return the bank on another device."""
        return BlockBank(
            readouts=tuple(readout.to(device, dtype) for readout in self.readouts),
            plain=self.plain,
        )

    def encode(self, model: nn.Module, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """Return the plain vector, if there is one, and the block of each source, [B, F] each.

        Args:
            model: encoder loaded with our attention.
            inputs: its keyword arguments, [B, T] each.
        """
        return self.on(model)(inputs)

    def on(self, model: nn.Module) -> BlockEncoder:
        """Make the bank ready to encode many batches with a model."""
        apart = next(model.parameters()).device.type == "cpu"
        return BlockEncoder(model, self, apart=apart)


class BlockEncoder:
    """A bank of read-outs on a model; what does not depend on the texts is done once.

    On a CPU, matrix products of the read-outs of each source are apart, so that they have the same
    shapes beside any others: a block is then the same to the last bit. An accelerator multiplies
    those of all sources with the same number of read-outs at once.

    Args:
        model: encoder loaded with our attention.
        bank: the read-outs, and the plain vector.
        apart: whether products are apart.
    """

    def __init__(self, model: nn.Module, bank: BlockBank, *, apart: bool) -> None:
        self.model, self.bank = model, bank
        alike: dict[int, list[int]] = {}
        for index, readout in enumerate(bank.readouts):
            alike.setdefault(readout.count, []).append(index)
        self.order = [index for indices in alike.values() for index in indices]
        self.passes = [
            one
            for indices in alike.values()
            for one in _passes(model, [bank.readouts[index] for index in indices], apart=apart)
        ]

    def __call__(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """Return what `BlockBank.encode` returns."""
        plain = self.bank.plain
        all_layers = plain is not None and plain.needs_all_layers
        text, states = encode_text(self.model, inputs, all_layers=all_layers)
        positions = readout_positions(self.model, inputs)
        made = [block for one in self.passes for block in one(text, positions)]
        blocks = dict(zip(self.order, made, strict=True))
        vectors = [] if plain is None else [pool(states, inputs["attention_mask"], plain)]
        return [*vectors, *(blocks[index] for index in range(len(made)))]


def _passes(model: nn.Module, readouts: Sequence[Readout], *, apart: bool) -> list[ReadoutPass]:
    """Return the passes that read-outs of the same number M take."""
    if not apart or len(readouts) == 1:
        return [ReadoutPass(model, [readouts])]
    alone = [[readout] for readout in readouts]
    split = each_alone(model, len(readouts))
    if split is None:
        return [ReadoutPass(model, [group]) for group in alone]
    return [ReadoutPass(split, alone)]
