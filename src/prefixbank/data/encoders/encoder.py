"""Load a frozen encoder, and check that prefixes work in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from prefixbank.core.attention.prefix_attention import (
    ATTENTION,
    AttentionCall,
    Slots,
    trace_attention,
)
from prefixbank.core.prompt import word_table
from prefixbank.core.shapes import EncoderShape
from prefixbank.data.encoders.batches import Tokens, tokenize
from prefixbank.data.encoders.files import EncoderFiles
from prefixbank.data.encoders.layers import TOLERANCE, keep_layers
from prefixbank.errors import EncoderError, UsageError

FAMILIES = (
    "BERT, RoBERTa, XLM-R, CamemBERT, ELECTRA, DistilBERT, ALBERT, ModernBERT, EuroBERT, Llama"
)
CHECK_TEXTS = ("a text", "a somewhat longer text, so that the first one is padded")
UNREADABLE = (
    ValueError,
    OSError,
    ImportError,
    KeyError,
    TypeError,
    RuntimeError,
    SafetensorError,
    StrictDataclassError,
)
"""What transformers raises for files that are damaged or do not fit together."""


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """A frozen model in evaluation mode, with its tokenizer.

    Args:
        model: loaded with prefix attention, on its device; no parameter requires gradients.
        tokenizer: the model's tokenizer.
        shape: sizes that prefixes must have.
        max_tokens: longest input in tokens.
        files: the files that it was loaded from.
    """

    model: nn.Module
    tokenizer: Any
    shape: EncoderShape
    max_tokens: int
    files: EncoderFiles

    def check_length(self, max_length_tokens: int) -> None:
        """Raise UsageError if a limit exceeds the positions of the encoder."""
        if max_length_tokens > self.max_tokens:
            raise UsageError(
                f"max_length_tokens={max_length_tokens} with encoder {self.files.label}",
                expected=f"at most {self.max_tokens}, the positions it was trained with",
                fix=f"max_length_tokens={self.max_tokens}",
            )

    def tokenize(
        self, texts: Sequence[str], pairs: Sequence[str] | None, max_length_tokens: int
    ) -> Tokens:
        """Turn texts, or pairs for joint reading, into token ids, as `batches.tokenize` does it.

        The pairs are joined as the encoder's settings say.
        """
        return tokenize(
            self.tokenizer,
            texts,
            pairs,
            max_length_tokens,
            separator=self.files.origin.pair_separator,
        )

    def write_tokenizer(self, folder: Path, max_length_tokens: int) -> None:
        """Write the tokenizer so that it truncates and pads by itself, as texts are embedded here.

        It marks pairs by special tokens, whatever the encoder's settings say.
        """
        tokenizer = deepcopy(self.tokenizer)
        tokenizer.model_max_length = max_length_tokens
        tokenizer.padding_side = "right"
        tokenizer.backend_tokenizer.enable_truncation(
            max_length_tokens, direction=tokenizer.truncation_side
        )
        tokenizer.backend_tokenizer.enable_padding(
            pad_id=tokenizer.pad_token_id, pad_token=tokenizer.pad_token
        )
        tokenizer.save_pretrained(folder)


def load_encoder(files: EncoderFiles, device: str) -> Encoder:
    """Load model and tokenizer from local files, without running a repository's code or pickles.

    Of the model, the layers are kept that the encoder's settings say.

    Raises:
        EncoderError: prefixes do not work in this model, its layers cannot be dropped, or its files
            are not complete.
        UsageError: it has fewer layers than are to be kept.
    """
    tokenizer = load_tokenizer(files)
    model, missing = _load_model(files)
    _check_tokens(model, tokenizer, files)
    calls = _trace(model, tokenizer, files)
    if layers := files.origin.layers:
        keep_layers(model, calls, layers, check_inputs(tokenizer, CHECK_TEXTS), files.label)
        calls = calls[:layers]
    _check_weights(model, missing, files)
    shape = _shape(model, tokenizer, calls, files)
    _check_prefix_and_padding(model, tokenizer, shape, files)
    return Encoder(
        model=model.to(device),
        tokenizer=tokenizer,
        shape=shape,
        max_tokens=_max_tokens(model, tokenizer, files),
        files=files,
    )


def load_tokenizer(files: EncoderFiles) -> Any:
    """Return the tokenizer of an encoder.

    Raises:
        EncoderError: it cannot be read, has no fast version, or no token that can pad.
    """
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            files.folder, trust_remote_code=False, local_files_only=True
        )
    except UNREADABLE as error:
        raise _unreadable(files, "tokenizer", error) from error
    if not tokenizer.is_fast:
        raise EncoderError(
            f"the tokenizer of {files.label} ({type(tokenizer).__name__}) has no fast version",
            expected="a tokenizer of the tokenizers library, which marks truncated texts",
            fix="encoder=minilm, or another encoder with a tokenizer.json",
        )
    if tokenizer.pad_token_id is None and tokenizer.eos_token is not None:
        tokenizer.pad_token = tokenizer.eos_token  # padding is masked, so any token will do
    if tokenizer.pad_token_id is None:
        raise EncoderError(
            f"the tokenizer of {files.label} has no padding token",
            expected="a tokenizer with a padding token",
            fix="set tokenizer.pad_token and save the tokenizer again",
        )
    if files.lowercase:
        _lowercase(tokenizer.backend_tokenizer)
    return tokenizer


def _lowercase(tokenizer: Any) -> None:
    """Let a tokenizer of the tokenizers library lowercase texts, unless it does already."""
    own = tokenizer.normalizer
    if own is not None and own.normalize_str("A") == own.normalize_str("a"):
        return
    described = json.loads(tokenizer.to_str())
    lower = {"type": "Lowercase"}
    described["normalizer"] = (
        lower
        if own is None
        else {"type": "Sequence", "normalizers": [lower, described["normalizer"]]}
    )
    tokenizer.normalizer = type(tokenizer).from_str(json.dumps(described)).normalizer


def _load_model(files: EncoderFiles) -> tuple[nn.Module, set[str]]:
    """Load the weights and freeze them; return the names of weights that the files lack, too."""
    try:
        config = AutoConfig.from_pretrained(
            files.folder, trust_remote_code=False, local_files_only=True
        )
        model, report = AutoModel.from_pretrained(
            files.folder,
            config=config,
            attn_implementation=ATTENTION,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
    except UNREADABLE as error:
        raise _unreadable(files, "model", error) from error
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    return model.eval().requires_grad_(False), set(report["missing_keys"])


def _check_tokens(model: nn.Module, tokenizer: Any, files: EncoderFiles) -> None:
    """Refuse a tokenizer with tokens that the model has no embedding for.

    Where the model has one token type, it takes it by itself, so the tokenizer gives none.
    """
    tokens, rows = max(tokenizer.get_vocab().values()) + 1, len(word_table(model))
    if tokens > rows:
        raise EncoderError(
            f"the tokenizer of {files.label} has {tokens} tokens, its model {rows} embeddings",
            expected="an embedding for each token",
            fix=(
                "save the tokenizer that belongs to the model, or "
                "model.resize_token_embeddings(len(tokenizer)) and save the model again"
            ),
        )
    if getattr(model.config, "type_vocab_size", None) == 1:
        tokenizer.model_input_names = [
            name for name in tokenizer.model_input_names if name != "token_type_ids"
        ]


def _check_weights(model: nn.Module, missing: set[str], files: EncoderFiles) -> None:
    """Refuse a model with weights that the files lack, or that are not finite numbers.

    What was dropped with its layer need not be there.
    """
    state = model.state_dict()
    broken = [name for name, tensor in state.items() if not tensor.isfinite().all()]
    for names, what in (
        (sorted(missing & state.keys()), "lacks"),
        (broken, "has NaN or infinity in"),
    ):
        if names:
            raise EncoderError(
                f"{files.label} {what} {len(names)} weights of {type(model).__name__}, such as "
                f"{names[0]}",
                expected="a checkpoint of the whole encoder, in finite numbers",
                fix="use the folder or hub id of the pre-trained model itself",
            )


def _unreadable(files: EncoderFiles, part: str, error: Exception) -> EncoderError:
    reason = str(error).strip().split("\n")[0]
    return EncoderError(
        f"cannot read the {part} of {files.label}: {reason}",
        expected=f"an encoder of one of {FAMILIES}",
        fix="encoder=minilm, or another encoder.path",
    )


def check_inputs(tokenizer: Any, texts: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """Return texts of a self-check as keyword arguments of the model, padded on the right."""
    encoded = tokenizer(list(texts), padding=True, padding_side="right", return_tensors="pt")
    return {name: encoded[name] for name in tokenizer.model_input_names}


def _trace(model: nn.Module, tokenizer: Any, files: EncoderFiles) -> list[AttentionCall]:
    """Return the attention calls of one pass, which all have one shape."""
    refusal = EncoderError(
        f"{type(model).__name__} ({files.label}) does not use transformers' attention interface",
        expected=(
            f"an encoder of one of {FAMILIES}; MPNet, DeBERTa, ConvBERT and the like have "
            "attention code of their own, Gemma 2 and others cap or add to their logits"
        ),
        fix="encoder=minilm, encoder=roberta_base, or encoder=folder encoder.path=FOLDER",
    )
    if getattr(model.config, "is_encoder_decoder", False):
        raise EncoderError(
            f"{type(model).__name__} ({files.label}) is an encoder with a decoder",
            expected=f"an encoder alone, or a causal model, of one of {FAMILIES}",
            fix="save its encoder: model.get_encoder().save_pretrained(FOLDER)    and name FOLDER",
        )
    try:
        calls = trace_attention(model, check_inputs(tokenizer, CHECK_TEXTS))
    except (TypeError, ValueError) as error:
        raise refusal from error
    if not calls or len({(call.heads, call.kv_heads, call.head_size) for call in calls}) > 1:
        raise refusal
    return calls


def _shape(
    model: nn.Module, tokenizer: Any, calls: list[AttentionCall], files: EncoderFiles
) -> EncoderShape:
    with torch.no_grad():
        hidden = model(
            **check_inputs(tokenizer, CHECK_TEXTS[:1]), attention_calls=[]
        ).last_hidden_state
    call = calls[0]
    return EncoderShape(
        layers=len(calls),
        heads=call.heads,
        kv_heads=call.kv_heads,
        head_size=call.head_size,
        hidden_size=hidden.shape[-1],
    )


def _check_prefix_and_padding(
    model: nn.Module, tokenizer: Any, shape: EncoderShape, files: EncoderFiles
) -> None:
    """Check that a random prefix changes the output, and that padding does not."""
    generator = torch.Generator().manual_seed(0)
    tensor = torch.randn(shape.prefix_shape(4), generator=generator)
    slots = Slots(keys=tensor[:, 0], values=tensor[:, 1])
    alone, padded = check_inputs(tokenizer, CHECK_TEXTS[:1]), check_inputs(tokenizer, CHECK_TEXTS)
    real = padded["attention_mask"][0].bool()
    with torch.no_grad():
        plain = model(**alone, attention_calls=[]).last_hidden_state[0]
        single = model(**alone, attention_calls=[], prefix_slots=slots).last_hidden_state[0]
        inside = model(**padded, attention_calls=[], prefix_slots=slots).last_hidden_state[0][real]
    change, drift = float((plain - single).abs().max()), float((single - inside).abs().max())
    # Comparisons with NaN are false.
    if not (change > TOLERANCE and drift <= TOLERANCE * max(1.0, float(single.abs().max()))):
        raise EncoderError(
            f"the self-check of {files.label} failed: a random prefix changes the output by "
            f"{change:.1e}, padding by {drift:.1e}",
            expected=(
                "that a prefix changes the output, and padding does not (families known to work: "
                f"{FAMILIES})"
            ),
            fix=(
                "use another encoder; for a known family, check the versions that "
                "`prefixbank doctor` prints"
            ),
        )


def _max_tokens(model: nn.Module, tokenizer: Any, files: EncoderFiles) -> int:
    """Return the longest input: the smallest of the limits of tokenizer, positions and folder."""
    positions = getattr(model.config, "max_position_embeddings", None) or tokenizer.model_max_length
    embeddings = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    if embeddings is not None and embeddings.padding_idx is not None:
        positions -= embeddings.padding_idx + 1
    meant = None if files.sentence is None else files.sentence.max_tokens
    return int(min(positions, tokenizer.model_max_length, meant or positions))
