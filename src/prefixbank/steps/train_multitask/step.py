"""Step `train-multitask`: fine-tune an encoder on several tasks, with a head for each.

Names of tasks are not part of the key, so the artifact's files contain none. Lists in them follow
the order of the tasks, whose names are in the artifact's facts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefixbank.artifacts.encoder import FOLDER, LISTING
from prefixbank.artifacts.json_files import read_json, write_json, write_json_lines
from prefixbank.artifacts.prefix import describe_scores
from prefixbank.config.schema import MultitaskRecipe, effective, key_config
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
VERSION = 2  # 1: first; 2: AdamW in one pass over each tensor, different last digits


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
    if all(task.train.pairs is None for task in tasks):
        recipe = replace(recipe, multitask=replace(recipe.multitask, pairs="joint"))
    name = name or "-".join(names)

    def make(out: Path, work: Path) -> JSON:
        from prefixbank.steps.train_multitask.make import fit
        from prefixbank.steps.train_prefix.make import progress_of

        result, facts = fit(
            session, tasks, files, recipe, work, name, progress_of(session, STEP, name)
        )
        _write(out, tasks, files, result, facts)
        notes = [note for task in tasks for note in task.notes]
        return {
            "tasks": names,
            "encoder": asdict(files.origin),
            "notes": notes,
            "seconds": result.seconds,
        }

    inputs = {
        "encoder": files.digest,
        "examples": [task.digest("train", "validation") for task in tasks],
    }
    key_document = document(
        step="train_multitask", version=VERSION, config=key_config(recipe), inputs=inputs
    )
    return Unit(
        step=STEP,
        name=name,
        document=key_document,
        make=make,
        ref=("multitask", name),
        note=describe,
        words={
            "encoder": files.words,
            "examples": [task.words("train", "validation") for task in tasks],
        },
    )


def check_tasks(names: Sequence[str]) -> None:
    """Refuse an empty list of tasks, and duplicates.

    Raises:
        UsageError: names the tasks.
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
            expected="each task once (multitask.sampling sets how often its rows are used)",
            fix=f"'tasks=[{','.join(dict.fromkeys(names))}]'",
        )


def describe(entry: Entry) -> str:
    """Return a summary: the validation scores and their mean."""
    return describe_scores(entry.info["tasks"], read_json(entry, "result.json"))


def _write(
    out: Path,
    tasks: Sequence[Task],
    files: EncoderFiles,
    result: MultitaskResult,
    facts: dict[str, Any],
) -> None:
    """Write the artifact: encoder, heads, learning curve and result."""
    from prefixbank.artifacts.encoder import write_encoder
    from prefixbank.artifacts.tensors import write_heads
    from prefixbank.steps.train_prefix.batches import task_results

    write_encoder(out / FOLDER, out / LISTING, files, result)
    write_heads(out / "heads.safetensors", result.heads)
    write_json_lines(out / "curve.jsonl", result.curve)
    training = {
        "validation": result.score,
        "best_epoch": result.epoch,
        "steps": result.steps,
        "examples": sum(result.examples),
    }
    write_json(
        out / "result.json",
        {
            "tasks": task_results(tasks, result),
            **training,
            "train_rows": sum(len(task.train) for task in tasks),
            **facts,
        },
    )
