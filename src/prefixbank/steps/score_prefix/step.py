"""Step `score-prefix`: score a trained prefix and its head on rows outside its training."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from prefixbank.artifacts.json_files import read_json
from prefixbank.artifacts.prefix import SCORE
from prefixbank.data.encoders.files import EncoderFiles
from prefixbank.data.tasks.task import Task
from prefixbank.errors import UsageError
from prefixbank.runtime.session import Session
from prefixbank.runtime.unit import Unit
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON, document
from prefixbank.store.reasons import named

STEP = "score-prefix"
# 1: first; 2: probabilities and more metrics.
VERSION = 2


def unit(
    session: Session,
    trained: Entry,
    task: Task,
    files: EncoderFiles,
    name: str,
    *,
    bootstrap_samples: int,
    split: str = "test",
) -> Unit:
    """Return the unit that scores `trained` on one split of its task.

    Args:
        session: how to run.
        trained: prefix artifact.
        task: task of the prefix.
        files: encoder of the prefix.
        name: what messages call it.
        bootstrap_samples: bootstrap samples of the interval.
        split: rows to score.

    Raises:
        UsageError: the prefix was trained on several tasks.
    """
    if "tasks" in trained.info:
        raise UsageError(
            f"prefix '{trained.info['task']}' {trained.short_key} has a head for each of "
            f"{len(trained.info['tasks'])} tasks",
            expected="a prefix that was trained on one task",
            fix=f"prefixbank train-prefix task={task.name}",
        )

    def make(out: Path, work: Path) -> JSON:
        from prefixbank.steps.score_prefix.make import score_prefix

        score_prefix(
            out, session, trained, task, files, split=split, bootstrap_samples=bootstrap_samples
        )
        return {"task": task.name, "prefix": trained.key, "encoder": asdict(files.origin)}

    inputs = {"prefix": trained.digest, "encoder": files.digest, "examples": task.digest(split)}
    key_document = document(
        step="score_prefix",
        version=VERSION,
        config={"bootstrap_samples": bootstrap_samples},
        inputs=inputs,
    )
    words = {
        "prefix": named("prefix", [trained]),
        "encoder": files.words,
        "examples": [task.words(split)],
    }
    return Unit(step=STEP, name=name, document=key_document, make=make, note=describe, words=words)


def describe(entry: Entry) -> str:
    """Return a summary: the score with its interval."""
    score = read_json(entry, SCORE)
    return f"{score['metric']} {score['score']:.3f} [{score['low']:.3f}, {score['high']:.3f}]"
