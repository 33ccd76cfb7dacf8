"""Step `train-prefix`: one source task and one frozen encoder to one prefix."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefixbank.config.schema import PrefixRecipe, effective
from prefixbank.data.encoder_files import EncoderFiles
from prefixbank.data.tasks import Task
from prefixbank.steps.context import Context
from prefixbank.steps.json_files import read_json, write_json, write_json_lines
from prefixbank.steps.units import Unit
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON, document

if TYPE_CHECKING:
    from prefixbank.core.fit import FitResult

STEP = "train-prefix"
VERSION = 2  # 1: first; 2: result.json counts the rows that training processed
CODE = (
    "core.attention",
    "core.combine",
    "core.embed",
    "core.fit",
    "core.fit_types",
    "core.flops",
    "core.heads",
    "core.metrics",
    "core.pooling",
    "core.precision",
    "core.prefix",
    "core.sampling",
    "core.schedule",
    "core.shapes",
    "core.shared_prefix",
    "core.training",
    "core.workers",
    "data.batches",
    "data.encoder",
    "steps.fitting",
    "steps.flops",
)


def unit(context: Context, task: Task, files: EncoderFiles, recipe: PrefixRecipe, name: str = "") -> Unit:
    """Return the unit that trains `task`'s prefix on the encoder in `files`; ref `prefix/<name or task name>`."""
    recipe = effective(recipe)

    def make(out: Path, work: Path) -> JSON:
        from prefixbank.steps.fitting import fit, progress_of

        result, facts = fit(context, task, files, recipe, work, progress_of(context, STEP, task.name))
        _write(out, task, result, facts)
        return {"task": task.name, "encoder": asdict(files.source), "notes": list(task.notes), "seconds": result.seconds}

    inputs = {"encoder": files.digest, "examples": task.digest("train", "validation")}
    made_of = document(step="train_prefix", version=VERSION, config=asdict(recipe), inputs=inputs)
    return Unit(step=STEP, name=name or task.name, document=made_of, make=make, ref=("prefix", name or task.name), note=describe)


def describe(entry: Entry) -> str:
    """Return what the line of a finished prefix says: its validation score, and truncation if there was any."""
    result = read_json(entry, "result.json")
    cut = f", {result['truncated_share']:.1%} of rows truncated" if result["truncated_share"] else ""
    return f"validation {result['metric']} {result['validation']:.3f}{cut}"


def _write(out: Path, task: Task, result: FitResult, facts: dict[str, Any]) -> None:
    """Write the artifact: prefix and head apart, the learning curve, and what training came to."""
    from prefixbank.steps.tensors import prefix_tensors, write_tensors

    write_tensors(out / "prefix.safetensors", prefix_tensors(result.prefix))
    write_tensors(out / "head.safetensors", {"weight": result.head_weight, "bias": result.head_bias})
    write_json_lines(out / "curve.jsonl", result.curve)
    summary = {"kind": task.kind, "labels": list(task.labels), "metric": task.metric, "validation": result.score}
    went = {"best_epoch": result.epoch, "steps": result.steps, "examples": result.examples}
    write_json(out / "result.json", {**summary, **went, "shape": list(result.prefix.tensor.shape), **facts})
