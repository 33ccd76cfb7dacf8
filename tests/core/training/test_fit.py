"""Training a prefix.

What is learned, what stays as it was, and that a killed run ends like one that was not.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import r2_score
from torch import Tensor
from torch.nn import functional
from transformers import BertModel

from prefixbank.config.schema import PrefixRecipe
from prefixbank.core.attention.prefix_attention import Slots
from prefixbank.core.prefix import TrainablePrefix
from prefixbank.core.shapes import Batch
from prefixbank.core.training import loop as training
from prefixbank.core.training.heads import new_head
from prefixbank.core.training.schedule import rate_factor
from prefixbank.core.training.settings import FitEvent, FitResult
from prefixbank.data.tasks.task import Examples, Task
from prefixbank.errors import EncoderError, TrainingError
from prefixbank.runtime.checkpoint import FolderCheckpoint
from prefixbank.steps.train_prefix.settings import fit_settings
from tests.core.toys import (
    MEAN,
    SHAPE,
    START,
    batch_of,
    distance,
    epochs_of,
    new_albert,
    new_prefix,
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
    everything,
    fit,
    gradients,
    labels_of,
    losses_of,
    script_scores,
    seed_global_state,
)

LABEL_UNITS = {"kind": "regression", "num_outputs": 1, "label_mean": 100.0, "label_scale": 20.0}
FLAGS = {"kind": "multilabel", "metric": "macro_f1"}
LONG = {"epochs": 12, "lr": 0.1, "head_lr": 0.05}


def outputs_of(model: BertModel, result: FitResult) -> np.ndarray:
    """Outputs of the returned prefix and head for the validation texts, each text alone.

    float64 [N, C].
    """
    rows = []
    for row in range(len(VALIDATION)):
        states = (
            run(
                model, batch_of(VALIDATION, VALIDATION_CLASSES, [row]).inputs, result.prefix.slots()
            )[0]
            .double()
            .numpy()
        )
        rows.append(
            result.heads[0][0].double().numpy() @ states.mean(axis=0)
            + result.heads[0][1].double().numpy()
        )
    return np.stack(rows)


@pytest.mark.parametrize(
    "changes",
    [{}, FLAGS, {**LABEL_UNITS, "metric": "pearson"}],
    ids=["classification", "multilabel", "regression"],
)
@pytest.mark.parametrize("projection", ["none", "mlp"])
def test_fit_learns_a_task_that_can_be_learned(
    bert: BertModel, projection: str, changes: dict[str, Any]
):
    rate = {} if projection == "none" else {"lr": 1e-2}
    result = fit(bert, projection=projection, **{**LONG, **rate, **changes})
    assert np.mean(losses_of(result)[-5:]) < 0.4 * np.mean(
        losses_of(result)[:5]
    ) and result.score > (0.6 if "label_mean" in changes else 0.85)


def test_returned_prefix_and_head_have_the_returned_score(bert: BertModel):
    result = fit(bert, **LONG)
    right = outputs_of(bert, result).argmax(axis=1) == VALIDATION_CLASSES
    assert result.score == pytest.approx(right.mean())


def test_head_sees_all_layers_and_positions_side_by_side(bert: BertModel):
    pooling = replace(MEAN, position=("mean", "cls"), layers=(2, 0))
    result = fit(bert, pooling=pooling, epochs=2)
    ((weight, bias),) = result.heads
    assert weight.shape == (2, 4 * SHAPE.hidden_size)
    right = 0
    for row, wanted in enumerate(VALIDATION_CLASSES):
        inputs = batch_of(VALIDATION, VALIDATION_CLASSES, [row]).inputs
        with torch.no_grad():
            output = bert(
                **inputs,
                prefix_slots=result.prefix.slots(),
                attention_calls=[],
                output_hidden_states=True,
            )
        last, first = (output.hidden_states[layer][0] for layer in (2, 0))
        vector = torch.cat([last.mean(dim=0), last[0], first.mean(dim=0), first[0]])
        right += int((weight @ vector + bias).argmax() == wanted)
    assert result.score == pytest.approx(right / len(VALIDATION))


def test_fit_equals_a_plain_training_loop(bert: BertModel, monkeypatch: pytest.MonkeyPatch):
    script_scores(monkeypatch, 0.1, 0.2)
    result = fit(bert, epochs=2, weight_decay=0.1, schedule="cosine", gated=True)
    prefix, head = (
        TrainablePrefix(SHAPE, replace(START, gated=True), 0),
        new_head(SHAPE.hidden_size, 2, 1),
    )
    groups = [
        {"params": list(prefix.parameters()), "top": 3e-2},
        {"params": list(head.parameters()), "top": 1e-2},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1.0, weight_decay=0.1)
    for step, batch in enumerate(
        batch for epoch in range(2) for batch in epochs_of(TRAIN, TRAIN_CLASSES, 8)(epoch)
    ):
        for group in optimizer.param_groups:
            group["lr"] = group["top"] * rate_factor("cosine", step, 10, 0.1)
        tensor, gate = prefix.start, prefix.log_gate[..., None].expand(-1, -1, 4)
        slots = Slots(keys=tensor[:, 0], values=tensor[:, 1], bias=gate)
        states = bert(**batch.inputs, prefix_slots=slots).last_hidden_state
        mask = batch.inputs["attention_mask"][..., None]
        loss = functional.cross_entropy(
            head((states * mask).sum(dim=1) / mask.sum(dim=1)), batch.labels
        )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([*prefix.parameters(), *head.parameters()], 1.0)
        optimizer.step()
    assert (
        distance(result.prefix.tensor, prefix.start) < 1e-5
        and distance(result.prefix.log_gate, prefix.log_gate) < 1e-5
    )
    assert (
        distance(result.heads[0][0], head.weight) < 1e-5
        and distance(result.heads[0][1], head.bias) < 1e-5
    )
    assert losses_of(result)[-1] == pytest.approx(float(loss.detach()), abs=1e-5)


@pytest.mark.parametrize("gradient_checkpointing", [False, True], ids=["kept", "recomputed"])
def test_training_leaves_encoder_bytes_unchanged(bert: BertModel, gradient_checkpointing: bool):
    before = state_bytes(bert)
    result = fit(bert, gradient_checkpointing=gradient_checkpointing)
    assert result.steps == 10 and state_bytes(bert) == before
    assert not any(
        parameter.requires_grad or parameter.grad is not None for parameter in bert.parameters()
    )


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_same_seed_gives_the_same_bytes_whatever_the_global_random_state(
    bert: BertModel, dropout: float
):
    seed_global_state(1)
    one = fit(bert, dropout=dropout, gated=True)
    seed_global_state(2)
    assert everything(fit(bert, dropout=dropout, gated=True)) == everything(one)


def test_other_seed_gives_other_bytes(bert: BertModel):
    assert distance(fit(bert, seed=1).prefix.tensor, fit(bert, seed=2).prefix.tensor) > 0.1


def test_fit_leaves_the_global_random_state_alone(bert: BertModel):
    before = torch.random.get_rng_state()
    result = fit(bert, dropout=0.3, projection="mlp")
    assert result.steps > 0 and torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("projection", ["none", "mlp"])
def test_no_epochs_return_the_start_values(bert: BertModel, projection: str):
    result = fit(bert, epochs=0, projection=projection, gated=True, gate_init=-0.5, seed=5)
    start = TrainablePrefix(
        SHAPE, replace(START, projection=projection, gated=True, gate_init=-0.5), 5
    ).snapshot()
    assert torch.equal(result.prefix.tensor, start.tensor) and torch.equal(
        result.prefix.log_gate, start.log_gate
    )
    assert torch.equal(result.heads[0][0], new_head(SHAPE.hidden_size, 2, 6).weight) and (
        result.epoch,
        result.steps,
    ) == (0, 0)


@pytest.mark.parametrize("gated", [False, True])
def test_no_epochs_return_the_prefix_to_start_from_and_a_fresh_head(bert: BertModel, gated: bool):
    initial = new_prefix(3, gated=gated)
    result, random = (
        fit(bert, epochs=0, initial=initial, gated=gated),
        fit(bert, epochs=0, gated=gated),
    )
    assert torch.equal(result.prefix.tensor, initial.tensor) and torch.equal(
        result.heads[0][0], random.heads[0][0]
    )
    assert result.prefix.log_gate is initial.log_gate is None or torch.equal(
        result.prefix.log_gate, initial.log_gate
    )


def test_training_leaves_the_prefix_to_start_from_as_it_is(bert: BertModel):
    initial = new_prefix(3, gated=True)
    result = fit(bert, initial=initial, gated=True)
    assert (
        torch.equal(initial.tensor, new_prefix(3, gated=True).tensor)
        and distance(result.prefix.tensor, initial.tensor) > 1e-3
    )


def test_no_epochs_score_the_start_values(bert: BertModel):
    result = fit(bert, epochs=0)
    assert result.score == pytest.approx(
        (outputs_of(bert, result).argmax(axis=1) == VALIDATION_CLASSES).mean()
    )


def test_best_epoch_is_kept(bert: BertModel, monkeypatch: pytest.MonkeyPatch):
    script_scores(monkeypatch, 0.3, 0.9, 0.5, 0.9)
    result = fit(bert, epochs=4, schedule="constant", gated=True)
    script_scores(monkeypatch, 0.1, 0.2)
    stopped = fit(bert, epochs=2, schedule="constant", gated=True, warmup_ratio=0.2)
    assert (result.epoch, result.score, result.steps) == (2, 0.9, 20)
    assert torch.equal(result.prefix.tensor, stopped.prefix.tensor) and torch.equal(
        result.heads[0][0], stopped.heads[0][0]
    )


@pytest.mark.parametrize(("patience", "epochs"), [(0, 6), (1, 3), (2, 6), (3, 6)])
def test_patience_stops_after_epochs_without_a_better_score(
    bert: BertModel, monkeypatch: pytest.MonkeyPatch, patience: int, epochs: int
):
    script_scores(monkeypatch, 0.5, 0.6, 0.6, 0.7, 0.6, 0.5)
    result = fit(bert, rows=8, epochs=6, early_stopping_patience=patience)
    assert sum("validation" in line for line in result.curve) == epochs


@pytest.mark.parametrize("rows", [8, 6], ids=["4 + 4 rows", "4 + 2 rows"])
@pytest.mark.parametrize(
    "changes",
    [{}, {"gated": True, "projection": "mlp"}, FLAGS, {**LABEL_UNITS, "metric": "pearson"}],
)
def test_accumulated_batches_have_the_gradients_of_one_batch(
    bert: BertModel, changes: dict[str, Any], rows: int
):
    with gradients(clipped=False) as whole:
        fit(bert, rows=rows, batch_size=8, epochs=1, **changes)
    with gradients(clipped=False) as parts:
        fit(bert, rows=rows, batch_size=4, gradient_accumulation_steps=2, epochs=1, **changes)
    assert len(whole) == len(parts) == 1
    assert all(distance(one, other) < 1e-5 for one, other in zip(whole[0], parts[0], strict=True))


def test_accumulated_batches_end_like_one_batch(bert: BertModel):
    whole = fit(bert, batch_size=8, epochs=1, lr=1e-3, head_lr=1e-3)
    parts = fit(bert, batch_size=4, gradient_accumulation_steps=2, epochs=1, lr=1e-3, head_lr=1e-3)
    assert distance(whole.prefix.tensor, parts.prefix.tensor) < 1e-5 and losses_of(
        whole
    ) == pytest.approx(losses_of(parts), abs=1e-5)


def test_gradients_are_clipped_to_a_joint_norm(bert: BertModel):
    with gradients(clipped=False) as free, gradients(clipped=True) as clipped:
        fit(bert, max_grad_norm=0.05)
    norms = [
        [math.sqrt(sum(float(part.square().sum()) for part in step)) for step in steps]
        for steps in (free, clipped)
    ]
    assert (
        norms[1] == pytest.approx([min(norm, 0.05) for norm in norms[0]], rel=1e-3)
        and max(norms[0]) > 0.05
    )


def test_first_step_moves_prefix_and_head_by_their_own_rates(bert: BertModel):
    moves = {
        "schedule": "constant",
        "warmup_ratio": 0.0,
        "rows": 8,
        "lr": 1e-2,
        "head_lr": 1e-4,
        "gated": True,
    }
    start, result = fit(bert, epochs=0, **moves), fit(bert, epochs=1, **moves)
    assert distance(start.prefix.tensor, result.prefix.tensor) == pytest.approx(1e-2, rel=1e-2)
    assert distance(start.prefix.log_gate, result.prefix.log_gate) == pytest.approx(1e-2, rel=1e-2)
    assert distance(start.heads[0][0], result.heads[0][0]) == pytest.approx(1e-4, rel=1e-2)


def test_rates_follow_the_schedule(bert: BertModel):
    events: list[FitEvent] = []
    fit(bert, epochs=2, schedule="linear", warmup_ratio=0.2, lr=0.03, events=events)
    rates = [event.lr for event in events if event.validation is None]
    assert rates == pytest.approx(
        [
            0.03 * factor
            for factor in (1 / 3, 2 / 3, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8)
        ]
    )


def test_events_count_steps_and_epochs(bert: BertModel):
    events: list[FitEvent] = []
    fit(bert, rows=20, batch_size=4, gradient_accumulation_steps=2, epochs=2, events=events)
    steps = [
        (event.step, event.total_steps, event.epoch) for event in events if event.validation is None
    ]
    assert steps == [(1, 6, 0), (2, 6, 0), (3, 6, 0), (4, 6, 1), (5, 6, 1), (6, 6, 1)]


def test_validation_reports_the_share_of_its_batches_and_then_the_score(bert: BertModel):
    events: list[FitEvent] = []
    rows = range(len(VALIDATION))
    labels = labels_of("classification", VALIDATION_CLASSES)
    parts = [
        batch_of(VALIDATION[start : start + 8], labels[start : start + 8], range(8))
        for start in rows[::8]
    ]
    result = fit(bert, epochs=2, events=events, validation=parts)
    shares = [round(number / len(parts), 6) for number in range(1, len(parts))]
    seen = [
        "score" if event.validated is None else round(event.validated, 6)
        for event in events
        if event.validated is not None or event.validation is not None
    ]
    assert len(parts) > 2 and seen == [*shares, "score"] * 2
    assert len(result.curve) == len([event for event in events if event.validated is None])


def test_curve_holds_every_event(bert: BertModel):
    events: list[FitEvent] = []
    result = fit(bert, epochs=2, events=events)
    assert [(line["step"], line.get("loss"), line.get("validation")) for line in result.curve] == [
        (event.step, event.loss if event.validation is None else None, event.validation)
        for event in events
    ]


def test_regression_head_predicts_in_label_units(bert: BertModel):
    result = fit(bert, **LONG, **LABEL_UNITS, metric="pearson")
    errors = outputs_of(bert, result)[:, 0] - labels_of("regression", VALIDATION_CLASSES)
    assert np.sqrt(np.mean(errors**2)) < 15


def test_regression_loss_is_in_standard_units(bert: BertModel):
    result = fit(bert, epochs=1, lr=1e-9, head_lr=1e-9, **LABEL_UNITS, metric="pearson")
    start = fit(bert, epochs=0, **LABEL_UNITS, metric="pearson")
    batch = epochs_of(TRAIN, labels_of("regression", TRAIN_CLASSES), 8)(0)[0]
    states = run(bert, batch.inputs, start.prefix.slots())
    means = np.stack(
        [
            states[row, mask.bool()].mean(dim=0).numpy()
            for row, mask in enumerate(batch.inputs["attention_mask"])
        ]
    )
    predicted = means @ start.heads[0][0].numpy()[0] + float(start.heads[0][1])
    assert losses_of(result)[0] == pytest.approx(
        np.mean(((predicted - batch.labels.numpy()) / 20) ** 2), rel=1e-4
    )


@pytest.mark.parametrize("epochs", [0, 3])
def test_regression_score_is_in_label_units(bert: BertModel, epochs: int):
    result = fit(bert, **{**LONG, "epochs": epochs}, **LABEL_UNITS, metric="r2")
    expected = r2_score(labels_of("regression", VALIDATION_CLASSES), outputs_of(bert, result)[:, 0])
    assert result.score == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_regression_labels_that_are_all_equal_are_not_divided_by_zero():
    rows = Examples(texts=("a", "b"), pairs=None, labels=np.array([7.0, 7.0]))
    task = Task(
        name="t",
        kind="regression",
        metric="r2",
        labels=(),
        train=rows,
        validation=rows,
        test=rows,
        notes=(),
    )
    (found,) = fit_settings([task], PrefixRecipe()).tasks
    assert (found.label_mean, found.label_scale) == (7.0, 1.0)


@pytest.mark.parametrize("step", [1, 3, 4])
def test_loss_that_is_no_number_is_an_error_that_names_the_step(bert: BertModel, step: int):
    values = labels_of("regression", TRAIN_CLASSES)
    epoch, place = divmod(step - 1, 2)

    def train(number: int) -> list[Batch]:
        batches = epochs_of(TRAIN[:16], values, 8)(number)
        if number == epoch:
            batches[place].labels[3] = math.nan
        return batches

    with pytest.raises(
        TrainingError, match=rf"the loss is nan at step {step} \(epoch {epoch + 1}\)"
    ) as caught:
        fit(bert, train=train, metric="pearson", **LABEL_UNITS)
    assert "optim.lr" in caught.value.fix


@pytest.mark.parametrize(
    "changes", [{}, {**LABEL_UNITS, "metric": "pearson"}], ids=["classification", "regression"]
)
def test_outputs_that_are_no_numbers_are_an_error_and_no_result(
    bert: BertModel, changes: dict[str, Any]
):
    with pytest.raises(TrainingError, match=r"a validation output is nan after step 1 \(epoch 1\)"):
        fit(bert, rows=8, epochs=1, lr=1e30, schedule="constant", warmup_ratio=0.0, **changes)


def dropped_tensors(
    model: BertModel, monkeypatch: pytest.MonkeyPatch, **changes: Any
) -> list[Tensor]:
    """The prefix of every forward pass as a share of the undropped one."""
    seen: list[Tensor] = []
    forward = TrainablePrefix.forward

    def watched(self: TrainablePrefix, drop: Any = None) -> Any:
        prefix = forward(self, drop)
        seen.append((prefix.tensor / self.start).detach())
        return prefix

    monkeypatch.setattr(TrainablePrefix, "forward", watched)
    fit(model, **changes)
    return seen


def test_dropout_sets_a_share_of_entries_to_zero_and_scales_up_the_rest(
    bert: BertModel, monkeypatch: pytest.MonkeyPatch
):
    first = dropped_tensors(bert, monkeypatch, dropout=0.25, length=32, epochs=1)[0]
    assert torch.allclose(first[first != 0], torch.tensor(4 / 3)) and float(
        (first == 0).float().mean()
    ) == pytest.approx(0.25, abs=0.02)


def test_dropout_differs_between_steps_and_between_parts_of_a_step(
    bert: BertModel, monkeypatch: pytest.MonkeyPatch
):
    seen = dropped_tensors(
        bert, monkeypatch, dropout=0.25, epochs=1, batch_size=4, gradient_accumulation_steps=2
    )[:10]
    patterns = {(tensor == 0).numpy().tobytes() for tensor in seen}
    assert len(patterns) == 10


def test_validation_and_snapshots_use_no_dropout(bert: BertModel, monkeypatch: pytest.MonkeyPatch):
    seen = dropped_tensors(bert, monkeypatch, dropout=0.25, epochs=1)
    first, rest = [True, False], [True] * 4  # the task's embedding is kept after the first step
    assert [bool((tensor == 0).any()) for tensor in seen] == [*first, *rest, False, False]


INTERRUPTED: dict[str, Any] = {
    "rows": 20,
    "batch_size": 4,
    "gradient_accumulation_steps": 2,
    "epochs": 3,
    "dropout": 0.2,
    "gated": True,
    "weight_decay": 0.01,
}
"""5 batches in 3 steps each epoch, and a state saved after each step and each epoch: 12 states."""


@pytest.fixture(scope="module")
def uninterrupted(bert: BertModel) -> dict[str, Any]:
    return everything(fit(bert, **INTERRUPTED))


def fit_killed(model: BertModel, checkpoint: Any, **changes: Any) -> None:
    with pytest.raises(Killed):
        fit(model, checkpoint=checkpoint, **{**INTERRUPTED, **changes})


def test_checkpoints_change_nothing(bert: BertModel, uninterrupted: dict[str, Any]):
    checkpoint = MemoryCheckpoint()
    assert (
        everything(fit(bert, checkpoint=checkpoint, **INTERRUPTED)) == uninterrupted
        and checkpoint.saves == 12
    )


@pytest.mark.parametrize("kill_after", range(1, 13))
def test_killed_run_resumes_to_the_same_bytes(
    bert: BertModel, uninterrupted: dict[str, Any], kill_after: int
):
    checkpoint = MemoryCheckpoint(kill_after)
    fit_killed(bert, checkpoint)
    seed_global_state(kill_after)
    assert everything(fit(bert, checkpoint=checkpoint, **INTERRUPTED)) == uninterrupted


def test_run_killed_again_and_again_ends_with_the_same_bytes(
    bert: BertModel, uninterrupted: dict[str, Any]
):
    checkpoint = MemoryCheckpoint()
    for _ in range(12):
        checkpoint.kill_after = checkpoint.saves + 1
        fit_killed(bert, checkpoint)
    assert everything(fit(bert, checkpoint=checkpoint, **INTERRUPTED)) == uninterrupted


@pytest.mark.parametrize(
    "changes",
    [
        {"projection": "mlp"},
        {**FLAGS, "gradient_checkpointing": True},
        {**LABEL_UNITS, "metric": "spearman"},
        {"precision": "bf16"},
        {"schedule": "cosine", "early_stopping_patience": 1},
        {"initial": new_prefix(3, gated=True)},
    ],
    ids=["mlp", "multilabel recomputed", "regression", "bf16", "patience", "warm start"],
)
def test_killed_run_of_another_kind_resumes_to_the_same_bytes(
    bert: BertModel, changes: dict[str, Any]
):
    checkpoint = MemoryCheckpoint(6)
    fit_killed(bert, checkpoint, **changes)
    interrupted = {**INTERRUPTED, **changes}
    assert everything(fit(bert, checkpoint=checkpoint, **interrupted)) == everything(
        fit(bert, **interrupted)
    )


def test_resumed_run_remembers_its_best_epoch_and_its_patience(
    bert: BertModel, monkeypatch: pytest.MonkeyPatch
):
    checkpoint = MemoryCheckpoint(2 * 4 + 1)
    script_scores(monkeypatch, 0.9, 0.8, 0.7, 0.6)
    fit_killed(bert, checkpoint, epochs=5, early_stopping_patience=2)
    result = fit(
        bert, checkpoint=checkpoint, **{**INTERRUPTED, "epochs": 5, "early_stopping_patience": 2}
    )
    assert (result.epoch, result.score, result.steps) == (1, 0.9, 9)


@pytest.mark.parametrize("kill_after", [2, 5, 8])
def test_run_killed_between_files_resumes_to_the_same_bytes(
    bert: BertModel,
    uninterrupted: dict[str, Any],
    tmp_path: Path,
    kill_after: int,
    monkeypatch: pytest.MonkeyPatch,
):
    checkpoint = FolderCheckpoint(tmp_path, every_s=0.0)
    rename, saves = Path.replace, iter(range(1, 99))

    def killing(self: Path, target: Path) -> Path:
        if next(saves) == kill_after:
            raise Killed
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killing)
        fit_killed(bert, checkpoint)
    resumed = fit(bert, checkpoint=FolderCheckpoint(tmp_path, every_s=0.0), **INTERRUPTED)
    assert everything(resumed) == uninterrupted


@pytest.mark.parametrize("kill_after", [0, 5, 8])
def test_examples_count_the_rows_of_all_steps(bert: BertModel, kill_after: int):
    checkpoint = MemoryCheckpoint(kill_after)
    if kill_after:
        fit_killed(bert, checkpoint)
    assert fit(bert, checkpoint=checkpoint, **INTERRUPTED).examples == (3 * 20,)


@pytest.mark.parametrize("kill_after", [0, 5])
def test_seconds_add_up_over_runs(
    bert: BertModel, monkeypatch: pytest.MonkeyPatch, kill_after: int
):
    ticks = iter(range(0, 1000, 2))
    monkeypatch.setattr(training, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    checkpoint = MemoryCheckpoint(kill_after)
    if kill_after:
        fit_killed(bert, checkpoint)
    # The clock is read at each save, and at the end.
    assert fit(bert, checkpoint=checkpoint, **INTERRUPTED).seconds == 2 * (12 + 1)


def test_recomputed_layers_give_the_same_gradients(bert: BertModel):
    with gradients(clipped=False) as kept:
        fit(bert, rows=8, epochs=1, gated=True)
    with gradients(clipped=False) as recomputed:
        fit(bert, rows=8, epochs=1, gated=True, gradient_checkpointing=True)
    assert all(
        distance(one, other) < 1e-6 for one, other in zip(kept[0], recomputed[0], strict=True)
    )
    assert float(recomputed[0][0].abs().amax(dim=(1, 2, 3, 4)).min()) > 1e-6


def test_model_is_in_evaluation_mode_without_flags_after_recomputing(bert: BertModel):
    fit(bert, epochs=1, gradient_checkpointing=True)
    assert not any(
        module.training or getattr(module, "gradient_checkpointing", False)
        for module in bert.modules()
    )


def test_model_without_recomputing_is_refused():
    with pytest.raises(EncoderError, match="AlbertModel has no gradient checkpointing"):
        fit(new_albert(), gradient_checkpointing=True)


def test_half_precision_stays_near_single_precision(bert: BertModel):
    single, half = fit(bert, epochs=1), fit(bert, epochs=1, precision="bf16")
    assert losses_of(half) == pytest.approx(losses_of(single), abs=0.05) and losses_of(
        half
    ) != losses_of(single)


def test_half_precision_keeps_the_prefix_in_single_precision(bert: BertModel):
    result = fit(bert, epochs=1, precision="bf16", gated=True, projection="mlp")
    tensors = (result.prefix.tensor, result.prefix.log_gate, result.heads[0][0], result.heads[0][1])
    assert {tensor.dtype for tensor in tensors} == {torch.float32}


def test_run_in_half_precision_leaves_no_trace_on_the_next(bert: BertModel):
    before = everything(fit(bert, epochs=1))
    fit(bert, epochs=1, precision="bf16")
    assert everything(fit(bert, epochs=1)) == before
