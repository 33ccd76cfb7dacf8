"""The states of texts that read-outs are trained on: encoded again in every epoch, or kept."""

from __future__ import annotations

from pathlib import Path

import torch

from prefixbank.config.schema import PrefixRecipe
from prefixbank.core.readout import encode_text
from prefixbank.core.training.learners import EncodeText
from prefixbank.core.training.precision import MixedPrecision
from prefixbank.core.training.text_cache import TextCache, in_memory
from prefixbank.data.encoders.encoder import Encoder
from prefixbank.runtime.device import check_text_states
from prefixbank.runtime.scratch import in_file
from prefixbank.runtime.session import Session
from prefixbank.steps.train_prefix.batches import TokenizedTasks

TEXT_STATES = "text_states"
"""File of the kept states of texts in a training's work folder."""


def text_encoder(
    session: Session,
    name: str,
    encoder: Encoder,
    rows: TokenizedTasks,
    recipe: PrefixRecipe,
    work: Path,
) -> EncodeText | None:
    """Return how read-outs get the states of their texts; None for other kinds of prefix.

    Texts get no gradients, so the model for inference encodes them.

    Raises:
        DeviceError: the states to keep need more than `run.text_states_gb`.
    """
    if recipe.prefix.kind != "readout":
        return None
    model = session.inference_model(encoder.files, recipe.optim.precision)
    dtype = {"recomputed": None, "cached_fp32": torch.float32, "cached_fp16": torch.float16}[
        recipe.optim.text_states
    ]
    if dtype is None:
        return lambda inputs: encode_text(model, inputs)[0]
    batches = rows.batches_once()
    check_text_states(encoder.shape, rows.tokens, dtype.itemsize, session.run)
    device = next(model.parameters()).device
    allocate = in_file(work / TEXT_STATES) if session.run.text_states_in == "disk" else in_memory
    cache = TextCache(batches, encoder.shape, dtype, allocate)
    total = sum(len(batch.rows) for batch in batches)
    with MixedPrecision(recipe.optim.precision, device).autocast(), torch.no_grad():
        cache.fill(
            model,
            session.row_counter("train-prefix", name, total, unit="texts", text="encoding"),
        )
    return lambda inputs: cache.states(inputs, device)
