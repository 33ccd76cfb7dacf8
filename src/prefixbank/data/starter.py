"""The starter suite: nine small English tasks, written for prefixbank and generated from a seed. Nothing is downloaded.

Labels follow from meaning: most frames state two things and set one aside, so a bag of words is of little help. Splits share no text.
"""

from __future__ import annotations

import random
from functools import cache

import numpy as np

from prefixbank.data.starter_phrases.answer import ANSWER
from prefixbank.data.starter_phrases.complaint import COMPLAINT
from prefixbank.data.starter_phrases.emotion import EMOTION
from prefixbank.data.starter_phrases.entailment import ENTAILMENT
from prefixbank.data.starter_phrases.grammar import Phrases, Row, compose, pick
from prefixbank.data.starter_phrases.paraphrase import PARAPHRASE
from prefixbank.data.starter_phrases.polarity import POLARITY
from prefixbank.data.starter_phrases.question_type import QUESTION_TYPE
from prefixbank.data.starter_phrases.similarity import SIMILARITY
from prefixbank.data.starter_phrases.topic import TOPIC
from prefixbank.data.tasks import Examples, Task
from prefixbank.errors import UsageError, did_you_mean

SUITE: dict[str, Phrases] = {
    "polarity": POLARITY,
    "entailment": ENTAILMENT,
    "paraphrase": PARAPHRASE,
    "topic": TOPIC,
    "answer": ANSWER,
    "question_type": QUESTION_TYPE,
    "emotion": EMOTION,
    "similarity": SIMILARITY,
    "complaint": COMPLAINT,
}
STARTER_SOURCES = ("polarity", "entailment", "paraphrase", "topic", "answer")
STARTER_TARGETS = ("question_type", "emotion", "similarity", "complaint")
SPLIT_ROWS = {"train": 800, "validation": 200, "test": 400}
HELD_OUT_SHARE = 0.25
"""Share of test rows whose frame occurs in no other split."""
SEED = 1


@cache
def starter_task(name: str) -> Task:
    """Return one task of the starter suite: 800 train, 200 validation and 400 test rows, always the same.

    Args:
        name: one of `STARTER_SOURCES` or `STARTER_TARGETS`.
    Raises:
        UsageError: there is no such task.
    """
    if name not in SUITE:
        raise UsageError(
            f"no starter task '{name}'{did_you_mean(name, SUITE)}",
            expected=f"one of {', '.join(SUITE)}",
            fix=f"task={STARTER_SOURCES[0]}",
        )
    phrases = SUITE[name]
    splits = {split: _examples(phrases, rows) for split, rows in starter_rows(name).items()}
    return Task(
        name=name,
        kind="regression" if phrases.graded else "classification",
        metric="spearman" if phrases.graded else "accuracy",
        labels=() if phrases.graded else phrases.labels,
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
    )


def starter_rows(name: str) -> dict[str, tuple[Row, ...]]:
    """Return the rows of a task for each split, with the frame that each was made from."""
    rng = random.Random(f"prefixbank starter suite, {name}, seed {SEED}")
    used: set[str] = set()
    found: dict[str, tuple[Row, ...]] = {}
    for split, count in SPLIT_ROWS.items():
        found[split] = _draw_split(SUITE[name], rng, count, used, held_out_share=HELD_OUT_SHARE if split == "test" else 0.0)
        used |= {text for row in found[split] for text in (row.text, row.pair) if text}
    return found


def _draw_split(phrases: Phrases, rng: random.Random, count: int, used: set[str], *, held_out_share: float) -> tuple[Row, ...]:
    """Return `count` rows, labels in equal number, none repeated, no text of theirs in `used`, in random order."""
    rows: dict[tuple[str, str], Row] = {}
    while len(rows) < count:
        row = compose(phrases, rng, len(rows) % len(phrases.labels), held_out=rng.random() < held_out_share)
        if row.text not in used and row.pair not in used:
            rows.setdefault((row.text, row.pair), row)
    rest = list(rows.values())
    return tuple(rest.pop(rest.index(pick(rng, rest))) for _ in range(count))


def _examples(phrases: Phrases, rows: tuple[Row, ...]) -> Examples:
    paired = bool(rows[0].pair)
    values = [float(phrases.labels[row.label]) if phrases.graded else row.label for row in rows]
    return Examples(
        texts=tuple(row.text for row in rows),
        pairs=tuple(row.pair for row in rows) if paired else None,
        labels=np.array(values, dtype=np.float64 if phrases.graded else np.int64),
    )
