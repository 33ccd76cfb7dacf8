"""Fine-tuning on several tasks.

What is learned, what stays as it was, and that a killed run ends like one that was not.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import r2_score
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertModel

from prefixbank.core.pooling import Pooling
from prefixbank.core.shapes import Batch
from prefixbank.core.training.heads import new_head
from prefixbank.core.training.multitask import fit_multitask
from prefixbank.core.training.schedule import rate_factor
from prefixbank.core.training.settings import (
    FitEvent,
    MultitaskResult,
    TaskSettings,
    TrainingSettings,
)
from prefixbank.errors import TrainingError
from tests.core.toys import (
    CLS,
    MEAN,
    SETTINGS,
    SHAPE,
    batch_of,
    distance,
    new_albert,
    new_bert,
    run,
    state_bytes,
)
from tests.core.training.fits import (
    TRAIN,
    TRAIN_CLASSES,
    VALIDATION,
    VALIDATION_CLASSES,
    Killed,
    MemoryCheckpoint,
    gradients,
    labels_of,
    losses_of,
    script_scores,
    seed_global_state,
)

CLASSES = TaskSettings(kind="classification", metric="accuracy", num_outputs=2)
VALUES = TaskSettings(
    kind="regression", metric="r2", num_outputs=1, label_mean=100.0, label_scale=20.0
)
OPTIM = {
    name: getattr(SETTINGS, name)
    for name in (
        "weight_decay",
        "schedule",
        "warmup_ratio",
        "gradient_accumulation_steps",
        "max_grad_norm",
        "early_stopping_patience",
        "precision",
        "seed",
    )
}
FINE = TrainingSettings(
    tasks=(CLASSES, VALUES),
    pooling=MEAN,
    lr=1e-3,
    head_lr=1e-2,
    epochs=2,
    gradient_checkpointing=False,
    **OPTIM,
)


def mixed(
    rows: int = 16, batch_size: int = 4, tasks: Sequence[TaskSettings] = FINE.tasks
) -> Callable[[int], list[Batch]]:
    """Batches of an epoch.

    The first `rows` texts once for each task, tasks mixed in an order that depends on the epoch
    alone.
    """

    def batches(epoch: int) -> list[Batch]:
        made = []
        for task, wanted in enumerate(tasks):
            order = np.random.default_rng([epoch, task]).permutation(rows).tolist()
            labels = labels_of(wanted.kind, TRAIN_CLASSES)
            made += [
                replace(batch_of(TRAIN, labels, order[start : start + batch_size]), task=task)
                for start in range(0, rows, batch_size)
            ]
        return [made[place] for place in np.random.default_rng(epoch).permutation(len(made))]

    return batches


def fit(
    model: nn.Module,
    *,
    train: Callable[[int], list[Batch]] | None = None,
    checkpoint: MemoryCheckpoint | None = None,
    events: list[FitEvent] | None = None,
    **changes: Any,
) -> MultitaskResult:
    settings = replace(FINE, **changes)
    validation = [
        [batch_of(VALIDATION, labels_of(task.kind, VALIDATION_CLASSES), range(len(VALIDATION)))]
        for task in settings.tasks
    ]
    return fit_multitask(
        model,
        SHAPE,
        train or mixed(tasks=settings.tasks),
        validation,
        settings,
        checkpoint=checkpoint,
        on_event=lambda event: None if events is None else events.append(event),
    )


def everything(result: MultitaskResult) -> dict[str, Any]:
    """A result as values that compare by their bytes; the time it took left out."""
    tensors = {
        **result.encoder,
        **{
            f"head {place} {part}": pair[part]
            for place, pair in enumerate(result.heads)
            for part in (0, 1)
        },
        **{f"pooling {name}": tensor for name, tensor in result.pooling.items()},
    }
    as_bytes = {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}
    told = (result.score, result.scores, result.epoch, result.steps, result.examples, result.curve)
    return {**as_bytes, "told": told}


def tuned(result: MultitaskResult) -> BertModel:
    """The encoder that was returned."""
    model = new_bert()
    model.load_state_dict(result.encoder)
    return model


def outputs_of(result: MultitaskResult, task: int) -> np.ndarray:
    """Outputs of the returned encoder and head for the validation texts, each text alone.

    float64 [N, C].
    """
    model, (weight, bias), rows = tuned(result), result.heads[task], []
    for row in range(len(VALIDATION)):
        states = (
            run(model, batch_of(VALIDATION, VALIDATION_CLASSES, [row]).inputs)[0].double().numpy()
        )
        rows.append(weight.double().numpy() @ states.mean(axis=0) + bias.double().numpy())
    return np.stack(rows)


def without_dropout() -> BertModel:
    model = new_bert()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    for layer in model.encoder.layer:
        layer.attention.self.dropout.p = 0.0
    return model


@pytest.fixture(scope="module")
def trained(bert: BertModel) -> MultitaskResult:
    return fit(bert, epochs=12, train=mixed(40, 8), lr=2e-3)


def test_fit_learns_tasks_of_different_kinds_together(trained: MultitaskResult):
    assert trained.scores[0] > 0.85 and trained.scores[1] > 0.4


def test_returned_encoder_and_heads_have_the_returned_scores(trained: MultitaskResult):
    accuracy = (outputs_of(trained, 0).argmax(axis=1) == VALIDATION_CLASSES).mean()
    determination = r2_score(
        labels_of("regression", VALIDATION_CLASSES), outputs_of(trained, 1)[:, 0]
    )
    assert trained.scores == pytest.approx((accuracy, determination), abs=1e-4)


def test_score_is_the_mean_over_the_tasks(trained: MultitaskResult):
    assert trained.score == pytest.approx(np.mean(trained.scores))


def test_single_task_equals_a_plain_fine_tuning_loop(monkeypatch: pytest.MonkeyPatch):
    script_scores(monkeypatch, 0.1, 0.2)
    source = without_dropout()
    result = fit(source, tasks=(CLASSES,), epochs=2, weight_decay=0.1, schedule="cosine")
    model, head = copy.deepcopy(source).requires_grad_(True), new_head(SHAPE.hidden_size, 2, 1)
    groups = [
        {"params": list(model.parameters()), "top": 1e-3},
        {"params": list(head.parameters()), "top": 1e-2},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1.0, weight_decay=0.1)
    for step, batch in enumerate(
        batch for epoch in range(2) for batch in mixed(tasks=(CLASSES,))(epoch)
    ):
        for group in optimizer.param_groups:
            group["lr"] = group["top"] * rate_factor("cosine", step, 8, 0.1)
        states = model(**batch.inputs).last_hidden_state
        mask = batch.inputs["attention_mask"][..., None]
        loss = functional.cross_entropy(
            head((states * mask).sum(dim=1) / mask.sum(dim=1)), batch.labels
        )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([*model.parameters(), *head.parameters()], 1.0)
        optimizer.step()
    # A bias of all keys shifts all scores alike: its gradient is rounding, which AdamW scales up.
    compared = {
        name: tensor for name, tensor in model.state_dict().items() if "key.bias" not in name
    }
    assert len(compared) == len(model.state_dict()) - source.config.num_hidden_layers
    assert max(distance(result.encoder[name], tensor) for name, tensor in compared.items()) < 1e-5
    assert distance(result.heads[0][0], head.weight) < 1e-5 and losses_of(result)[
        -1
    ] == pytest.approx(float(loss.detach()), abs=1e-5)


def test_every_weight_of_the_encoder_is_trained(bert: BertModel):
    result = fit(bert)
    still = [
        name
        for name, tensor in bert.state_dict().items()
        if torch.equal(tensor, result.encoder[name])
    ]
    assert still == []


@pytest.mark.parametrize("gradient_checkpointing", [False, True], ids=["kept", "recomputed"])
def test_source_model_stays_as_it_was(bert: BertModel, gradient_checkpointing: bool):
    before = state_bytes(bert)
    result = fit(bert, gradient_checkpointing=gradient_checkpointing)
    assert result.steps == 16 and state_bytes(bert) == before
    assert not any(
        parameter.requires_grad or parameter.grad is not None for parameter in bert.parameters()
    )
    assert not any(
        module.training or getattr(module, "gradient_checkpointing", False)
        for module in bert.modules()
    )


def only(task: int) -> Callable[[int], list[Batch]]:
    return lambda epoch: [batch for batch in mixed()(epoch) if batch.task == task]


@pytest.mark.parametrize(("shown", "other"), [(0, 1), (1, 0)])
def test_rows_of_one_task_leave_the_head_of_another_alone(bert: BertModel, shown: int, other: int):
    start = fit(bert, epochs=0)
    result = fit(bert, train=only(shown), weight_decay=0.1)
    assert torch.equal(result.heads[other][0], start.heads[other][0]) and torch.equal(
        result.heads[other][1], start.heads[other][1]
    )
    assert distance(result.heads[shown][0], start.heads[shown][0]) > 1e-3


def test_rows_of_one_task_train_as_if_there_were_no_other(
    monkeypatch: pytest.MonkeyPatch, bert: BertModel
):
    script_scores(monkeypatch, *[0.1, 0.1, 0.2, 0.2])
    beside = fit(bert, train=only(0))
    script_scores(monkeypatch, 0.1, 0.2)
    alone = fit(bert, train=only(0), tasks=(CLASSES,))
    assert all(torch.equal(beside.encoder[name], alone.encoder[name]) for name in alone.encoder)
    assert torch.equal(beside.heads[0][0], alone.heads[0][0])


def test_heads_start_differently(bert: BertModel):
    heads = fit(bert, epochs=0, tasks=(CLASSES, CLASSES)).heads
    assert (
        torch.equal(heads[0][0], new_head(SHAPE.hidden_size, 2, 1).weight)
        and distance(heads[0][0], heads[1][0]) > 0.1
    )


def test_no_epochs_return_the_encoder_as_it_was(bert: BertModel):
    result = fit(bert, epochs=0)
    assert all(
        torch.equal(result.encoder[name], tensor) for name, tensor in bert.state_dict().items()
    )
    assert (result.epoch, result.steps, result.examples) == (0, 0, (0, 0))


def test_step_over_batches_of_two_tasks_has_the_mean_gradient():
    calm = without_dropout()
    first, second = (next(batch for batch in mixed()(0) if batch.task == task) for task in (0, 1))
    seen = []
    for batches, per_step in (([first, second], 2), ([first], 1), ([second], 1)):
        with gradients(clipped=False) as found:
            fit(
                calm,
                train=lambda epoch, given=batches: given,
                epochs=1,
                gradient_accumulation_steps=per_step,
                tasks=FINE.tasks,
            )
        seen.append(found)
    together, one, other = (found[0][0] for found in seen)
    assert distance(together, (one + other) / 2) < 1e-6 and distance(one, other) > 1e-6


@pytest.fixture
def lopsided(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores of both tasks after each of four epochs; their means are .50, .60, .55 and .60."""
    script_scores(monkeypatch, 0.9, 0.1, 0.6, 0.6, 0.2, 0.9, 0.7, 0.5)


