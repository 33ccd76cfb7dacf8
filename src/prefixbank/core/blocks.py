"""Banks of read-outs: one block of features for each source task, beside the plain vector.

Blocks come from one pass over the text. Each equals what its source gives alone, whichever others
are in the bank: see `core/readout.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prefixbank.core.pooling import Pooling, pool
from prefixbank.core.readout import Readout, encode_text, read_out, readout_positions


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

        On a CPU, the read-outs of each source run alone, so that its matrix products have the same
        shapes beside any others: a block is then the same to the last bit. An accelerator runs
        all sources with the same number of read-outs together.

        Args:
            model: encoder loaded with our attention.
            inputs: its keyword arguments, [B, T] each.
        """
        all_layers = self.plain is not None and self.plain.needs_all_layers
        text, states = encode_text(model, inputs, all_layers=all_layers)
        blocks: dict[int, Tensor] = {}
        for group in self._groups(apart=text.mask.device.type == "cpu"):
            positions = readout_positions(model, inputs)
            made = read_out(model, text, positions, [self.readouts[index] for index in group])
            blocks |= dict(zip(group, made, strict=True))
        plain = [] if self.plain is None else [pool(states, inputs["attention_mask"], self.plain)]
        return [*plain, *(blocks[index] for index in range(len(self.readouts)))]

    def _groups(self, *, apart: bool) -> list[list[int]]:
        """Return which read-outs run together, by their indices."""
        if apart:
            return [[index] for index in range(len(self.readouts))]
        groups: dict[int, list[int]] = {}
        for index, readout in enumerate(self.readouts):
            groups.setdefault(readout.count, []).append(index)
        return list(groups.values())
