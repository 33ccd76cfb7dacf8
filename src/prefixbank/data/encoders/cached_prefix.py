"""Prefixes as cached keys and values, which is how other libraries put them in front of a text.

A model that is given a cache counts the text's positions from P, the length of the prefix; ours
count from 0 (see `core/attention/prefix_attention.py`). Where positions are vectors added to
tokens, that is another text to the model. Where queries and keys are rotated by their position,
only differences of positions count: prefix keys that are rotated by P positions are as far from
the shifted text as ours are from the text. Whether that holds is checked, not assumed.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from transformers import AutoModel, DynamicCache

from prefixbank.core.attention.prefix_attention import Slots
from prefixbank.core.prompt import position_table
from prefixbank.data.encoders.encoder import CHECK_TEXTS, Encoder, check_inputs
from prefixbank.data.encoders.layers import TOLERANCE
from prefixbank.data.encoders.prompts import REFUSALS
from prefixbank.errors import EncoderError


def cached_prefix(encoder: Encoder, slots: Slots) -> Tensor:
    """Return keys and values [L, 2, H, P, D] that, as a cache, give what slots without bias give.

    Args:
        encoder: on the CPU.
        slots: of one pass.

    Raises:
        EncoderError: there are none, for the reason that the message names.
    """
    model = AutoModel.from_pretrained(
        encoder.files.folder,
        attn_implementation="sdpa",
        dtype=torch.float32,
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
    ).eval()
    inputs = check_inputs(encoder.tokenizer, CHECK_TEXTS)
    real = inputs["attention_mask"].bool()
    with torch.no_grad():
        ours = encoder.model(**inputs, attention_calls=[], prefix_slots=slots).last_hidden_state[
            real
        ]
        for keys in _candidates(model, slots.keys):
            prefix = torch.stack([keys, slots.values], dim=1)
            try:
                theirs = _states_behind(model, prefix, inputs)[real]
            except (*REFUSALS, ValueError) as error:
                raise _refusal(encoder, "it takes no cached keys and values") from error
            if float((theirs - ours).abs().max()) <= TOLERANCE * max(1.0, float(ours.abs().max())):
                return prefix
    if position_table(encoder.model) is not None:
        reason = (
            "it adds a vector for each position, and counts those of the text from the prefix on"
        )
    else:
        reason = "its positions shift by the length of the prefix"
    raise _refusal(encoder, reason)


def _candidates(model: nn.Module, keys: Tensor) -> Iterator[Tensor]:
    """Yield keys [L, H, P, D] as they are, and where positions rotate keys, rotated by P."""
    yield keys
    rotary = getattr(model, "rotary_emb", None)
    if rotary is not None:
        length = torch.full((1, 1), keys.shape[2])
        cos, sin = rotary(keys, position_ids=length)
        if cos.shape[-1] == keys.shape[-1]:
            first, second = keys.chunk(2, dim=-1)
            yield keys * cos + torch.cat([-second, first], dim=-1) * sin


def _states_behind(model: nn.Module, prefix: Tensor, inputs: dict[str, Tensor]) -> Tensor:
    """Return the last states [B, T, E] of texts behind a cache, without token types."""
    rows, length = len(inputs["input_ids"]), prefix.shape[3]
    batch = prefix[:, :, None].expand(-1, -1, rows, -1, -1, -1)
    cache = DynamicCache([(keys, values) for keys, values in batch])
    mask = inputs["attention_mask"]
    states: Tensor = model(
        input_ids=inputs["input_ids"],
        attention_mask=torch.cat([mask.new_ones(rows, length), mask], dim=1),
        past_key_values=cache,
    ).last_hidden_state
    return states


def _refusal(encoder: Encoder, reason: str) -> EncoderError:
    return EncoderError(
        f"a cached prefix does not do in {type(encoder.model).__name__} what ours does: {reason}",
        expected="an encoder with rotary positions that takes a cache, such as Llama and EuroBERT",
        fix="format=bundle    or format=onnx",
    )
