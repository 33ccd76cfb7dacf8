"""Distillation: a student learns what its teacher puts out, beside the labels.

Sources: Hinton et al. 2015 (1503.02531), section 2, for the temperature; Du et al. 2020
(2004.14287), where students are the rivals of a shared encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import assert_never

import torch
from torch import Tensor
from torch.nn import functional

from prefixbank.choices import Kind
from prefixbank.core.shapes import Batch
from prefixbank.core.training.loop import Training, label_loss
from prefixbank.core.training.multitask import MultitaskLearner
from prefixbank.core.training.settings import TaskSettings


def soft_loss(kind: Kind, outputs: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Return the mean loss of a batch against the outputs of a teacher; 0 where they are equal.

    It is T² KL(p || q), with p of the teacher and q of the student. Of classes, p and q are the
    softmax of outputs / T. Of a label that a text has or has not they are the sigmoid of outputs /
    T and its complement, and the loss is the mean over the labels. T² keeps the gradients of all
    temperatures, which fall as 1 / T², of one size. For a regression it is the squared error,
    without a temperature.

    Args:
        kind: of the labels.
        outputs: [B, C] of the student; regression [B, 1].
        targets: [B, C] of the teacher.
        temperature: T; the larger, the more the small probabilities of the teacher count.
    """
    student, teacher = outputs.float(), targets.float()
    match kind:
        case "classification":
            divergence = functional.kl_div(
                functional.log_softmax(student / temperature, dim=-1),
                functional.log_softmax(teacher / temperature, dim=-1),
                reduction="batchmean",
                log_target=True,
            )
            return temperature**2 * divergence
        case "multilabel":
            of_student, of_teacher = (
                functional.binary_cross_entropy_with_logits(
                    one / temperature, torch.sigmoid(teacher / temperature)
                )
                for one in (student, teacher)
            )
            return temperature**2 * (of_student - of_teacher)
        case "regression":
            return functional.mse_loss(student, teacher)
    assert_never(kind)


@dataclass(frozen=True, kw_only=True, eq=False)
class Distillation:
    """The loss of a student.

    Args:
        targets: outputs [N, C] of the teacher for the train rows of each task, those of a
            regression in the units of its standardised labels.
        temperature: T of `soft_loss`.
        soft_weight: share of `soft_loss` in the loss; the rest is the loss against the labels.
    """

    targets: Sequence[Tensor]
    temperature: float
    soft_weight: float

    def loss(self, task: TaskSettings, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the mean loss of a batch from the student's outputs [B, C]."""
        targets = self.targets[batch.task][torch.from_numpy(batch.rows)].to(outputs.device)
        soft = soft_loss(task.kind, outputs, targets, self.temperature)
        hard = label_loss(task, outputs, batch)
        return self.soft_weight * soft + (1 - self.soft_weight) * hard


def teacher_outputs(
    teacher: MultitaskLearner, rows: Sequence[Sequence[Batch]], on_rows: Callable[[int], None]
) -> list[Tensor]:
    """Return the outputs [N, C] of a teacher for the rows of each task, fp32, on the CPU.

    Args:
        teacher: the encoder with its heads.
        rows: for each task, batches (`Batch.task`) that hold each row 0..N-1 once, in any order.
        on_rows: called with the number of rows of each finished batch.
    """
    of_tasks = []
    for task, batches in enumerate(rows):
        count = sum(len(batch.rows) for batch in batches)
        outputs = torch.empty(count, teacher.settings.tasks[task].num_outputs)
        for batch in batches:
            with torch.no_grad():
                found = teacher.outputs(batch, None)
            outputs[torch.from_numpy(batch.rows)] = found.float().cpu()
            on_rows(len(batch.rows))
        of_tasks.append(outputs)
    return of_tasks


def teacher_scores(teacher: MultitaskLearner, validation: Sequence[Sequence[Batch]]) -> list[float]:
    """Return a teacher's own score on the validation rows of each task, as a training scores."""
    return Training(
        teacher,
        teacher.settings,
        lambda epoch: (),
        validation,
        checkpoint=None,
        on_event=lambda event: None,
    ).scores()