@pytest.mark.usefixtures("lopsided")
def test_best_epoch_is_the_first_with_the_best_mean(
    bert: BertModel, monkeypatch: pytest.MonkeyPatch
):
    result = fit(bert, epochs=4, schedule="constant", warmup_ratio=0.0)
    script_scores(monkeypatch, 0.1, 0.1, 0.2, 0.2)
    stopped = fit(bert, epochs=2, schedule="constant", warmup_ratio=0.0)
    assert (result.epoch, result.score, result.scores, result.steps) == (2, 0.6, (0.6, 0.6), 32)
    assert all(torch.equal(result.encoder[name], stopped.encoder[name]) for name in stopped.encoder)
    assert all(
        torch.equal(one[0], other[0])
        for one, other in zip(result.heads, stopped.heads, strict=True)
    )


@pytest.mark.usefixtures("lopsided")
def test_patience_counts_epochs_without_a_better_mean(bert: BertModel):
    assert fit(bert, epochs=4, early_stopping_patience=1).steps == 24


@pytest.mark.usefixtures("lopsided")
def test_validation_lines_list_the_scores(bert: BertModel):
    events: list[FitEvent] = []
    lines = [line for line in fit(bert, epochs=4, events=events).curve if "validation" in line]
    assert lines[:2] == [
        {"step": 8, "epoch": 1, "validation": 0.5, "scores": [0.9, 0.1]},
        {"step": 16, "epoch": 2, "validation": 0.6, "scores": [0.6, 0.6]},
    ]
    assert [event.scores for event in events if event.validation is not None][0] == (0.9, 0.1)


