"""The tiny encoder: a seeded random BERT of two layers whose vocabulary comes from the starter suite. For smoke runs, not for results."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import torch
from transformers import BertConfig, BertModel, BertTokenizer
from transformers.utils import logging as transformers_logging

from prefixbank.data.starter.suite import STARTER_TASKS, starter_task

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = 2000
SEED = 0


def write_tiny_encoder(folder: Path) -> None:
    """Write config, weights and tokenizer into `folder`, the same bytes each time."""
    transformers_logging.disable_progress_bar()
    vocabulary = _vocabulary()
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    tokenizer = BertTokenizer(vocab={word: index for index, word in enumerate(vocabulary)}, model_max_length=128)
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


def _vocabulary() -> list[str]:
    """Return special tokens, single characters alone and inside words, and the most frequent words of the starter suite's train splits."""
    counts: Counter[str] = Counter()
    for name in STARTER_TASKS:
        train = starter_task(name).train
        for text in (*train.texts, *(train.pairs or ())):
            counts.update(re.findall(r"\w+|[^\w\s]", text.lower()))
    characters = sorted({character for word in counts for character in word})
    words = [word for word, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if len(word) > 1][:WORDS]
    return [*SPECIAL, *characters, *(f"##{character}" for character in characters), *words]
