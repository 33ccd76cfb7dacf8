"""Keys and values of texts, kept across the epochs of a training.

Nothing that is trained stands before a text's states, so they are the same in every epoch. They are
computed once, in batches that depend on the texts alone, so that a training that is resumed
computes the same bytes again. Texts with the same tokens are kept once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prefixbank.core.attention.readout import TextStates
from prefixbank.core.readout import encode_text
from prefixbank.core.shapes import Batch, EncoderShape

Allocate = Callable[[int, torch.dtype], Tensor]
"""Returns an uninitialised vector of so many numbers of a type, in memory or in a file."""


def in_memory(numbers: int, dtype: torch.dtype) -> Tensor:
    """Return an uninitialised vector in memory."""
    return torch.empty(numbers, dtype=dtype)


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where the states of one text are: the first of their numbers, and the text's tokens."""

    start: int
    tokens: int


class TextCache:
    """Keys and values of texts, by their tokens.

    Args:
        batches: every text whose states are needed.
        shape: sizes of the encoder.
        dtype: type in which numbers are kept.
        allocate: returns where they are kept.
    """

    def __init__(
        self,
        batches: Sequence[Batch],
        shape: EncoderShape,
        dtype: torch.dtype,
        allocate: Allocate = in_memory,
    ) -> None:
        self._shape, self._batches = shape, batches
        self._places: dict[bytes, _Place] = {}
        end = 0
        for batch in batches:
            for name, tokens in _names(batch.inputs):
                if name not in self._places:
                    self._places[name] = _Place(start=end, tokens=tokens)
                    end += tokens * numbers_per_token(shape)
        self._numbers = allocate(end, dtype)

    def fill(self, model: nn.Module, on_rows: Callable[[int], None] = lambda rows: None) -> None:
        """Encode the texts.

        Args:
            model: encoder loaded with our attention.
            on_rows: called with the number of texts of each finished batch.
        """
        device = next(model.parameters()).device
        for batch in self._batches:
            inputs = {name: tensor.to(device) for name, tensor in batch.inputs.items()}
            states, _ = encode_text(model, inputs)
            both = torch.stack(
                [torch.stack(states.keys), torch.stack(states.values)], dim=1
            )  # [L, 2, B, H, T, D]
            for row, (name, _) in enumerate(_names(batch.inputs)):
                self._of(name).copy_(both[:, :, row][..., states.mask[row], :])  # to the CPU
            on_rows(len(batch.rows))
        self._batches = ()

    def states(self, inputs: Mapping[str, Tensor], device: torch.device) -> TextStates:
        """Return the states of a batch of known texts [B, T], as fp32, zeros where padding is."""
        inputs = {name: tensor.cpu() for name, tensor in inputs.items()}
        mask = inputs["attention_mask"].bool()
        rows, width = mask.shape
        layers, _, heads, _, size = self._shape.prefix_shape(0)
        both = torch.empty(layers, 2, rows, heads, width, size)
        for row, (name, _) in enumerate(_names(inputs)):
            _put(self._of(name), both[:, :, row], mask[row])
        keys, values = (list(part.unbind(0)) for part in both.to(device).unbind(1))
        return TextStates(mask=mask.to(device), keys=keys, values=values)

    def _of(self, name: bytes) -> Tensor:
        """Return the states of one text, [L, 2, H, t, D]."""
        place = self._places[name]
        shape = self._shape.prefix_shape(place.tokens)
        return self._numbers[place.start :][: torch.Size(shape).numel()].view(shape)


def _put(states: Tensor, place: Tensor, mask: Tensor) -> None:
    """Copy a text's states [.., t, D] to where `mask` [T] is True in `place` [.., T, D].

    Zeros are put elsewhere. Tokens side by side, as all but strange tokenizers have them, are one
    copy.
    """
    first, tokens = int(mask.int().argmax()), states.shape[-2]
    last = first + tokens
    if bool(mask[first:last].all()):
        place[..., first:last, :] = states.to(place.dtype)
        place[..., :first, :], place[..., last:, :] = 0, 0
    else:
        place.zero_()[..., mask, :] = states.to(place.dtype)


def numbers_per_token(shape: EncoderShape) -> int:
    """Return how many numbers the states of one token are."""
    return torch.Size(shape.prefix_shape(1)).numel()


def _names(inputs: Mapping[str, Tensor]) -> Iterable[tuple[bytes, int]]:
    """Yield, for each text of a batch, bytes that only it has, and the number of its tokens."""
    mask = inputs["attention_mask"].bool()
    every = torch.stack([inputs[name] for name in sorted(inputs)], dim=1)
    for row, of_row in zip(every, mask, strict=True):
        name = row[:, of_row].contiguous().numpy().tobytes()
        yield name, int(of_row.sum())
