"""The tiny encoder: a seeded random BERT with two layers, for smoke runs and not for results."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import BertConfig, BertModel, BertTokenizer
from transformers.utils import logging as transformers_logging

from prefixbank.data.encoders.tiny_vocabulary import tiny_vocabulary, vocabulary_text

SEED = 0


def write_tiny_encoder(folder: Path) -> None:
    """Write config, weights and tokenizer into `folder`; the bytes are always the same."""
    transformers_logging.disable_progress_bar()
    vocabulary = {word: index for index, word in enumerate(tiny_vocabulary())}
    (folder / "vocab.txt").write_text(vocabulary_text(), encoding="utf-8")
    tokenizer = BertTokenizer(vocab=vocabulary, model_max_length=128)
    tokenizer.save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=128,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        BertModel(config, add_pooling_layer=False).save_pretrained(folder)
