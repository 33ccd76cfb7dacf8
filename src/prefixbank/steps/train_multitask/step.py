"""Step `train-multitask`.

Several tasks and an encoder to one fine-tuned encoder, with a head for each task.

Names are no part of the key, so no file of the artifact holds one: lists in them are in the order
of the tasks, whose names are among the artifact's facts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefixbank.artifacts.encoder import FOLDER, LISTING
from prefixbank.artifacts.json_files import read_json, write_json, write_json_lines
from prefixbank.artifacts.prefix import describe_scores
from prefixbank.config.schema import MultitaskRecipe, effective
from prefixbank.data.encoders.files import EncoderFiles
from prefixbank.data.tasks.task import Task
from prefixbank.errors import UsageError
from prefixbank.runtime.session import Session
from prefixbank.runtime.unit import Unit
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON, document

if TYPE_CHECKING:
    from prefixbank.core.training.settings import MultitaskResult


STEP = "train-multitask"
VERSION = 1  # 1: first


def unit(
    session: Session,
    tasks: Sequence[Task],
    files: EncoderFiles,
    recipe: MultitaskRecipe,
    name: str = "",
) -> Unit:
    """Return the unit that fine-tunes the encoder in `files` on `tasks`.

    Ref `multitask/<name, or the tasks' names joined>`.
    """
    recipe, names = effective(recipe), [task.name for task in tasks]
    check_tasks(names)
    called = name or "-".join(names)

    def make(out: Path, work: Path) -> JSON:
        from prefixbank.steps.train_multitask.make import fit
        from prefixbank.steps.train_prefix.make import progress_of

        result, facts = fit(
            session, tasks, files, recipe, work, called, progress_of(session, STEP, called)
        )
        _write(out, tasks, files, result, facts)
        notes = [note for task in tasks for note in task.notes]
        return {
            "tasks": names,
            "encoder": asdict(files.source),
            "notes": notes,
            "seconds": result.seconds,
        }

    inputs = {
        "encoder": files.digest,
        "examples": [task.digest("train", "validation") for task in tasks],
    }
    made_of = document(
        step="train_multitask", version=VERSION, config=asdict(recipe), inputs=inputs
    )
    return Unit(
        step=STEP,
        name=called,
        document=made_of,
        make=make,
        ref=("multitask", called),
        note=describe,
    )


def check_tasks(names: Sequence[str]) -> None:
    """Refuse no tasks at all, and tasks named twice.

    Raises:
        UsageError: with the names.
    """
    if not names:
        raise UsageError(
            "no tasks to train on",
            expected="one or more",
            fix="prefixbank train-multitask 'tasks=[polarity,topic]'",
        )
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise UsageError(
            f"tasks names {', '.join(twice)} twice",
            expected="each task once (multitask.sampling says how often its rows are shown)",
            fix=f"'tasks=[{','.join(dict.fromkeys(names))}]'",
        )


def describe(entry: Entry) -> str:
    """Return what the line of a finished encoder says.

    The mean of the validation scores, and each of them.
    """
    return describe_scores(entry.info["tasks"], read_json(entry, "result.json"))


def _write(
    out: Path,
    tasks: Sequence[Task],
    files: EncoderFiles,
    result: MultitaskResult,
    facts: dict[str, Any],
) -> None:
    """Write the artifact.

    Encoder and heads apart, the learning curve, and what training came to.
    """
    from prefixbank.artifacts.encoder import write_encoder
    from prefixbank.artifacts.tensors import write_heads
    from prefixbank.steps.train_prefix.batches import tasks_trained

    write_encoder(out / FOLDER, out / LISTING, files, result)
    write_heads(out / "heads.safetensors", result.heads)
    write_json_lines(out / "curve.jsonl", result.curve)
    went = {
        "validation": result.score,
        "best_epoch": result.epoch,
        "steps": result.steps,
        "examples": sum(result.examples),
    }
    write_json(
        out / "result.json",
        {
            "tasks": tasks_trained(tasks, result),
            **went,
            "train_rows": sum(len(task.train) for task in tasks),
            **facts,
        },
    )
