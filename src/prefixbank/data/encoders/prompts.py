"""Soft prompts in an encoder: a check that they work, and words to start them from."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from prefixbank.core.prompt import PromptVectors, prompted, word_table
from prefixbank.data.encoders.encoder import CHECK_TEXTS, FAMILIES, Encoder, check_inputs
from prefixbank.data.encoders.layers import TOLERANCE
from prefixbank.errors import EncoderError

MOST_FREQUENT = 5000
"""Start words are sampled from this many of the lowest token ids, since tokenizers number tokens by
frequency. Source: Lester et al. 2021 (2104.08691), 3.2."""
PLACEHOLDER = re.compile(r"\W*unused_?\d+\W*", flags=re.IGNORECASE)
REFUSALS = (
    TypeError,
    ValueError,
    RuntimeError,
    NotImplementedError,
    AttributeError,
    KeyError,
    IndexError,
)
"""What models without `inputs_embeds` or `position_ids` raise."""


def check_prompt(encoder: Encoder) -> None:
    """Check that a soft prompt works in the encoder and leaves the positions of texts as they are.

    Raises:
        EncoderError: the model does not take `inputs_embeds` or `position_ids`, or a hidden prompt
            or padding changes its output.
    """
    label = f"{type(encoder.model).__name__} ({encoder.files.label})"
    expected = (
        f"an encoder that takes inputs_embeds and position_ids (families known to work: {FAMILIES})"
    )
    fix = f"prefix.kind=deep with encoder={encoder.files.origin.name}, or another encoder"
    try:
        shift, change, drift = _differences(encoder)
    except REFUSALS as error:
        reason = (str(error).strip() or type(error).__name__).split("\n")[0]
        raise EncoderError(
            f"a soft prompt does not work in {label}: {reason}", expected=expected, fix=fix
        ) from error
    if shift > TOLERANCE or change <= TOLERANCE or drift > TOLERANCE:
        raise EncoderError(
            f"a soft prompt does not work in {label}: a hidden one changes the output by "
            f"{shift:.1e}, a visible one by {change:.1e}, padding by {drift:.1e}",
            expected=expected,
            fix=fix,
        )


def _differences(encoder: Encoder) -> tuple[float, float, float]:
    """Return the changes of the output by a hidden prompt, a visible prompt, and padding beside it.

    They are shares of the largest number in the output.
    """
    device = next(encoder.model.parameters()).device
    alone, padded = (
        {name: tensor.to(device) for name, tensor in check_inputs(encoder.tokenizer, texts).items()}
        for texts in (CHECK_TEXTS[:1], CHECK_TEXTS)
    )
    table = word_table(encoder.model)
    vectors = (
        torch.randn(4, table.shape[1], generator=torch.Generator().manual_seed(0)).to(device)
        * table.std()
    )
    visible = PromptVectors(vectors=vectors)
    masked = PromptVectors(vectors=vectors, log_weights=torch.full((4,), -torch.inf, device=device))

    def states(inputs: dict[str, Tensor], prompt: PromptVectors) -> Tensor:
        hidden: Tensor = encoder.model(
            **prompted(encoder.model, inputs, prompt), attention_calls=[]
        ).last_hidden_state
        return hidden[0, len(vectors) :]

    with torch.no_grad():
        plain = encoder.model(**alone, attention_calls=[]).last_hidden_state[0]
        with_masked, with_visible = states(alone, masked), states(alone, visible)
        with_padding = states(padded, visible)[padded["attention_mask"][0].bool()]
    scale = max(1.0, float(with_visible.abs().max()))
    shift, change, drift = (
        float((one - other).abs().max()) / scale
        for one, other in (
            (plain, with_masked),
            (plain, with_visible),
            (with_visible, with_padding),
        )
    )
    return shift, change, drift


def prompt_words(
    encoder: Encoder, labels: Sequence[str], length: int, seed: int
) -> tuple[int, ...]:
    """Return token ids whose input embeddings a soft prompt starts from.

    Args:
        encoder: the encoder, with its tokenizer.
        labels: names of classes, whose tokens come first, up to `length`.
        length: P.
        seed: of the sample of frequent tokens that fills the rest.
    """
    tokenizer = encoder.tokenizer
    special = {*tokenizer.all_special_ids, tokenizer.unk_token_id}
    named = [
        number
        for label in labels
        for number in tokenizer(label, add_special_tokens=False)["input_ids"]
        if number not in special
    ]
    table = word_table(encoder.model)
    lowest = range(min(len(tokenizer), table.shape[0]))
    words = [
        number
        for number in lowest
        if number not in special
        and not PLACEHOLDER.fullmatch(tokenizer.convert_ids_to_tokens(number) or "")
    ]
    left = max(0, length - len(named))
    sample = np.random.default_rng(seed).choice(
        words[:MOST_FREQUENT], size=left, replace=left > min(len(words), MOST_FREQUENT)
    )
    return (*named[:length], *(int(number) for number in sample))
