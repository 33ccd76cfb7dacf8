"""Step `train-student`: distil a multi-task encoder into its own lower layers.

The artifact has the files of a multi-task encoder, and settings of the same names: a student is
used, and can be a teacher, wherever such an encoder can.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from prefixbank.artifacts.encoder import KINDS, is_encoder, kind_of
from prefixbank.artifacts.prefix import ref_of
from prefixbank.config.schema import StudentRecipe
from prefixbank.data.tasks.task import Task
from prefixbank.errors import UsageError
from prefixbank.runtime.session import Session
from prefixbank.runtime.unit import Unit
from prefixbank.steps.train_multitask.step import check_tasks, describe, write
from prefixbank.steps.train_student.request import DistillationRequest
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON, document
from prefixbank.store.reasons import named
from prefixbank.store.store import Store

STEP = "train-student"
VERSION = 1  # 1: first
MULTITASK, STUDENT = KINDS["train_multitask"], KINDS["train_student"]


def resolve_teacher(store: Store, text: str) -> Entry:
    """Return a multi-task encoder by ref, name or key, or a student by ref or key.

    Raises:
        UsageError: there is none, or it is another artifact.
    """
    listing = "prefixbank cache ls train-multitask    lists all multi-task encoders"
    if not text:
        raise UsageError("no teacher given", expected="teacher=multitask/NAME", fix=listing)
    kind = kind_of(text)
    if not kind and not ref_of(store, MULTITASK, text) and ref_of(store, STUDENT, text):
        raise UsageError(
            f"no multi-task encoder '{text}', but there is {STUDENT}/{text}",
            expected="the name of a multi-task encoder, or the whole ref of a student",
            fix=f"teacher={STUDENT}/{text}",
        )
    if "/" in text and not kind:
        raise UsageError(
            f"teacher={text}",
            expected="multitask/NAME or student/NAME, or the name or key of a multi-task encoder",
            fix=listing,
        )
    entry = store.resolve(kind or MULTITASK, text)
    if not is_encoder(entry):
        raise UsageError(
            f"teacher={text} is the result of {entry.step.replace('_', '-')}",
            expected="the ref, name or key of a multi-task encoder, or of a student",
            fix=listing,
        )
    return entry


def unit(
    session: Session, tasks: Sequence[Task], teacher: Entry, recipe: StudentRecipe, name: str = ""
) -> Unit:
    """Return the unit that distils `teacher` into a student on `tasks`.

    Ref `student/<name, or the tasks' names joined>`.

    Raises:
        UsageError: a task twice, or see `DistillationRequest.of`.
    """
    names = [task.name for task in tasks]
    check_tasks(names)
    request, name = DistillationRequest.of(teacher, tasks, recipe), name or "-".join(names)

    def make(out: Path, work: Path) -> JSON:
        from prefixbank.steps.train_prefix.make import progress_of
        from prefixbank.steps.train_student.make import fit

        listener = progress_of(session, STEP, name)
        fitted = fit(session, tasks, request, work, name, listener)
        write(out, tasks, fitted.files, fitted.result, fitted.facts, fitted.teacher_scores)
        return {
            "tasks": names,
            "encoder": asdict(fitted.files.origin),
            "notes": [note for task in tasks for note in task.notes],
            "seconds": fitted.result.seconds,
        }

    inputs = {
        "teacher": teacher.digest,
        "examples": [task.digest("train", "validation") for task in tasks],
    }
    key_document = document(
        step="train_student", version=VERSION, config=request.settings, inputs=inputs
    )
    return Unit(
        step=STEP,
        name=name,
        document=key_document,
        make=make,
        ref=("student", name),
        note=describe,
        words={
            "teacher": named("teacher", [teacher]),
            "examples": [task.words("train", "validation") for task in tasks],
        },
    )
