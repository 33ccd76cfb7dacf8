"""Distillation: the loss against its definition, what a teacher puts out, and whole trainings."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit, log_expit, log_softmax, softmax
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertModel

from prefixbank.choices import Kind
from prefixbank.core.training.distill import (
    Distillation,
    soft_loss,
    teacher_outputs,
    teacher_scores,
)
from prefixbank.core.training.heads import new_head
from prefixbank.core.training.loop import label_loss
from prefixbank.core.training.multitask import MultitaskLearner, fit_multitask
from prefixbank.core.training.schedule import rate_factor
from prefixbank.core.training.settings import Head, MultitaskResult, TrainingSettings
from tests.core.toys import SHAPE, batch_of, distance, new_bert
from tests.core.training.fits import (
    TRAIN,
    TRAIN_CLASSES,
    VALIDATION,
    VALIDATION_CLASSES,
    Killed,
    MemoryCheckpoint,
    labels_of,
    losses_of,
    seed_global_state,
)
from tests.core.training.test_multitask import (
    CLASSES,
    FINE,
    VALUES,
    everything,
    mixed,
    without_dropout,
)

RNG = np.random.default_rng(0)
STUDENT, TEACHER = RNG.normal(size=(2, 5, 3)) * 3
ROWS = 16
BOTH = (CLASSES, VALUES)


def by_definition(kind: Kind, z: np.ndarray, t: np.ndarray, temperature: float) -> float:
    """T^2 times the divergence of the student from the teacher, in float64."""
    if kind == "regression":
        return float(np.mean((z - t) ** 2))
    z, t = z / temperature, t / temperature
    if kind == "classification":
        p = softmax(t, axis=1)
        each = (p * (log_softmax(t, axis=1) - log_softmax(z, axis=1))).sum(axis=1)
    else:
        p = expit(t)
        each = p * (log_expit(t) - log_expit(z)) + (1 - p) * (log_expit(-t) - log_expit(-z))
    return float(temperature**2 * each.mean())


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("kind", ["classification", "multilabel", "regression"])
def test_soft_loss_is_its_definition_and_zero_for_equal_outputs(kind: Kind, temperature: float):
    z, t = (torch.tensor(one[:, :1] if kind == "regression" else one) for one in (STUDENT, TEACHER))
    expected = by_definition(kind, z.numpy(), t.numpy(), temperature)
    assert float(soft_loss(kind, z, t, temperature)) == pytest.approx(expected, rel=1e-5)
    assert float(soft_loss(kind, t, t, temperature)) == pytest.approx(0, abs=1e-6)


def test_gradient_of_classes_is_the_difference_of_probabilities_times_the_temperature():
    z = torch.tensor(STUDENT, requires_grad=True)
    soft_loss("classification", z, torch.tensor(TEACHER), 4.0).backward()
    expected = 4.0 * (softmax(STUDENT / 4, axis=1) - softmax(TEACHER / 4, axis=1)) / len(STUDENT)
    np.testing.assert_allclose(z.grad, expected, atol=1e-6)


@pytest.fixture(scope="module")
def heads() -> list[Head]:
    """Heads for classes and for values, in the units of the labels."""
    found = (new_head(SHAPE.hidden_size, outputs, 7 + outputs) for outputs in (2, 1))
    made = [(head.weight.detach(), head.bias.detach()) for head in found]
    return [made[0], (made[1][0] * VALUES.label_scale, made[1][1] + VALUES.label_mean)]


@pytest.fixture(scope="module")
def teacher(heads: list[Head]) -> MultitaskLearner:
    return MultitaskLearner(new_bert(), SHAPE, FINE, heads)


def rows_once(task: int) -> list[Any]:
    """The train rows in an order of their own."""
    labels, order = labels_of(BOTH[task].kind, TRAIN_CLASSES), np.arange(ROWS)[::-1]
    return [
        replace(batch_of(TRAIN, labels, order[start : start + 5].tolist()), task=task)
        for start in range(0, ROWS, 5)
    ]


@pytest.fixture(scope="module")
def targets(teacher: MultitaskLearner) -> list[Tensor]:
    return teacher_outputs(teacher, [rows_once(0), rows_once(1)], lambda count: None)


def test_teacher_outputs_are_in_the_order_of_the_rows(
    targets: list[Tensor], teacher: MultitaskLearner, heads: list[Head]
):
    for row in range(ROWS):
        inputs = batch_of(TRAIN, TRAIN_CLASSES, [row]).inputs
        with torch.no_grad():
            vector = teacher.model(**inputs).last_hidden_state[0].mean(dim=0)
        classes, value = (weight @ vector + bias for weight, bias in heads)
        scaled = (value - VALUES.label_mean) / VALUES.label_scale
        assert distance(targets[0][row], classes) < 1e-5
        assert distance(targets[1][row], scaled) < 1e-5


def test_rows_of_the_teacher_are_counted(teacher: MultitaskLearner):
    counts: list[int] = []
    teacher_outputs(teacher, [rows_once(0)], counts.append)
    assert counts == [5, 5, 5, 1]


def validation() -> list[list[Any]]:
    return [
        [batch_of(VALIDATION, labels_of(task.kind, VALIDATION_CLASSES), range(len(VALIDATION)))]
        for task in BOTH
    ]


def fit(model: nn.Module, *, checkpoint: Any = None, **changes: Any) -> MultitaskResult:
    start = {name: changes.pop(name) for name in ("heads", "loss") if name in changes}
    return fit_multitask(
        model,
        SHAPE,
        mixed(rows=ROWS),
        validation(),
        replace(FINE, **changes),
        checkpoint=checkpoint,
        **start,
    )


def test_teacher_scores_are_those_of_a_training_that_starts_from_it(
    bert: BertModel, teacher: MultitaskLearner, heads: list[Head]
):
    assert tuple(teacher_scores(teacher, validation())) == fit(bert, heads=heads, epochs=0).scores


def test_heads_start_from_those_given(bert: BertModel, heads: list[Head]):
    found = fit(bert, heads=heads, epochs=0).heads
    assert torch.equal(found[0][0], heads[0][0]) and torch.equal(found[0][1], heads[0][1])
    assert distance(found[1][0], heads[1][0]) < 1e-5 and distance(found[1][1], heads[1][1]) < 1e-4


def distillation(targets: list[Tensor], soft_weight: float) -> Distillation:
    return Distillation(targets=targets, temperature=2.0, soft_weight=soft_weight)


@pytest.mark.parametrize("task", [0, 1])
def test_loss_mixes_the_loss_of_the_teacher_and_that_of_the_labels(
    targets: list[Tensor], task: int
):
    settings, batch = BOTH[task], rows_once(task)[1]
    outputs = torch.randn(len(batch.rows), settings.num_outputs)
    loss = distillation(targets, 0.25).loss(settings, outputs, batch)
    wanted = targets[task].numpy()[batch.rows]
    soft = by_definition(settings.kind, outputs.numpy(), wanted, 2.0)
    if settings.kind == "regression":
        hard = np.mean((outputs.numpy()[:, 0] - (batch.labels.numpy() - 100.0) / 20.0) ** 2)
    else:
        hard = float(functional.cross_entropy(outputs, batch.labels))
    assert float(loss) == pytest.approx(0.25 * soft + 0.75 * hard, rel=1e-5)
    assert float(label_loss(settings, outputs, batch)) == pytest.approx(hard, rel=1e-5)


def test_no_weight_of_the_teacher_is_the_training_on_labels(
    bert: BertModel, targets: list[Tensor], heads: list[Head]
):
    loss = distillation(targets, 0.0).loss
    assert everything(fit(bert, heads=heads, loss=loss)) == everything(fit(bert, heads=heads))


def test_student_that_equals_its_teacher_learns_nothing_of_it(
    targets: list[Tensor], heads: list[Head]
):
    loss = distillation(targets, 1.0).loss
    losses = losses_of(fit(without_dropout(), heads=heads, loss=loss, lr=1e-12, head_lr=1e-12))
    assert max(map(abs, losses)) < 1e-5


def test_training_equals_a_plain_loop(targets: list[Tensor], heads: list[Head]):
    source, one = without_dropout(), (CLASSES,)
    batches, settings = mixed(rows=ROWS, tasks=one), replace(FINE, tasks=one, epochs=1)
    loss = distillation(targets, 0.7).loss
    result = fit_multitask(
        source, SHAPE, batches, validation()[:1], settings, heads=heads[:1], loss=loss
    )
    model, head = copy.deepcopy(source).requires_grad_(True), plain_loop_head(heads[0])
    trained_plainly(model, head, batches(0), targets[0].numpy(), settings)
    # AdamW scales up what rounding leaves of small gradients; weights move by 2e-3. The gradient of
    # a bias of all keys is rounding alone.
    weights = {name: one for name, one in model.state_dict().items() if "key.bias" not in name}
    assert max(distance(result.encoder[name], tensor) for name, tensor in weights.items()) < 1e-4
    assert distance(result.heads[0][0], head.weight) < 1e-4


def plain_loop_head(values: Head) -> nn.Linear:
    head = nn.Linear(SHAPE.hidden_size, 2)
    head.load_state_dict(dict(zip(("weight", "bias"), values, strict=True)))
    return head


def trained_plainly(
    model: BertModel,
    head: nn.Linear,
    batches: list[Any],
    teacher: np.ndarray,
    settings: TrainingSettings,
) -> None:
    """Minimise 0.7 * T^2 * KL + 0.3 * cross-entropy at T = 2."""
    parameters = [(model, settings.lr), (head, settings.head_lr)]
    optimizer = torch.optim.AdamW(
        [{"params": list(part.parameters()), "top": rate} for part, rate in parameters],
        weight_decay=0.0,
    )
    for step, batch in enumerate(batches):
        for group in optimizer.param_groups:
            factor = rate_factor(settings.schedule, step, len(batches), settings.warmup_ratio)
            group["lr"] = group["top"] * factor
        mask = batch.inputs["attention_mask"][..., None]
        states = model(**batch.inputs).last_hidden_state
        outputs = head((states * mask).sum(dim=1) / mask.sum(dim=1))
        p = torch.tensor(softmax(teacher[batch.rows] / 2, axis=1))
        divergence = (p * (p.log() - (outputs / 2).softmax(dim=1).log())).sum(dim=1).mean()
        loss = 0.7 * 4 * divergence + 0.3 * functional.cross_entropy(outputs, batch.labels)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([*model.parameters(), *head.parameters()], 1.0)
        optimizer.step()


@pytest.mark.parametrize("kill_after", [1, 4, 9])
def test_killed_training_resumes_to_the_same_bytes(
    bert: BertModel, targets: list[Tensor], heads: list[Head], kill_after: int
):
    given: dict[str, Any] = {"heads": heads, "loss": distillation(targets, 0.5).loss}
    checkpoint = MemoryCheckpoint(kill_after)
    with pytest.raises(Killed):
        fit(bert, checkpoint=checkpoint, **given)
    seed_global_state(kill_after)
    assert everything(fit(bert, checkpoint=checkpoint, **given)) == everything(fit(bert, **given))
