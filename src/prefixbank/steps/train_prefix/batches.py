"""Batches of the rows of one or several tasks, and the results of training on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from prefixbank.choices import SourcePairs
from prefixbank.core.shapes import Batch
from prefixbank.core.training.sampling import epoch_plan
from prefixbank.core.training.settings import TrainingResult
from prefixbank.data.encoders.batches import PairTokens, Tokens, budget_batches
from prefixbank.data.encoders.encoder import Encoder
from prefixbank.data.tasks.task import Task

FORWARD_TOKENS = 4096
"""Tokens in a batch of rows of which no gradients are needed, such as those of validation."""

TEXT_TOKENS = 1024
"""Tokens in a batch of texts whose states are kept."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """One split of a task, tokenised."""

    tokens: Tokens | PairTokens
    labels: np.ndarray

    def forward_batches(self) -> list[Batch]:
        """Return all rows, each once, in batches for passes without gradients."""
        return list(budget_batches(self.tokens, FORWARD_TOKENS, self.labels))


@dataclass(frozen=True, kw_only=True)
class TokenizedTasks:
    """Train and validation rows of each task, in the order of the tasks."""

    train: list[Rows]
    validation: list[Rows]

    @staticmethod
    def of(
        encoder: Encoder,
        tasks: Sequence[Task],
        max_length_tokens: int,
        pairs: SourcePairs = "joint",
    ) -> TokenizedTasks:
        """Tokenise the train and validation rows of tasks, their pairs together or apart."""

        def rows(split: str) -> list[Rows]:
            return [_rows(encoder, task, split, max_length_tokens, pairs) for task in tasks]

        return TokenizedTasks(train=rows("train"), validation=rows("validation"))

    @property
    def sizes(self) -> list[int]:
        """Number of train rows of each task."""
        return [len(rows.tokens) for rows in self.train]

    @property
    def tokens(self) -> int:
        """Number of tokens of all rows."""
        return sum(rows.tokens.total for rows in (*self.train, *self.validation))

    def batches_once(self) -> list[Batch]:
        """Return all rows, each once, in batches that depend on the rows alone."""
        return [
            batch
            for rows in (*self.train, *self.validation)
            for batch in budget_batches(rows.tokens, TEXT_TOKENS)
        ]

    @property
    def truncated_share(self) -> float:
        """Share of rows that were truncated."""
        every = [rows.tokens for rows in (*self.train, *self.validation)]
        return sum(tokens.truncated for tokens in every) / sum(len(tokens) for tokens in every)


def _rows(
    encoder: Encoder, task: Task, split: str, max_length_tokens: int, pairs: SourcePairs
) -> Rows:
    examples = task.split(split)
    tokens: Tokens | PairTokens
    if examples.pairs is not None and pairs == "separate":
        first, second = (
            encoder.tokenize(texts, None, max_length_tokens)
            for texts in (examples.texts, examples.pairs)
        )
        tokens = PairTokens(first=first, second=second)
    else:
        tokens = encoder.tokenize(examples.texts, examples.pairs, max_length_tokens)
    return Rows(tokens=tokens, labels=np.asarray(examples.labels))


def mixed_batches(
    train: Sequence[Rows], counts: Sequence[int], *, batch_size: int, seed: int
) -> Callable[[int], Sequence[Batch]]:
    """Return a function from the epoch to its batches, each of one task.

    Args:
        train: train rows of each task.
        counts: rows of each task in one epoch.
        batch_size: rows in a batch.
        seed: of the order of rows.
    """
    lengths = [rows.tokens.lengths for rows in train]

    def batches(epoch: int) -> Sequence[Batch]:
        plan = epoch_plan(lengths, counts, batch_size=batch_size, seed=seed, epoch=epoch)
        return [
            replace(train[task].tokens.batch(rows, train[task].labels), task=task)
            for task, rows in plan
        ]

    return batches


def task_results(tasks: Sequence[Task], result: TrainingResult) -> list[dict[str, Any]]:
    """Return the result of each task of a training run.

    Names are not part of keys, so the results contain none.
    """
    return [
        {
            "kind": task.kind,
            "labels": list(task.labels),
            "metric": task.metric,
            "validation": score,
            "train_rows": len(task.train),
            "examples": examples,
        }
        for task, score, examples in zip(tasks, result.scores, result.examples, strict=True)
    ]
