"""Step `train-prefix`: one source task and one frozen encoder to one prefix."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefixbank.config.schema import PrefixRecipe
from prefixbank.data.encoder_files import EncoderFiles
from prefixbank.data.tasks import Task
from prefixbank.steps.context import Context
from prefixbank.steps.events import Event
from prefixbank.steps.json_files import read_json, write_json
from prefixbank.steps.units import Unit
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON, document

if TYPE_CHECKING:
    from prefixbank.core.fit import FitEvent, FitResult

STEP = "train-prefix"
VERSION = 1  # 1: first
CODE = (
    "core.attention",
    "core.combine",
    "core.embed",
    "core.fit",
    "core.fit_types",
    "core.heads",
    "core.metrics",
    "core.pooling",
    "core.precision",
    "core.prefix",
    "core.schedule",
    "core.shapes",
    "data.batches",
    "data.encoder",
    "steps.fitting",
)


def unit(context: Context, task: Task, files: EncoderFiles, recipe: PrefixRecipe, name: str = "") -> Unit:
    """Return the unit that trains `task`'s prefix on the encoder in `files`; ref `prefix/<name or task name>`."""

    def make(out: Path, work: Path) -> JSON:
        from prefixbank.steps.fitting import fit

        result, facts = fit(context, task, files, recipe, work, lambda event: _report(context, task.name, event))
        _write(out, task, result, facts)
        return {"task": task.name, "encoder": asdict(files.source), "notes": list(task.notes)}

    inputs = {"encoder": files.digest, "examples": task.digest("train", "validation")}
    made_of = document(step="train_prefix", version=VERSION, config=asdict(recipe), inputs=inputs)
    return Unit(step=STEP, name=name or task.name, document=made_of, make=make, ref=("prefix", name or task.name), note=describe)


def describe(entry: Entry) -> str:
    """Return what the line of a finished prefix says: its validation score, and truncation if there was any."""
    result = read_json(entry, "result.json")
    cut = f", {result['truncated_share']:.1%} of rows truncated" if result["truncated_share"] else ""
    return f"validation {result['metric']} {result['validation']:.3f}{cut}"


def _report(context: Context, name: str, event: FitEvent) -> None:
    """Pass a training event on as progress."""
    score = "" if event.validation is None else f"validation {event.validation:.3f}"
    text = score or f"loss {event.loss:.3f}"
    context.emit(Event(kind="progress", step=STEP, name=name, done=event.step, total=event.total_steps, text=text))


def _write(out: Path, task: Task, result: FitResult, facts: dict[str, Any]) -> None:
    """Write the artifact: prefix and head apart, the learning curve, and what training came to."""
    from prefixbank.steps.tensors import prefix_tensors, write_tensors

    write_tensors(out / "prefix.safetensors", prefix_tensors(result.prefix))
    write_tensors(out / "head.safetensors", {"weight": result.head_weight, "bias": result.head_bias})
    lines = [json.dumps(line, sort_keys=True) for line in result.curve]
    (out / "curve.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    summary = {"kind": task.kind, "labels": list(task.labels), "metric": task.metric, "validation": result.score}
    write_json(
        out / "result.json",
        {**summary, "best_epoch": result.epoch, "steps": result.steps, "shape": list(result.prefix.tensor.shape), **facts},
    )
