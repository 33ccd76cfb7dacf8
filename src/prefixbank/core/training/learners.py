"""What is trained beside a frozen encoder: a prefix of any kind, with a head for each task."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from prefixbank.core.attention.readout import TextStates
from prefixbank.core.embed import encode
from prefixbank.core.pairs import side_by_side
from prefixbank.core.prefix import tensors_of, trainable
from prefixbank.core.readout import (
    encode_text,
    read_out,
    readout_positions,
)
from prefixbank.core.shapes import Batch, EncoderShape
from prefixbank.core.training.loop import Part
from prefixbank.core.training.pooling import TrainablePooling, pooling_part
from prefixbank.core.training.settings import FitSettings
from prefixbank.core.training.task_heads import heads_snapshot, new_heads

EncodeText = Callable[[Mapping[str, Tensor]], TextStates]
"""Returns what read-outs attend to, from the inputs [B, T] of a batch of texts."""


class PrefixLearner:
    """A deep prefix or a soft prompt, and its heads."""

    rate_hint: str = "optim.head_lr or prefix.init_scale"

    def __init__(self, model: nn.Module, shape: EncoderShape, settings: FitSettings) -> None:
        self.model, self.settings = model, settings
        self.device = next(model.parameters()).device
        self.prefix = trainable(model, shape, settings.start, settings.seed).to(self.device)
        self.pooling = TrainablePooling(settings.pooling, shape, settings.seed).to(self.device)
        self.heads = new_heads(settings, self.features(shape), self.device)
        self.parts: Mapping[str, Part] = {
            "prefix": Part(module=self.prefix, rate=settings.lr, rates=self.rates()),
            "head": Part(module=self.heads, rate=settings.head_lr),
            **pooling_part(self.pooling, settings.head_lr),
        }

    def features(self, shape: EncoderShape) -> int:
        """Return F, the size of a text's vector."""
        return self.settings.pooling.output_size(shape.hidden_size)

    def rates(self) -> Mapping[str, float]:
        """Return the rates of those parameters that have one of their own."""
        return {}

    def outputs(self, batch: Batch, draw: int | None) -> Tensor:
        """Return the outputs [B, C] of the head of the batch's task."""
        vectors = self.vectors(batch, draw)
        if self.settings.tasks[batch.task].separate:
            vectors = side_by_side(vectors)
        outputs: Tensor = self.heads[batch.task](vectors)
        return outputs

    def vectors(self, batch: Batch, draw: int | None) -> Tensor:
        """Return the vectors of the batch's texts, [B, F], or [2B, F] of pairs read apart."""
        slots = self.prefix(self.dropout(draw)).slots()
        return encode(self.model, self.inputs(batch), slots, self.pooling())

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return the inputs of a batch on the encoder's device."""
        return {name: tensor.to(self.device) for name, tensor in batch.inputs.items()}

    def dropout(self, draw: int | None) -> Callable[[Tensor], Tensor] | None:
        """Return inverted dropout whose mask depends on `draw` alone; None is no dropout."""
        share = self.settings.start.dropout
        if draw is None or share == 0:
            return None
        generator = torch.Generator().manual_seed(draw)

        def drop(tensor: Tensor) -> Tensor:
            keep = (torch.rand(tensor.shape, generator=generator) >= share).to(
                tensor.device, tensor.dtype
            )
            return tensor * keep / (1.0 - share)

        return drop

    def snapshot(self) -> dict[str, Tensor]:
        """Return the tensors of the artifact: the prefix, and the heads in the labels' units."""
        return {
            **tensors_of(self.prefix.snapshot()),
            **self.pooling.snapshot(),
            **heads_snapshot(self.heads, self.settings.tasks),
        }


class ReadoutLearner(PrefixLearner):
    """Read-outs and their heads. No gradient passes through the text."""

    rate_hint = "optim.vector_lr, optim.head_lr or prefix.init_scale"

    def __init__(
        self,
        model: nn.Module,
        shape: EncoderShape,
        settings: FitSettings,
        encode_text: EncodeText | None = None,
    ) -> None:
        super().__init__(model, shape, settings)
        self.encode_text = encode_text or self.encode_again

    def features(self, shape: EncoderShape) -> int:
        """Return the size of the block."""
        return self.settings.start.size or shape.hidden_size

    def rates(self) -> Mapping[str, float]:
        """Return the rate of the vectors."""
        return {"vectors": self.settings.vector_lr} if self.settings.vector_lr else {}

    def encode_again(self, inputs: Mapping[str, Tensor]) -> TextStates:
        """Encode the texts of a batch."""
        return encode_text(self.model, inputs)[0]

    def vectors(self, batch: Batch, draw: int | None) -> Tensor:
        """Return the blocks of the batch's texts, [B, F], or [2B, F] of pairs read apart."""
        inputs = self.inputs(batch)
        with torch.no_grad():
            states = self.encode_text(inputs)
        positions = readout_positions(self.model, inputs)
        (block,) = read_out(self.model, states, positions, [self.prefix(self.dropout(draw))])
        return block
