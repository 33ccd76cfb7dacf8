"""Step `train-prefix`: one source task and one frozen encoder to one prefix."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefixbank.config.schema import PrefixRecipe
from prefixbank.data.encoder_files import EncoderFiles
from prefixbank.data.tasks import Task
from prefixbank.steps.context import Context
from prefixbank.steps.json_files import read_json, write_json, write_json_lines
from prefixbank.steps.units import Unit
from prefixbank.steps.warm_start import start_of
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON, document

if TYPE_CHECKING:
    from prefixbank.core.fit import FitResult

STEP = "train-prefix"
VERSION = 3  # 1: first; 2: result.json counts the rows that training processed; 3: task embeddings, starts from other prefixes
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
    "steps.warm_start",
)


def unit(context: Context, task: Task, files: EncoderFiles, recipe: PrefixRecipe, name: str = "") -> Unit:
    """Return the unit that trains `task`'s prefix on the encoder in `files`; ref `prefix/<name or task name>`.

    Raises:
        UsageError: `prefix.init` names a prefix that this one cannot start from.
    """
    recipe, warm = start_of(context.store, files, recipe, name or task.name)

    def make(out: Path, work: Path) -> JSON:
        from prefixbank.steps.fitting import fit, progress_of

        initial = warm.read() if warm else None
        result, facts = fit(context, task, files, recipe, work, progress_of(context, STEP, task.name), initial)
        _write(out, task, result, facts)
        made = {"task": task.name, "encoder": asdict(files.source), "notes": list(task.notes), "seconds": result.seconds}
        return {**made, **(warm.facts if warm else {})}

    inputs = {"encoder": files.digest, "examples": task.digest("train", "validation"), **(warm.inputs if warm else {})}
    made_of = document(step="train_prefix", version=VERSION, config=asdict(recipe), inputs=inputs)
    return Unit(step=STEP, name=name or task.name, document=made_of, make=make, ref=("prefix", name or task.name), note=describe)


def describe(entry: Entry) -> str:
    """Return what the line of a finished prefix says: its validation score, and truncation if there was any."""
    result = read_json(entry, "result.json")
    cut = f", {result['truncated_share']:.1%} of rows truncated" if result["truncated_share"] else ""
    return f"validation {result['metric']} {result['validation']:.3f}{cut}"


def _write(out: Path, task: Task, result: FitResult, facts: dict[str, Any]) -> None:
    """Write the artifact: prefix, head and task embedding apart, the learning curve, and what training came to."""
    from prefixbank.steps.tensors import prefix_tensors, write_tensors

    write_tensors(out / "prefix.safetensors", prefix_tensors(result.prefix))
    write_tensors(out / "task_embedding.safetensors", prefix_tensors(result.task_embedding))
    write_tensors(out / "head.safetensors", {"weight": result.head_weight, "bias": result.head_bias})
    write_json_lines(out / "curve.jsonl", result.curve)
    summary = {"kind": task.kind, "labels": list(task.labels), "metric": task.metric, "validation": result.score}
    went = {"best_epoch": result.epoch, "steps": result.steps, "examples": result.examples}
    kept = {"task_embedding_step": result.task_embedding_step, "shape": list(result.prefix.tensor.shape)}
    write_json(out / "result.json", {**summary, **went, **kept, **facts})
