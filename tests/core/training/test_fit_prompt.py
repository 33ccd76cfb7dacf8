"""Training a soft prompt, and training with either optimiser."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers import BertModel
from transformers.optimization import Adafactor

from prefixbank.choices import OptimizerName, PrefixKind
from prefixbank.core.prefix import trainable
from prefixbank.core.prompt import SoftPrompt, TrainablePrompt
from prefixbank.core.training.heads import new_head
from prefixbank.core.training.optimizers import new_optimizer, restore, state_of
from prefixbank.core.training.settings import FitResult
from tests.core.toys import SHAPE, START, distance, epochs_of, state_bytes
from tests.core.training.fits import (
    TRAIN,
    TRAIN_CLASSES,
    Killed,
    MemoryCheckpoint,
    everything,
    fit,
    losses_of,
    script_scores,
    seed_global_state,
)

SOFT = replace(START, kind="soft")
OPTIMIZERS = get_args(OptimizerName)
SPOT = {
    "optimizer": "adafactor",
    "lr": 0.1,
    "schedule": "constant",
    "warmup_ratio": 0.0,
    "weight_decay": 1e-5,
}
every_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS)


def fit_soft(model: BertModel, **changes: Any) -> FitResult:
    result = fit(model, **{"prefix": "soft", "init_scale": 0.2, **changes})
    assert isinstance(result.prefix, SoftPrompt)
    return result


def bytes_of(result: FitResult) -> tuple[Any, ...]:
    tensors = (result.prefix.tensor, result.heads[0][0], result.heads[0][1])
    return (
        *(tensor.numpy().tobytes() for tensor in tensors),
        result.score,
        result.epoch,
        result.steps,
        result.curve,
    )


def test_fit_learns_a_task_that_can_be_learned(bert: BertModel):
    result = fit_soft(bert, epochs=12, head_lr=0.05, lr=0.1)
    assert sum(losses_of(result)[-5:]) < 0.6 * sum(losses_of(result)[:5])


def test_fit_equals_a_plain_training_loop(bert: BertModel, monkeypatch: pytest.MonkeyPatch):
    script_scores(monkeypatch, 0.1, 0.2)
    result = fit_soft(bert, epochs=2, **SPOT)
    prompt, head = (
        nn.Parameter(
            trainable(bert, SHAPE, replace(SOFT, init_scale=0.2), 0)().tensor.detach().clone()
        ),
        new_head(32, 2, 1),
    )
    optimizer = Adafactor(
        [{"params": [prompt], "lr": 0.1}, {"params": list(head.parameters()), "lr": 1e-2}],
        weight_decay=1e-5,
        scale_parameter=False,
        relative_step=False,
    )
    for batch in (
        batch for epoch in range(2) for batch in epochs_of(TRAIN, TRAIN_CLASSES, 8)(epoch)
    ):
        ids, mask = batch.inputs["input_ids"], batch.inputs["attention_mask"]
        rows, width = ids.shape
        states = bert(
            inputs_embeds=torch.cat(
                [prompt.expand(rows, -1, -1), bert.embeddings.word_embeddings(ids)], dim=1
            ),
            attention_mask=torch.cat([torch.ones(rows, 4, dtype=mask.dtype), mask], dim=1),
            position_ids=torch.tensor([[0] * 4 + list(range(width))]),
        ).last_hidden_state[:, 4:]
        loss = functional.cross_entropy(
            head((states * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)),
            batch.labels,
        )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([prompt, *head.parameters()], 1.0)
        optimizer.step()
    assert (
        distance(result.prefix.tensor, prompt) < 1e-4
        and distance(result.heads[0][0], head.weight) < 1e-4
    )
    assert losses_of(result)[-1] == pytest.approx(float(loss.detach()), abs=1e-4)


def test_half_precision_trains_a_prompt_kept_in_full(bert: BertModel):
    half, full = fit_soft(bert, precision="bf16"), fit_soft(bert)
    assert half.prefix.tensor.dtype == torch.float32 and losses_of(half)[0] == pytest.approx(
        losses_of(full)[0], rel=0.05
    )


@pytest.mark.parametrize("gradient_checkpointing", [False, True], ids=["kept", "recomputed"])
def test_training_leaves_encoder_bytes_unchanged(bert: BertModel, gradient_checkpointing: bool):
    before = state_bytes(bert)
    result = fit_soft(bert, gradient_checkpointing=gradient_checkpointing)
    assert result.steps == 10 and state_bytes(bert) == before
    assert not any(
        parameter.requires_grad or parameter.grad is not None for parameter in bert.parameters()
    )


def test_recomputed_layers_give_the_same_prompt(bert: BertModel):
    assert (
        distance(
            fit_soft(bert).prefix.tensor, fit_soft(bert, gradient_checkpointing=True).prefix.tensor
        )
        < 1e-5
    )


def test_dropout_changes_training_and_depends_on_the_seed_alone(bert: BertModel):
    seed_global_state(1)
    one = fit_soft(bert, dropout=0.3)
    seed_global_state(2)
    assert (
        bytes_of(fit_soft(bert, dropout=0.3)) == bytes_of(one)
        and distance(one.prefix.tensor, fit_soft(bert).prefix.tensor) > 1e-3
    )


def test_no_epochs_keep_the_start_values(bert: BertModel):
    start = trainable(bert, SHAPE, replace(SOFT, init_scale=0.2), 0)().tensor
    assert torch.equal(fit_soft(bert, epochs=0).prefix.tensor, start)


def test_random_start_values_are_normal_and_come_from_the_seed(bert: BertModel):
    wide = replace(SOFT, length=400, init_scale=0.3)
    before = torch.get_rng_state()
    one, same, other = (trainable(bert, SHAPE, wide, seed).snapshot().tensor for seed in (3, 3, 4))
    assert (
        torch.equal(torch.get_rng_state(), before)
        and torch.equal(one, same)
        and not torch.equal(one, other)
    )
    assert float(one.std()) == pytest.approx(0.3, rel=0.05) and abs(float(one.mean())) < 0.02


def test_words_to_begin_with_are_rows_of_the_embedding_matrix(bert: BertModel):
    prompt = trainable(bert, SHAPE, replace(SOFT, words=(7, 3, 7, 11)), 0)
    assert isinstance(prompt, TrainablePrompt) and torch.equal(
        prompt().tensor, bert.embeddings.word_embeddings.weight[[7, 3, 7, 11]]
    )


@every_optimizer
@pytest.mark.parametrize("prefix", ["deep", "soft"])
@pytest.mark.parametrize("kill_after", [1, 4, 6])
def test_killed_run_resumes_to_the_same_bytes(
    bert: BertModel, optimizer: OptimizerName, prefix: PrefixKind, kill_after: int
):
    changes = {
        "prefix": prefix,
        "optimizer": optimizer,
        "epochs": 3,
        "rows": 20,
        "weight_decay": 0.01,
        "dropout": 0.2,
    }
    checkpoint = MemoryCheckpoint(kill_after)
    with pytest.raises(Killed):
        fit(bert, checkpoint=checkpoint, **changes)
    resumed, whole = fit(bert, checkpoint=checkpoint, **changes), fit(bert, **changes)
    assert bytes_of(resumed) == bytes_of(whole)
    assert prefix == "soft" or everything(resumed) == everything(whole)


def test_adafactor_steps_at_the_rate_given_whatever_the_size_of_the_parameters():
    """Its first step is the sign of a gradient of one absolute value, times the rate."""
    weights = [nn.Parameter(torch.full((3, 4), size)) for size in (0.001, 100.0)]
    optimizer = new_optimizer("adafactor", [{"params": weights}], lr=0.3, weight_decay=0.0)
    before = [weight.detach().clone() for weight in weights]
    for weight in weights:
        weight.grad = torch.full((3, 4), 0.7)
    optimizer.step()
    assert all(
        torch.allclose(old - new, torch.full((3, 4), 0.3), atol=1e-4)
        for old, new in zip(before, weights, strict=True)
    )


@every_optimizer
def test_state_of_an_optimiser_is_restored(optimizer: OptimizerName):
    def stepped(times: int, weight: nn.Parameter, made: torch.optim.Optimizer) -> None:
        for step in range(times):
            weight.grad = torch.linspace(-1.0, 1.0, 12).reshape(3, 4) * (step + 1)
            made.step()

    one, other = nn.Parameter(torch.ones(3, 4)), nn.Parameter(torch.ones(3, 4))
    first, second = (
        new_optimizer(optimizer, [{"params": [weight]}], lr=0.1, weight_decay=0.1)
        for weight in (one, other)
    )
    stepped(3, one, first)
    restore(second, *deepcopy(state_of(first)))
    with torch.no_grad():
        other.copy_(one)
    stepped(2, one, first)
    stepped(2, other, second)
    assert torch.equal(one, other)
