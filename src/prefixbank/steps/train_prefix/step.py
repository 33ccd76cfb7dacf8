"""Step `train-prefix`.

One source task, or a mixture of several, and one frozen encoder to one prefix.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefixbank.artifacts.json_files import read_json, write_json, write_json_lines
from prefixbank.artifacts.prefix import EMBEDDING, describe_scores, describe_truncation
from prefixbank.config.schema import PrefixConfig, PrefixRecipe
from prefixbank.data.encoders.files import EncoderFiles
from prefixbank.data.tasks.task import Task
from prefixbank.errors import PrefixbankError, UsageError, raise_faults
from prefixbank.runtime.session import Session
from prefixbank.runtime.unit import Unit
from prefixbank.steps.train_prefix.mixture import Mixture
from prefixbank.steps.train_prefix.start import TOKEN_INITS, WarmStart, start_of
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON, document

if TYPE_CHECKING:
    from prefixbank.core.prefix import Prefix
    from prefixbank.core.prompt import SoftPrompt
    from prefixbank.core.training.fit import FitResult


STEP, EARLY_STEP = "train-prefix", "task-embedding"
# 1: first; 2: result.json counts the rows that training processed; 3: soft prompts, start values,
# task embeddings.
VERSION = 3


@dataclass(frozen=True, kw_only=True)
class TrainingRequest:
    """A training that is asked for.

    Args:
        mixture: what to train on.
        recipe: as a key has it.
        warm: the prefix to start from, None where start values are drawn.
        inputs: what else is in the key.
    """

    mixture: Mixture
    recipe: PrefixRecipe
    warm: WarmStart | None
    inputs: JSON

    @staticmethod
    def of(
        session: Session, mixture: Mixture, files: EncoderFiles, recipe: PrefixRecipe, name: str
    ) -> TrainingRequest:
        """Check settings, and find the prefix to start from.

        Raises:
            UsageError: tasks or settings of the prefix that do not go together; `prefix.init` names
                one that it cannot start from.
        """
        check_prefix(mixture, recipe.prefix)
        recipe, warm = start_of(session.store, files, recipe, name)
        inputs = {
            "encoder": files.digest,
            "examples": mixture.examples,
            **(warm.inputs if warm else {}),
        }
        return TrainingRequest(mixture=mixture, recipe=recipe, warm=warm, inputs=inputs)

    def document(self, step: str) -> JSON:
        """Return what determines the artifact of a step."""
        return document(
            step=step,
            version=VERSION,
            config={**asdict(self.recipe), **self.mixture.settings},
            inputs=self.inputs,
        )

    def initial(self) -> Prefix | SoftPrompt | None:
        """Return the prefix to start from."""
        return self.warm.read() if self.warm else None

    def facts(self, files: EncoderFiles) -> JSON:
        """Return facts of the artifact."""
        return {
            **self.mixture.facts,
            "encoder": asdict(files.source),
            **(self.warm.facts if self.warm else {}),
        }


def unit(
    session: Session,
    task: Task | Mixture,
    files: EncoderFiles,
    recipe: PrefixRecipe,
    name: str = "",
) -> Unit:
    """Return the unit that trains a prefix on the encoder in `files`.

    Ref `prefix/<name, or the tasks' names joined>`.

    Raises:
        UsageError: see `TrainingRequest.of`.
    """
    mixture = Mixture.of(task)
    called = name or "-".join(mixture.names)
    asked = TrainingRequest.of(session, mixture, files, recipe, called)

    def make(out: Path, work: Path) -> JSON:
        from prefixbank.steps.train_prefix.make import fit, progress_of

        listener = progress_of(session, STEP, mixture.name)
        result, facts = fit(session, mixture, files, asked.recipe, work, listener, asked.initial())
        _write(out, mixture, result, facts)
        notes = [note for task in mixture.tasks for note in task.notes]
        return {**asked.facts(files), "notes": notes, "seconds": result.seconds}

    return Unit(
        step=STEP,
        name=called,
        document=asked.document("train_prefix"),
        make=make,
        ref=("prefix", called),
        note=describe,
    )


def task_embedding_unit(
    session: Session, task: Task, files: EncoderFiles, recipe: PrefixRecipe, name: str = ""
) -> Unit:
    """Return the unit that makes the task embedding alone.

    The same bytes as in what `unit` makes, at a share of its cost.

    Raises:
        UsageError: see `TrainingRequest.of`.
    """
    mixture, called = Mixture.of(task), name or task.name
    asked = TrainingRequest.of(session, mixture, files, recipe, called)

    def make(out: Path, work: Path) -> JSON:
        from prefixbank.artifacts.tensors import prefix_tensors, write_tensors
        from prefixbank.steps.train_prefix.make import fit_early, progress_of

        listener = progress_of(session, EARLY_STEP, mixture.name)
        embedding, step = fit_early(
            session, mixture, files, asked.recipe, work, listener, asked.initial()
        )
        write_tensors(out / EMBEDDING, prefix_tensors(embedding))
        write_json(out / "result.json", {"task_embedding_step": step})
        return asked.facts(files)

    return Unit(step=EARLY_STEP, name=called, document=asked.document("task_embedding"), make=make)


def check_prefix(mixture: Mixture, prefix: PrefixConfig) -> None:
    """Refuse tasks and settings that do not go together, with all faults at once.

    Tasks that do not fit each other, what a soft prompt lacks, and start values that only it has.
    """
    faults: list[PrefixbankError] = [*mixture.faults()]
    deep_only = {"gate": (prefix.gate, "none"), "projection": (prefix.projection, "none")}
    for name, (value, off) in deep_only.items():
        if prefix.kind == "soft" and value != off:
            fix = f"prefix.{name}={off}, or prefix.kind=deep"
            faults.append(
                UsageError(
                    f"prefix.{name}={value} with prefix.kind=soft",
                    expected="a deep prefix: this is a part of those",
                    fix=fix,
                )
            )
    if prefix.kind == "deep" and prefix.init in TOKEN_INITS:
        expected = "prefix.kind=soft: deep prefixes are not made of input embeddings"
        faults.append(
            UsageError(
                f"prefix.init={prefix.init} with prefix.kind=deep",
                expected=expected,
                fix="prefix.init=random",
            )
        )
    for task in mixture.tasks:
        if prefix.init == "labels" and not task.labels:
            what, expected = (
                f"prefix.init=labels for {task.name}, a {task.kind} task",
                "a task whose classes have names",
            )
            faults.append(UsageError(what, expected=expected, fix="prefix.init=vocabulary"))
    raise_faults(faults)


def describe(entry: Entry) -> str:
    """Return what the line of a finished prefix says.

    Its validation scores, and truncation if there was any.
    """
    result = read_json(entry, "result.json")
    if "tasks" in result:
        return describe_scores(entry.info["tasks"], result)
    return f"validation {result['metric']} {result['validation']:.3f}{describe_truncation(result)}"


def _write(out: Path, mixture: Mixture, result: FitResult, facts: dict[str, Any]) -> None:
    """Write the artifact.

    Prefix, heads and task embedding apart, the learning curve, and what training came to.
    """
    from prefixbank.artifacts.tensors import prefix_tensors, write_heads, write_tensors
    from prefixbank.steps.train_prefix.batches import tasks_trained

    write_tensors(out / "prefix.safetensors", prefix_tensors(result.prefix))
    write_tensors(out / EMBEDDING, prefix_tensors(result.task_embedding))
    tasks: JSON = {"tasks": tasks_trained(mixture.tasks, result)}
    if mixture.is_single:
        (task,), ((weight, bias),) = mixture.tasks, result.heads
        write_tensors(out / "head.safetensors", {"weight": weight, "bias": bias})
        tasks = {"kind": task.kind, "labels": list(task.labels), "metric": task.metric}
    else:
        write_heads(out / "heads.safetensors", result.heads)
    write_json_lines(out / "curve.jsonl", result.curve)
    went = {
        "validation": result.score,
        "best_epoch": result.epoch,
        "steps": result.steps,
        "examples": sum(result.examples),
    }
    kept = {
        "task_embedding_step": result.task_embedding_step,
        "shape": list(result.prefix.tensor.shape),
    }
    write_json(out / "result.json", {**tasks, **went, **kept, **facts})
