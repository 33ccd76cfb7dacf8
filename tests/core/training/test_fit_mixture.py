"""Training one prefix on several tasks.

One head for each, and one that is shown alone trains as if there were no other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import BertModel

from prefixbank.core.attention.prefix_attention import Slots
from prefixbank.core.prefix import TrainablePrefix
from prefixbank.core.shapes import Batch
from prefixbank.core.training.fit import embed_task, fit_prefix
from prefixbank.core.training.heads import new_head
from prefixbank.core.training.schedule import rate_factor
from prefixbank.core.training.settings import FitResult
from tests.core.toys import SETTINGS, SHAPE, START, batch_of, distance, run
from tests.core.training.fits import (
    VALIDATION,
    VALIDATION_CLASSES,
    Killed,
    MemoryCheckpoint,
    labels_of,
    losses_of,
    script_scores,
    seed_global_state,
)
from tests.core.training.test_multitask import CLASSES, mixed

FLAGS = replace(CLASSES, kind="multilabel", metric="macro_f1")
TASKS = (CLASSES, FLAGS)


def fit(
    model: BertModel,
    *,
    by: Callable[..., Any] = fit_prefix,
    train: Any = None,
    checkpoint: Any = None,
    **changes: Any,
) -> Any:
    settings = replace(SETTINGS, **{"tasks": TASKS, **changes})
    validation = [
        [batch_of(VALIDATION, labels_of(task.kind, VALIDATION_CLASSES), range(len(VALIDATION)))]
        for task in settings.tasks
    ]
    return by(
        model,
        SHAPE,
        train or mixed(tasks=settings.tasks),
        validation,
        settings,
        checkpoint=checkpoint,
    )


def everything(result: FitResult) -> dict[str, Any]:
    """A result as values that compare by their bytes; the time it took left out."""
    tensors = [
        result.prefix.tensor,
        result.task_embedding.tensor,
        *(part for pair in result.heads for part in pair),
    ]
    told = (
        result.score,
        result.scores,
        result.epoch,
        result.steps,
        result.examples,
        result.curve,
        result.task_embedding_step,
    )
    return {"tensors": [tensor.numpy().tobytes() for tensor in tensors], "told": told}


def only(task: int) -> Callable[[int], list[Batch]]:
    return lambda epoch: [batch for batch in mixed(tasks=TASKS)(epoch) if batch.task == task]


def test_fit_equals_a_plain_training_loop(bert: BertModel, monkeypatch: pytest.MonkeyPatch):
    script_scores(monkeypatch, 0.1, 0.1, 0.2, 0.2)
    result = fit(bert, weight_decay=0.1)
    prefix, heads = (
        TrainablePrefix(SHAPE, START, 0),
        [new_head(SHAPE.hidden_size, 2, seed) for seed in (1, 2)],
    )
    groups = [
        {"params": [prefix.start], "top": 3e-2},
        {"params": [one for head in heads for one in head.parameters()], "top": 1e-2},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1.0, weight_decay=0.1)
    for step, batch in enumerate(
        batch for epoch in range(2) for batch in mixed(tasks=TASKS)(epoch)
    ):
        for group in optimizer.param_groups:
            group["lr"] = group["top"] * rate_factor("linear", step, 16, 0.1)
        slots = Slots(keys=prefix.start[:, 0], values=prefix.start[:, 1], bias=None)
        states = bert(**batch.inputs, prefix_slots=slots).last_hidden_state
        mask = batch.inputs["attention_mask"][..., None]
        outputs = heads[batch.task]((states * mask).sum(dim=1) / mask.sum(dim=1))
        loss_of = (
            functional.cross_entropy
            if batch.task == 0
            else functional.binary_cross_entropy_with_logits
        )
        loss = loss_of(outputs, batch.labels)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(
            [prefix.start, *(one for head in heads for one in head.parameters())], 1.0
        )
        optimizer.step()
    assert distance(result.prefix.tensor, prefix.start) < 1e-5
    assert all(
        distance(found[0], head.weight) < 1e-5
        for found, head in zip(result.heads, heads, strict=True)
    )
    assert losses_of(result)[-1] == pytest.approx(float(loss.detach()), abs=1e-5)


def test_rows_of_one_task_train_as_if_there_were_no_other(
    bert: BertModel, monkeypatch: pytest.MonkeyPatch
):
    script_scores(monkeypatch, 0.1, 0.1, 0.2, 0.2)
    beside = fit(bert, train=only(0), weight_decay=0.1)
    script_scores(monkeypatch, 0.1, 0.2)
    alone = fit(bert, train=only(0), weight_decay=0.1, tasks=(CLASSES,))
    assert torch.equal(beside.prefix.tensor, alone.prefix.tensor) and torch.equal(
        beside.heads[0][0], alone.heads[0][0]
    )
    assert torch.equal(beside.heads[1][0], new_head(SHAPE.hidden_size, 2, 2).weight)


def test_returned_prefix_and_heads_have_the_returned_scores(bert: BertModel):
    result = fit(
        bert, train=mixed(40, 8, TASKS), epochs=6, lr=0.1, head_lr=0.05, tasks=(CLASSES, CLASSES)
    )
    found = []
    for weight, bias in result.heads:
        states = [
            run(
                bert, batch_of(VALIDATION, VALIDATION_CLASSES, [row]).inputs, result.prefix.slots()
            )[0]
            for row in range(24)
        ]
        outputs = np.stack([(weight @ state.mean(dim=0) + bias).numpy() for state in states])
        found.append((outputs.argmax(axis=1) == VALIDATION_CLASSES).mean())
    assert result.scores == pytest.approx(found) and result.score == pytest.approx(np.mean(found))


def test_best_epoch_is_the_first_with_the_best_mean(
    bert: BertModel, monkeypatch: pytest.MonkeyPatch
):
    script_scores(monkeypatch, 0.9, 0.1, 0.6, 0.6, 0.2, 0.9, 0.7, 0.5)
    result = fit(bert, epochs=4)
    assert (result.epoch, result.score, result.scores) == (2, 0.6, (0.6, 0.6))
    assert [line["scores"] for line in result.curve if "scores" in line] == [
        [0.9, 0.1],
        [0.6, 0.6],
        [0.2, 0.9],
        [0.7, 0.5],
    ]


def test_curve_of_one_task_lists_no_scores(bert: BertModel):
    assert not [line for line in fit(bert, tasks=(CLASSES,)).curve if "scores" in line]


def test_examples_are_counted_for_each_task(bert: BertModel):
    assert fit(
        bert, train=lambda epoch: [*only(0)(epoch)[:3], *only(1)(epoch)], epochs=3
    ).examples == (36, 48)


INTERRUPTED: dict[str, Any] = {
    "train": mixed(12, 4, TASKS),
    "gradient_accumulation_steps": 2,
    "task_embedding_fraction": 0.4,
    "weight_decay": 0.01,
}
"""6 batches in 3 steps each epoch, two epochs, and a state saved after each step and each epoch: 8
states."""


@pytest.fixture(scope="module")
def uninterrupted(bert: BertModel) -> dict[str, Any]:
    return everything(fit(bert, **INTERRUPTED))


@pytest.mark.parametrize("kill_after", [1, 3, 4, 5, 8])
def test_killed_run_resumes_to_the_same_bytes(
    bert: BertModel, uninterrupted: dict[str, Any], kill_after: int
):
    checkpoint = MemoryCheckpoint(kill_after)
    with pytest.raises(Killed):
        fit(bert, checkpoint=checkpoint, **INTERRUPTED)
    seed_global_state(kill_after)
    assert (
        everything(fit(bert, checkpoint=checkpoint, **INTERRUPTED)) == uninterrupted
        and checkpoint.saves == 8
    )


def test_task_embedding_alone_is_that_of_the_whole_training(
    bert: BertModel, uninterrupted: dict[str, Any]
):
    embedding, step = fit(bert, by=embed_task, **INTERRUPTED)
    assert (embedding.tensor.numpy().tobytes(), step) == (uninterrupted["tensors"][1], 3)
