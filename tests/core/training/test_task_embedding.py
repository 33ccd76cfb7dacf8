"""The prefix after an early share of all optimiser steps.

Which step that is, and that a kill does not move it.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import BertModel

from prefixbank.core.shapes import Batch
from prefixbank.core.training.fit import embed_task
from prefixbank.core.training.schedule import early_step
from prefixbank.core.training.settings import FitEvent
from tests.core.toys import epochs_of
from tests.core.training.fits import (
    TRAIN,
    TRAIN_CLASSES,
    Killed,
    MemoryCheckpoint,
    everything,
    fit,
    script_scores,
)

STEADY: dict[str, Any] = {
    "schedule": "constant",
    "warmup_ratio": 0.0,
    "gated": True,
    "dropout": 0.2,
}
"""What a step does depends on no step after it."""


@pytest.mark.parametrize(
    ("share", "total", "step"),
    [
        (0.1, 10, 1),
        (0.1, 11, 2),
        (0.1, 3, 1),
        (1e-9, 5, 1),
        (0.5, 9, 5),
        (1.0, 7, 7),
        (0.07, 100, 7),
        (0.1, 30, 3),
        (0.1, 0, 1),
    ],
)
def test_early_step_is_the_share_of_all_steps_rounded_up(share: float, total: int, step: int):
    assert early_step(share, total) == step


@pytest.mark.parametrize(("share", "step"), [(0.1, 1), (0.3, 3), (0.5, 5)])
def test_task_embedding_is_the_prefix_of_a_run_that_ends_at_that_step(
    bert: BertModel, share: float, step: int
):
    def first_steps(epoch: int) -> list[Batch]:
        return epochs_of(TRAIN, TRAIN_CLASSES, 8)(epoch)[:step]

    whole = fit(bert, epochs=2, task_embedding_fraction=share, **STEADY)
    ended = fit(bert, train=first_steps, epochs=1, **STEADY)
    assert (whole.steps, whole.task_embedding_step, ended.steps) == (10, step, step)
    assert torch.equal(whole.task_embedding.tensor, ended.prefix.tensor)
    assert torch.equal(whole.task_embedding.log_gate, ended.prefix.log_gate)
    assert not torch.equal(whole.task_embedding.tensor, whole.prefix.tensor)


def test_task_embedding_of_all_steps_is_the_last_state(
    bert: BertModel, monkeypatch: pytest.MonkeyPatch
):
    script_scores(monkeypatch, 0.1, 0.2)
    result = fit(bert, epochs=2, task_embedding_fraction=1.0)
    assert result.task_embedding_step == 10 and torch.equal(
        result.task_embedding.tensor, result.prefix.tensor
    )


def test_task_embedding_is_the_start_without_training(bert: BertModel):
    result = fit(bert, epochs=0, gated=True)
    assert result.task_embedding_step == 0 and torch.equal(
        result.task_embedding.tensor, result.prefix.tensor
    )
    assert torch.equal(result.task_embedding.log_gate, result.prefix.log_gate)


def test_task_embedding_is_the_last_state_where_patience_ends_training_before_its_step(
    bert: BertModel, monkeypatch: pytest.MonkeyPatch
):
    script_scores(monkeypatch, 0.9, 0.8)
    stopped = fit(bert, epochs=9, early_stopping_patience=1, task_embedding_fraction=0.9, **STEADY)
    script_scores(monkeypatch, 0.1, 0.2)
    ended = fit(bert, epochs=2, **STEADY)
    assert (stopped.steps, stopped.epoch, stopped.task_embedding_step) == (10, 1, 10)
    assert torch.equal(stopped.task_embedding.tensor, ended.prefix.tensor)


def test_task_embedding_counts_the_steps_of_the_schedule_where_patience_ends_training(
    bert: BertModel, monkeypatch: pytest.MonkeyPatch
):
    script_scores(monkeypatch, 0.9, 0.8)
    assert (
        fit(
            bert, epochs=9, early_stopping_patience=1, task_embedding_fraction=0.2
        ).task_embedding_step
        == 9
    )


def test_share_changes_nothing_but_the_task_embedding(bert: BertModel):
    one, other = (everything(fit(bert, task_embedding_fraction=share)) for share in (0.2, 0.8))
    assert {name for name in one if one[name] != other[name]} == {"embedding", "embedding step"}


@pytest.mark.parametrize(
    "changes",
    [{}, {"early_stopping_patience": 1, "task_embedding_fraction": 1.0}],
    ids=["in the middle", "after the last step"],
)
@pytest.mark.parametrize("kill_after", range(1, 12))
def test_task_embedding_survives_a_kill_before_and_after_it(
    bert: BertModel, kill_after: int, changes: dict[str, Any]
):
    interrupted = {
        "epochs": 2,
        "task_embedding_fraction": 0.5,
        "gated": True,
        "dropout": 0.2,
        **changes,
    }
    checkpoint = MemoryCheckpoint(kill_after)
    with pytest.raises(Killed):
        fit(bert, checkpoint=checkpoint, **interrupted)
    assert everything(fit(bert, checkpoint=checkpoint, **interrupted)) == everything(
        fit(bert, **interrupted)
    )


def test_checkpoint_holds_the_task_embedding_once_it_is_there(bert: BertModel):
    checkpoint, held = MemoryCheckpoint(), list[bool]()
    save = checkpoint.save

    def watched(state: Any) -> None:
        held.append("early.prefix" in state[0])
        save(state)

    checkpoint.save = watched  # type: ignore[method-assign]
    fit(bert, epochs=1, task_embedding_fraction=0.6, checkpoint=checkpoint)
    assert held == [False, False, True, True, True, True]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.7, 1.0])
def test_short_run_gives_the_task_embedding_of_the_whole_training(bert: BertModel, share: float):
    changes: dict[str, Any] = {
        "epochs": 2,
        "task_embedding_fraction": share,
        "gated": True,
        "dropout": 0.2,
    }
    events: list[FitEvent] = []
    whole = fit(bert, **changes)
    embedding, step = fit(bert, by=embed_task, events=events, **changes)
    assert step == whole.task_embedding_step and torch.equal(
        embedding.tensor, whole.task_embedding.tensor
    )
    assert torch.equal(embedding.log_gate, whole.task_embedding.log_gate)
    assert max(event.step for event in events) == step


def test_short_run_without_training_gives_the_start(bert: BertModel):
    embedding, step = fit(bert, by=embed_task, epochs=0)
    assert step == 0 and torch.equal(embedding.tensor, fit(bert, epochs=0).prefix.tensor)


@pytest.mark.parametrize("kill_after", [1, 3, 4])
def test_short_run_that_is_killed_goes_on(bert: BertModel, kill_after: int):
    changes: dict[str, Any] = {"epochs": 2, "task_embedding_fraction": 0.5, "dropout": 0.2}
    checkpoint, events = MemoryCheckpoint(kill_after), list[FitEvent]()
    with pytest.raises(Killed):
        fit(bert, by=embed_task, checkpoint=checkpoint, **changes)
    embedding, step = fit(bert, by=embed_task, checkpoint=checkpoint, events=events, **changes)
    assert step == 5 and torch.equal(embedding.tensor, fit(bert, **changes).task_embedding.tensor)
    assert [event.step for event in events] == list(range(kill_after + 1, 6))
