"""The vocabulary of the tiny encoder, apart from its weights, so that planning needs no torch."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from functools import cache

from prefixbank.data.starter.suite import STARTER_TASKS, starter_task

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = 2000


@cache
def tiny_vocabulary() -> tuple[str, ...]:
    """Return special tokens, single characters alone and inside words, and frequent words.

    Words are counted in the train splits of the starter suite; the `WORDS` most frequent are taken.
    """
    counts: Counter[str] = Counter()
    for name in STARTER_TASKS:
        train = starter_task(name).train
        for text in (*train.texts, *(train.pairs or ())):
            counts.update(re.findall(r"\w+|[^\w\s]", text.lower()))
    characters = sorted({character for word in counts for character in word})
    by_count = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    words = [word for word, _ in by_count if len(word) > 1][:WORDS]
    return (*SPECIAL, *characters, *(f"##{character}" for character in characters), *words)


def vocabulary_text() -> str:
    """Return the vocabulary as BERT's `vocab.txt` has it, one token a line."""
    return "\n".join(tiny_vocabulary()) + "\n"


def vocabulary_digest() -> str:
    """Return the sha256 (64 hex digits) of `vocab.txt`."""
    return hashlib.sha256(vocabulary_text().encode("utf-8")).hexdigest()