def test_examples_are_counted_for_each_task(bert: BertModel):
    def train(epoch: int) -> list[Batch]:
        return [*only(0)(epoch)[:3], *only(1)(epoch)]

    assert fit(bert, train=train, epochs=3).examples == (36, 48)


def test_dropout_is_that_of_the_encoder(bert: BertModel):
    assert losses_of(fit(bert)) != losses_of(fit(without_dropout()))


def test_dropout_differs_between_steps(bert: BertModel):
    (batch,) = only(0)(0)[:1]
    losses = losses_of(
        fit(bert, train=lambda epoch: [batch, batch, batch], epochs=1, lr=1e-12, head_lr=1e-12)
    )
    assert len(set(losses)) == 3


def test_validation_uses_no_dropout(bert: BertModel):
    lines = fit(bert, epochs=2, lr=1e-12, head_lr=1e-12).curve
    first, second = [line["scores"] for line in lines if "scores" in line]
    assert first == pytest.approx(second, abs=1e-6)


def test_same_seed_gives_the_same_bytes_whatever_the_global_random_state(bert: BertModel):
    seed_global_state(1)
    one = everything(fit(bert))
    seed_global_state(2)
    assert everything(fit(bert)) == one


def test_other_seed_gives_other_bytes(bert: BertModel):
    assert losses_of(fit(bert, seed=1)) != losses_of(fit(bert, seed=2))


def test_fit_leaves_the_global_random_state_alone(bert: BertModel):
    before = torch.random.get_rng_state()
    assert fit(bert).steps and torch.equal(torch.random.get_rng_state(), before)


