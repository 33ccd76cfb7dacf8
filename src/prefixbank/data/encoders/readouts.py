"""Read-outs in an encoder: a check that they work."""

from __future__ import annotations

import torch
from torch import Tensor

from prefixbank.core.prompt import word_table
from prefixbank.core.readout import Readout, encode_text, read_out, readout_positions
from prefixbank.data.encoders.encoder import CHECK_TEXTS, FAMILIES, Encoder, check_inputs
from prefixbank.data.encoders.layers import TOLERANCE
from prefixbank.data.encoders.prompts import REFUSALS
from prefixbank.errors import EncoderError


def check_readouts(encoder: Encoder) -> None:
    """Check that read-outs read texts, each its own, in an encoder.

    Raises:
        EncoderError: the model does not take `inputs_embeds` or `position_ids`, read-outs do not
            see the text or their slots, or padding or their order changes what they read.
    """
    label = f"{type(encoder.model).__name__} ({encoder.files.label})"
    expected = (
        f"an encoder that takes inputs_embeds and position_ids (families known to work: {FAMILIES})"
    )
    fix = f"prefix.kind=deep with encoder={encoder.files.origin.name}, or another encoder"
    try:
        by_text, by_slots, drift, by_order = _differences(encoder)
    except REFUSALS as error:
        reason = (str(error).strip() or type(error).__name__).split("\n")[0]
        raise EncoderError(
            f"read-outs do not work in {label}: {reason}", expected=expected, fix=fix
        ) from error
    seen, kept = (by_text, by_slots), (drift, by_order)
    if not all(one > TOLERANCE for one in seen) or not all(one <= TOLERANCE for one in kept):
        raise EncoderError(
            f"read-outs do not work in {label}: another text changes what they read by "
            f"{by_text:.1e}, their slots by {by_slots:.1e}, padding by {drift:.1e}, their order "
            f"by {by_order:.1e}",
            expected=expected,
            fix=fix,
        )


def _differences(encoder: Encoder) -> tuple[float, float, float, float]:
    """Return how much a block changes with another text, without slots, with padding, in turn.

    The last is the order of the read-outs, which all have one position.
    """
    device = next(encoder.model.parameters()).device
    generator = torch.Generator().manual_seed(0)
    table = word_table(encoder.model)
    vectors = torch.randn(2, table.shape[1], generator=generator) * table.std().cpu()
    slots = torch.randn(encoder.shape.prefix_shape(3), generator=generator)
    with_slots = Readout(vectors=vectors, slots=slots).to(device, table.dtype)
    without = Readout(vectors=vectors, slots=slots[:, :, :, :0]).to(device, table.dtype)
    turned = Readout(vectors=vectors.flip(0), slots=slots).to(device, table.dtype)

    def blocks(texts: tuple[str, ...], readout: Readout) -> Tensor:
        inputs = check_inputs(encoder.tokenizer, texts)
        inputs = {name: tensor.to(device) for name, tensor in inputs.items()}
        states, _ = encode_text(encoder.model, inputs)
        positions = readout_positions(encoder.model, inputs)
        return read_out(encoder.model, states, positions, [readout])[0]

    with torch.no_grad():
        alone, both = blocks(CHECK_TEXTS[:1], with_slots), blocks(CHECK_TEXTS, with_slots)
        bare, swapped = (blocks(CHECK_TEXTS[:1], one) for one in (without, turned))
    by_text, by_slots, drift, by_order = (
        float((first - second).abs().max())
        for first, second in (
            (both[0], both[1]),
            (alone[0], bare[0]),
            (alone[0], both[0]),
            (alone[0], swapped[0]),
        )
    )
    return by_text, by_slots, drift, by_order
