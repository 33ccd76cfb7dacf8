"""Step `train-prefix`: train a prefix on one task, or on a mixture of several."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefixbank.artifacts.json_files import read_json, write_json, write_json_lines
from prefixbank.artifacts.prefix import (
    EMBEDDING,
    describe_scores,
    describe_truncation,
    warn_nothing_learned,
)
from prefixbank.choices import TEXTS_INIT, TOKEN_INITS, SourcePairs
from prefixbank.config.schema import PoolingConfig, PrefixConfig, PrefixRecipe, key_config
from prefixbank.data.encoders.auto_pooling import described_position
from prefixbank.data.encoders.files import POOLING, EncoderFiles
from prefixbank.data.tasks.task import Task
from prefixbank.errors import PrefixbankError, UsageError, raise_faults
from prefixbank.runtime.session import Session
from prefixbank.runtime.unit import Unit
from prefixbank.steps.train_prefix.mixture import Mixture, pairs_read
from prefixbank.steps.train_prefix.start import WarmStart, start_of
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON, document
from prefixbank.store.reasons import Words, named

if TYPE_CHECKING:
    from prefixbank.core.prefix import AnyPrefix
    from prefixbank.core.training.settings import FitResult


STEP, EARLY_STEP = "train-prefix", "task-embedding"
# 1: first; 2: result.json counts the rows that training processed; 3: soft prompts, start values,
# task embeddings; 4: read-outs, pairs read apart; 5: faster matrix products, different last digits;
# 6: AdamW in one pass over each tensor, different last digits.
VERSION = 6


@dataclass(frozen=True, kw_only=True)
class TrainingRequest:
    """A training run to do.

    Args:
        mixture: tasks to train on.
        recipe: recipe for the key document.
        warm: the prefix to start from, None if start values are drawn.
        inputs: inputs for the key document.
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
            UsageError: tasks or settings that contradict each other, or `prefix.init` names a
                prefix from which training cannot start.
        """
        check_prefix(mixture, recipe.prefix, recipe.pooling)
        if all(pairs_read(task, recipe.prefix.pairs) == "joint" for task in mixture.tasks):
            recipe = replace(recipe, prefix=replace(recipe.prefix, pairs="joint"))
        recipe, warm = start_of(session.store, files, recipe, name)
        inputs = {
            "encoder": files.digest,
            "examples": mixture.examples,
            **(warm.inputs if warm else {}),
        }
        return TrainingRequest(mixture=mixture, recipe=recipe, warm=warm, inputs=inputs)

    def document(self, step: str) -> JSON:
        """Return the key document of a step."""
        return document(
            step=step,
            version=VERSION,
            config={**key_config(self.recipe), **self.mixture.settings},
            inputs=self.inputs,
        )

    def words(self, files: EncoderFiles) -> Words:
        """Return the inputs in words."""
        start = {"init": named("prefix.init", [self.warm.entry])} if self.warm else {}
        return {"encoder": files.words, "examples": self.mixture.words, **start}

    def initial(self) -> AnyPrefix | None:
        """Read the prefix to start from."""
        return self.warm.read() if self.warm else None

    def facts(self, files: EncoderFiles) -> JSON:
        """Return facts for the artifact."""
        position = described_position(files)
        return {
            **self.mixture.facts,
            "encoder": asdict(files.origin),
            **({} if position is None else {"encoder_position": position}),
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
    name = name or "-".join(mixture.names)
    request = TrainingRequest.of(session, mixture, files, recipe, name)

    def make(out: Path, work: Path) -> JSON:
        from prefixbank.core.stats.metrics import constant_score
        from prefixbank.steps.train_prefix.make import fit, progress_of

        listener = progress_of(session, STEP, mixture.name)
        result, facts = fit(
            session, mixture, files, request.recipe, work, listener, request.initial()
        )
        _write(out, mixture, request.recipe.prefix.pairs, result, facts)
        notes = [note for task in mixture.tasks for note in task.notes]
        constant = [
            constant_score(task.metric, task.train.labels, task.validation.labels, task.num_outputs)
            for task in mixture.tasks
        ]
        return {
            **request.facts(files),
            "notes": notes,
            "seconds": result.seconds,
            "constant_scores": constant,
        }

    return Unit(
        step=STEP,
        name=name,
        document=request.document("train_prefix"),
        make=make,
        ref=("prefix", name),
        note=describe,
        words=request.words(files),
    )


def task_embedding_unit(
    session: Session, task: Task, files: EncoderFiles, recipe: PrefixRecipe, name: str = ""
) -> Unit:
    """Return the unit that makes only the task embedding of a prefix.

    The bytes are the same as those of `unit`, at a fraction of the cost.

    Raises:
        UsageError: see `TrainingRequest.of`.
    """
    mixture, name = Mixture.of(task), name or task.name
    request = TrainingRequest.of(session, mixture, files, recipe, name)

    def make(out: Path, work: Path) -> JSON:
        from prefixbank.artifacts.tensors import prefix_tensors, write_tensors
        from prefixbank.steps.train_prefix.make import fit_early, progress_of

        listener = progress_of(session, EARLY_STEP, mixture.name)
        embedding, step = fit_early(
            session, mixture, files, request.recipe, work, listener, request.initial()
        )
        write_tensors(out / EMBEDDING, prefix_tensors(embedding))
        write_json(out / "result.json", {"task_embedding_step": step})
        return request.facts(files)

    return Unit(
        step=EARLY_STEP,
        name=name,
        document=request.document("task_embedding"),
        make=make,
        words=request.words(files),
    )


def check_prefix(mixture: Mixture, prefix: PrefixConfig, pooling: PoolingConfig) -> None:
    """Refuse tasks and settings that contradict each other, with all faults at once.

    Tasks must be of one kind. Only deep prefixes have a gate and a projection network. Only vectors
    can start from input embeddings of tokens, only slots from a task's texts. Read-outs are not
    pooled, so that there is no pooling to learn.
    """
    faults: list[PrefixbankError] = [*mixture.faults(), *_pooling_faults(prefix, pooling)]
    deep_only = {"gate": (prefix.gate, "none"), "projection": (prefix.projection, "none")}
    for name, (value, off) in deep_only.items():
        if prefix.kind != "deep" and value != off:
            fix = f"prefix.{name}={off}, or prefix.kind=deep"
            faults.append(
                UsageError(
                    f"prefix.{name}={value} with prefix.kind={prefix.kind}",
                    expected="a deep prefix: no other kind has one",
                    fix=fix,
                )
            )
    if prefix.kind == "deep" and prefix.init in TOKEN_INITS:
        expected = "prefix.kind=soft or readout: deep prefixes are not input embeddings"
        faults.append(
            UsageError(
                f"prefix.init={prefix.init} with prefix.kind=deep",
                expected=expected,
                fix="prefix.init=random",
            )
        )
    if prefix.projection != "none" and prefix.init == TEXTS_INIT:
        faults.append(
            UsageError(
                f"prefix.init=texts with prefix.projection={prefix.projection}",
                expected="none: the parameters of a network cannot be set from texts",
                fix="prefix.projection=none    or prefix.init=random",
            )
        )
    if prefix.kind == "soft" and prefix.init == TEXTS_INIT:
        faults.append(
            UsageError(
                "prefix.init=texts with prefix.kind=soft",
                expected="prefix.kind=deep or readout: a soft prompt has no keys and values",
                fix="prefix.init=vocabulary",
            )
        )
    if prefix.kind != "readout" and prefix.length == 0:
        faults.append(
            UsageError(
                f"prefix.length=0 with prefix.kind={prefix.kind}",
                expected="1 or more: only read-outs can do without slots",
                fix="prefix.length=16",
            )
        )
    if prefix.kind == "readout" and prefix.summary == "concat" and not prefix.size:
        faults.append(
            UsageError(
                "prefix.summary=concat without a projection",
                expected="prefix.size, the number of features that all read-outs become",
                fix="prefix.size=48    or prefix.summary=mean",
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


def _pooling_faults(prefix: PrefixConfig, pooling: PoolingConfig) -> Iterator[UsageError]:
    """Yield a fault if read-outs are to learn how to pool."""
    if prefix.kind == "readout" and pooling.is_learned:
        yield UsageError(
            "learned pooling with prefix.kind=readout, whose blocks are not pooled",
            expected="prefix.kind=deep or soft; of read-outs prefix.size is the learned projection",
            fix="drop the pooling settings    or prefix.kind=deep",
        )


def describe(entry: Entry) -> str:
    """Return a summary: the validation scores, truncation, and that nothing was learned."""
    result = read_json(entry, "result.json")
    if "tasks" in result:
        scores = describe_scores(entry.info["tasks"], result)
    else:
        validation = f"validation {result['metric']} {result['validation']:.3f}"
        scores = f"{validation}{describe_truncation(result)}"
    return f"{scores}{warn_nothing_learned([entry])}"


def _write(
    out: Path,
    mixture: Mixture,
    pairs: SourcePairs,
    result: FitResult,
    facts: dict[str, Any],
) -> None:
    """Write the artifact: prefix, task embedding, heads, learning curve and result."""
    from prefixbank.artifacts.tensors import prefix_tensors, write_heads, write_tensors
    from prefixbank.steps.train_prefix.batches import task_results

    write_tensors(out / "prefix.safetensors", prefix_tensors(result.prefix))
    write_tensors(out / EMBEDDING, prefix_tensors(result.task_embedding))
    if result.pooling:
        write_tensors(out / POOLING, result.pooling)
    tasks: JSON = {
        "tasks": [
            {**facts_of_task, "pairs": pairs_read(task, pairs)}
            for task, facts_of_task in zip(
                mixture.tasks, task_results(mixture.tasks, result), strict=True
            )
        ]
    }
    if mixture.is_single:
        (task,), ((weight, bias),) = mixture.tasks, result.heads
        write_tensors(out / "head.safetensors", {"weight": weight, "bias": bias})
        tasks = {
            "kind": task.kind,
            "labels": list(task.labels),
            "metric": task.metric,
            "pairs": pairs_read(task, pairs),
        }
    else:
        write_heads(out / "heads.safetensors", result.heads)
    write_json_lines(out / "curve.jsonl", result.curve)
    training = {
        "validation": result.score,
        "best_epoch": result.epoch,
        "steps": result.steps,
        "examples": sum(result.examples),
    }
    more = {
        "task_embedding_step": result.task_embedding_step,
        "shape": list(result.prefix.tensor.shape),
    }
    write_json(out / "result.json", {**tasks, **training, **more, **facts})