INTERRUPTED: dict[str, Any] = {
    "train": mixed(rows=12, batch_size=4),
    "gradient_accumulation_steps": 2,
    "weight_decay": 0.01,
}
"""6 batches in 3 steps each epoch, two epochs, and a state saved after each step and each epoch: 8
states."""


@pytest.fixture(scope="module")
def uninterrupted(bert: BertModel) -> dict[str, Any]:
    return everything(fit(bert, **INTERRUPTED))


@pytest.mark.parametrize("kill_after", range(1, 9))
def test_killed_run_resumes_to_the_same_bytes(
    bert: BertModel, uninterrupted: dict[str, Any], kill_after: int
):
    checkpoint = MemoryCheckpoint(kill_after)
    with pytest.raises(Killed):
        fit(bert, checkpoint=checkpoint, **INTERRUPTED)
    assert checkpoint.state is not None and not [
        name for name in checkpoint.state[0] if name.startswith("early.")
    ]
    seed_global_state(kill_after)
    assert (
        everything(fit(bert, checkpoint=checkpoint, **INTERRUPTED)) == uninterrupted
        and checkpoint.saves == 8
    )


LEARNED = Pooling(position=("mean", "attention"), layers="mix", last_k=1, layer=0, heads=2, size=5)


@pytest.mark.parametrize("kill_after", [1, 4, 6])
@pytest.mark.parametrize("binary", [False, True])
def test_killed_run_resumes_learned_pooling_to_the_same_bytes(
    bert: BertModel, kill_after: int, binary: bool
):
    settings = {**INTERRUPTED, "pooling": replace(LEARNED, binary=binary)}
    whole, checkpoint = fit(bert, **settings), MemoryCheckpoint(kill_after)
    with pytest.raises(Killed):
        fit(bert, checkpoint=checkpoint, **settings)
    resumed = fit(bert, checkpoint=checkpoint, **settings)
    assert everything(resumed) == everything(whole)


@pytest.mark.parametrize("binary", [False, True])
def test_pooling_is_learned_with_the_encoder(bert: BertModel, binary: bool):
    pooling = replace(LEARNED, binary=binary)
    start, end = (fit(bert, pooling=pooling, epochs=epochs).pooling for epochs in (0, 2))
    assert set(start) == set(end) == {"queries", "mix", "scale", "weight", "bias"}
    assert not start["queries"].any() and not start["mix"].any() and start["scale"] == 1
    assert all(distance(start[name], end[name]) > 1e-4 for name in start)
    assert fit(bert, epochs=0).pooling == {}


def test_recomputed_layers_drop_out_the_same(bert: BertModel):
    kept, recomputed = fit(bert), fit(bert, gradient_checkpointing=True)
    assert losses_of(recomputed) == pytest.approx(losses_of(kept), abs=1e-4)


def test_layers_that_are_not_pooled_stay_as_they_were(bert: BertModel):
    result = fit(bert, pooling=replace(CLS, layers="single", layer=1), weight_decay=0.1)
    moved = {
        name.split(".")[2]
        for name, tensor in bert.state_dict().items()
        if "layer." in name and distance(tensor, result.encoder[name])
    }
    assert moved == {"0"}


@pytest.mark.parametrize(
    ("pooling", "features"),
    [
        (replace(MEAN, layers="concat_last", last_k=2), 64),
        (replace(MEAN, position=("mean", "cls"), layers=(0, 1, 2)), 192),
    ],
    ids=str,
)
def test_vectors_of_several_layers_and_positions_reach_the_heads(
    bert: BertModel, pooling: Pooling, features: int
):
    heads = fit(bert, pooling=pooling).heads
    assert [tuple(weight.shape) for weight, _ in heads] == [(2, features), (1, features)]


def test_encoder_that_shares_layers_is_trained():
    source = new_albert()
    result, other = fit(source), new_albert()
    other.load_state_dict(result.encoder)
    assert state_bytes(other) != state_bytes(source)


def test_half_precision_keeps_the_encoder_in_single_precision(bert: BertModel):
    result = fit(bert, epochs=1, precision="bf16")
    assert {tensor.dtype for tensor in result.encoder.values()} == {torch.float32} and result.heads[
        0
    ][0].dtype == torch.float32


def test_loss_that_is_no_number_is_an_error(bert: BertModel):
    def train(epoch: int) -> list[Batch]:
        batches = mixed()(epoch)
        spoilt: Tensor = next(batch for batch in batches if batch.task == 1).labels
        spoilt[0] = torch.nan
        return batches

    with pytest.raises(TrainingError, match="the loss is nan at step") as caught:
        fit(bert, train=train)
    assert "optim.lr" in caught.value.fix and "prefix" not in caught.value.fix
