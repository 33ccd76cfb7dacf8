"""The tasks of the starter suite, generated from phrases and a seed. Nothing is downloaded.

Labels depend on meaning: most frames state two things and reject one, so a bag of words helps
little. Splits share no text.
"""

from __future__ import annotations

import random
from functools import cache

import numpy as np

from prefixbank.data.starter.grammar import Phrases, Row, compose
from prefixbank.data.starter.phrase_files import load_phrases
from prefixbank.data.tasks.task import Examples, Task
from prefixbank.errors import UsageError, did_you_mean

STARTER_SOURCES = ("polarity", "entailment", "paraphrase", "topic", "answer")
STARTER_TARGETS = ("question_type", "emotion", "similarity", "complaint")
STARTER_TASKS = STARTER_SOURCES + STARTER_TARGETS
SPLIT_ROWS = {"train": 800, "validation": 200, "test": 400}
HELD_OUT_SHARE = 0.25
"""Share of test rows whose frame occurs in no other split."""
SEED = 1


@cache
def starter_task(name: str) -> Task:
    """Return one starter task: 800 train, 200 validation and 400 test rows, always the same.

    Args:
        name: one of `STARTER_SOURCES` or `STARTER_TARGETS`.
    Raises:
        UsageError: there is no such task.
    """
    if name not in STARTER_TASKS:
        raise UsageError(
            f"no starter task '{name}'{did_you_mean(name, STARTER_TASKS)}",
            expected=f"one of {', '.join(STARTER_TASKS)}",
            fix=f"task={STARTER_TASKS[0]}",
        )
    phrases = load_phrases(name)
    splits = {split: _examples(phrases, rows) for split, rows in draw_rows(name, phrases).items()}
    return Task(
        name=name,
        kind="regression" if phrases.graded else "classification",
        metric="spearman" if phrases.graded else "accuracy",
        labels=() if phrases.graded else phrases.labels,
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
    )


def draw_rows(name: str, phrases: Phrases) -> dict[str, tuple[Row, ...]]:
    """Return the rows of each split of the task `name`."""
    rng = random.Random(f"prefixbank starter suite, {name}, seed {SEED}")
    used: set[str] = set()
    splits: dict[str, tuple[Row, ...]] = {}
    for split, count in SPLIT_ROWS.items():
        held_out_share = HELD_OUT_SHARE if split == "test" else 0.0
        splits[split] = _draw_split(phrases, rng, count, used, held_out_share=held_out_share)
        used |= {text for row in splits[split] for text in (row.text, row.pair) if text}
    return splits


def _draw_split(
    phrases: Phrases, rng: random.Random, count: int, used: set[str], *, held_out_share: float
) -> tuple[Row, ...]:
    """Return `count` different rows in random order, balanced over labels, without used texts."""
    rows: dict[tuple[str, str], Row] = {}
    while len(rows) < count:
        label = len(rows) % len(phrases.labels)
        row = compose(phrases, rng, label, held_out=rng.random() < held_out_share)
        if row.text not in used and row.pair not in used:
            rows.setdefault((row.text, row.pair), row)
    rest = list(rows.values())
    return tuple(rest.pop(int(rng.random() * len(rest))) for _ in range(count))


def _examples(phrases: Phrases, rows: tuple[Row, ...]) -> Examples:
    paired = bool(rows[0].pair)
    values = [float(phrases.labels[row.label]) if phrases.graded else row.label for row in rows]
    return Examples(
        texts=tuple(row.text for row in rows),
        pairs=tuple(row.pair for row in rows) if paired else None,
        labels=np.array(values, dtype=np.float64 if phrases.graded else np.int64),
    )
