"""What a probe needs of a task: which splits, and how pairs of texts are embedded."""

from __future__ import annotations

from prefixbank.choices import Pairs, ProbePairs
from prefixbank.config.schema import ProbeConfig
from prefixbank.data.tasks.task import SPLITS, Task


def splits_of(config: ProbeConfig) -> tuple[str, ...]:
    """Return the splits of a task whose rows a probe needs."""
    return (
        SPLITS if config.score_on == "test" else tuple(split for split in SPLITS if split != "test")
    )


def pairs_for(pairs: ProbePairs, task: Task) -> Pairs:
    """Return how a task's texts are embedded for a probe.

    `best` needs all readings of pairs. Single texts are read in one way.
    """
    if pairs == "best":
        return "joint" if task.train.pairs is None else "both"
    return pairs
