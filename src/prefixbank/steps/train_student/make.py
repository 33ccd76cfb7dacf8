"""Make the artifact of step `train-student`: run the teacher, then train its lower layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from prefixbank.artifacts.encoder import encoder_of, label_of, load_plain
from prefixbank.artifacts.tensors import read_heads
from prefixbank.config.schema import StudentConfig
from prefixbank.core.training.distill import Distillation, teacher_outputs, teacher_scores
from prefixbank.core.training.loop import BatchLoss, label_loss
from prefixbank.core.training.multitask import MultitaskLearner
from prefixbank.core.training.settings import FitEvent, Head, MultitaskResult
from prefixbank.data.encoders.encoder import Encoder
from prefixbank.data.encoders.files import EncoderFiles, describe_folder
from prefixbank.data.tasks.task import Task
from prefixbank.errors import EncoderError, UsageError
from prefixbank.runtime.session import Session
from prefixbank.steps.flops import outputs_flops
from prefixbank.steps.train_multitask.make import PreparedTraining, prepare, train
from prefixbank.steps.train_student.request import DistillationRequest


@dataclass(frozen=True, kw_only=True)
class FittedStudent:
    """A student, and what its teacher scores.

    Args:
        files: the encoder that training began with: the teacher's lower layers.
        result: of the training.
        teacher_scores: validation score of the teacher on each task.
        facts: for result.json.
    """

    files: EncoderFiles
    result: MultitaskResult
    teacher_scores: list[float]
    facts: dict[str, Any]


def fit(
    session: Session,
    tasks: Sequence[Task],
    request: DistillationRequest,
    work: Path,
    name: str,
    on_event: Callable[[FitEvent], None],
) -> FittedStudent:
    """Train a student.

    The teacher's outputs for the train rows are computed once, before the first step. A run that is
    resumed computes them again, in the same batches.

    Raises:
        UsageError: more layers than the teacher has, or too few for its pooling; a task of pairs
            that it learned as one of single texts, or the other way round.
        EncoderError: its layers cannot be dropped.
    """
    whole = session.load(encoder_of(request.teacher))
    files = _lower_layers(session, whole, request.student.layers)
    ready = prepare(session, tasks, files, request.training)
    _check_pooling(ready, whole)
    heads, learned = _heads_of(request, ready, tasks), load_plain(request.teacher).pooling.weights
    teacher = MultitaskLearner(whole.model, whole.shape, ready.settings, heads, learned)
    loss, teacher_flops = _loss(session, teacher, whole, ready, request.student, name)
    scores = teacher_scores(teacher, ready.validation)
    pooling = learned and learned.of_lowest(request.student.layers)
    result, facts = train(
        session, ready, work, name, on_event, heads=heads, pooling=pooling, loss=loss
    )
    own_flops = facts["training_flops"]
    both = None if own_flops is None or teacher_flops is None else own_flops + teacher_flops
    return FittedStudent(
        files=files,
        result=result,
        teacher_scores=scores,
        facts={**facts, "training_flops": both},
    )


def _loss(
    session: Session,
    teacher: MultitaskLearner,
    encoder: Encoder,
    ready: PreparedTraining,
    student: StudentConfig,
    name: str,
) -> tuple[BatchLoss, int | None]:
    """Return the student's loss, and the operations that the teacher's outputs in it took."""
    if student.soft_weight == 0:
        return label_loss, 0
    rows = [
        [replace(batch, task=task) for batch in one.forward_batches()]
        for task, one in enumerate(ready.rows.train)
    ]
    on_rows = session.row_counter(
        "train-student", name, sum(ready.rows.sizes), unit="rows", text="teacher"
    )
    distillation = Distillation(
        targets=teacher_outputs(teacher, rows, on_rows),
        temperature=student.temperature,
        soft_weight=student.soft_weight,
    )
    flops = outputs_flops(encoder, ready.settings, chain.from_iterable(rows))
    return distillation.loss, flops


def _lower_layers(session: Session, teacher: Encoder, layers: int) -> EncoderFiles:
    """Return an encoder read with its lower layers alone; with all of them, it stays as it is.

    Raises:
        UsageError: it has fewer.
        EncoderError: its layers cannot be dropped.
    """
    files, count = teacher.files, teacher.shape.layers
    if layers > count:
        raise UsageError(
            f"student.layers={layers}, and the teacher {files.label} has {count} layers",
            expected=f"1 to {count}",
            fix=f"student.layers={max(1, count // 2)}",
        )
    if layers == count:  # a final norm behind them belongs to the whole
        return files
    cut = describe_folder(files.folder, replace(files.origin, layers=layers), files.label)
    try:
        session.load(cut)
    except EncoderError as error:
        raise EncoderError(
            f"student.layers={layers}: {error.what}",
            expected=error.expected,
            fix=f"student.layers={count}, which keeps the whole encoder",
        ) from error
    return cut


def _check_pooling(ready: PreparedTraining, teacher: Encoder) -> None:
    """Refuse a student that lacks layers which are pooled.

    The last layer, or the mean of the last ones, is that of the student itself. Layers that are
    named, or lie side by side, each have features of their own that the heads have learned.

    Raises:
        UsageError: names both numbers of layers.
    """
    layers, whole = ready.encoder.shape.layers, teacher.shape.layers
    pooling = ready.settings.pooling
    needed = max((one for one in pooling.layers_of(whole) if one is not None), default=0)
    if pooling.layers == "last" or (pooling.layers == "concat_last" and pooling.last_k == 1):
        needed = 0
    if pooling.layers == "mean_last":
        needed = pooling.last_k - 1  # the embedding layer counts
    if needed > layers:
        raise UsageError(
            f"student.layers={layers} with the teacher {teacher.files.label} of {whole} layers, "
            "which pools layers that the student lacks",
            expected="a student with all layers that its teacher pools",
            fix=f"student.layers={whole}    or a teacher that pools its last layer: prefixbank "
            "train-multitask ... pooling.layers=last",
        )


def _heads_of(
    request: DistillationRequest, ready: PreparedTraining, tasks: Sequence[Task]
) -> list[Head]:
    """Return the teacher's head for each task.

    Raises:
        UsageError: one is for pairs, and the task has single texts, or the other way round.
    """
    known, settings = read_heads(request.teacher), ready.settings
    heads = [known[index] for index in request.heads]
    features = settings.pooling.output_size(ready.encoder.shape.hidden_size)
    for task, of_task, (weight, _) in zip(tasks, settings.tasks, heads, strict=True):
        if weight.shape[1] != of_task.head_inputs(features):
            has, had = ("pairs", "single texts") if of_task.separate else ("single texts", "pairs")
            raise UsageError(
                f"task {task.name} has {has}, the teacher {label_of(request.teacher)} learned it "
                f"from {had}",
                expected="the task that the teacher was trained on",
                fix=f"prefixbank train-multitask 'tasks=[{task.name}]'    and teacher=multitask/"
                f"{task.name}",
            )
    return heads
