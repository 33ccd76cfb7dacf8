"""The vocabulary of the tiny encoder; without torch, so that planning is quick."""

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
    """Return special tokens, single characters (also as word pieces), and frequent words.

    These are the `WORDS` most frequent words in the train splits of the starter suite.
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
    """Return the vocabulary in the format of BERT's `vocab.txt`, one token a line."""
    return "\n".join(tiny_vocabulary()) + "\n"


def vocabulary_digest() -> str:
    """Return the SHA-256 (64 hexadecimal digits) of `vocab.txt`."""
    return hashlib.sha256(vocabulary_text().encode("utf-8")).hexdigest()
