"""Which batches a training saw, and what they cost."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from prefixbank.core.shapes import Batch
from prefixbank.core.training.flops import finetune_flops, prefix_flops
from prefixbank.steps import flops
from prefixbank.steps.flops import batches_seen, finetuning_flops, prefix_training_flops
from tests.core.toys import MEAN, SETTINGS, SHAPE, START, new_bert

WIDTHS = ([2, 3, 5], [3, 7, 7])
"""T of the batches of even and of odd epochs."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """The part of an encoder that counting needs."""

    model: torch.nn.Module
    shape: object


@pytest.fixture(scope="module")
def encoder() -> Loaded:
    return Loaded(model=new_bert(), shape=SHAPE)


def batch(width: int) -> Batch:
    return Batch(rows=np.arange(4), inputs={"input_ids": torch.ones(4, width, dtype=torch.int64)})


def train(epoch: int) -> list[Batch]:
    return [batch(width) for width in WIDTHS[epoch % 2]]


@pytest.mark.parametrize(
    ("steps", "accumulation", "widths"),
    [
        (0, 1, []),
        (2, 1, [2, 3]),
        (3, 1, [2, 3, 5]),
        (4, 1, [2, 3, 5, 3]),
        (2, 2, [2, 3, 5]),
        (3, 2, [2, 3, 5, 3, 7]),
        (2, 4, [2, 3, 5, 3, 7, 7]),
    ],
)
def test_batches_seen_are_those_of_the_steps_done(steps: int, accumulation: int, widths: list[int]):
    assert [
        one.inputs["input_ids"].shape[1] for one in batches_seen(train, steps, accumulation)
    ] == widths


def test_prefix_training_costs_what_its_batches_cost(encoder: Loaded):
    by_hand = prefix_flops(
        encoder.model, SHAPE, START, MEAN, {2: {(4, 2): 1, (4, 3): 2, (4, 5): 1}}
    )
    assert prefix_training_flops(encoder, SETTINGS, train, 4) == by_hand


def test_training_on_several_tasks_costs_what_each_tasks_batches_cost(encoder: Loaded):
    shapes = {2: {(4, 3): 2}, 5: {(4, 3): 1}}
    mixed = replace(SETTINGS, tasks=(*SETTINGS.tasks, replace(SETTINGS.tasks[0], num_outputs=5)))

    def batches(epoch: int) -> list[Batch]:
        return [replace(batch(3), task=task) for task in (0, 1, 0)]

    assert finetuning_flops(encoder, mixed, batches, 3) == finetune_flops(
        encoder.model, SHAPE, MEAN, shapes
    )
    assert prefix_training_flops(encoder, mixed, batches, 3) == prefix_flops(
        encoder.model, SHAPE, START, MEAN, shapes
    )


def test_pairs_read_apart_cost_two_texts_and_a_head_on_four_vectors(encoder: Loaded):
    apart = replace(SETTINGS, tasks=(replace(SETTINGS.tasks[0], separate=True),))
    pairs = Batch(rows=np.arange(2), inputs=batch(3).inputs)
    texts_alone = prefix_flops(encoder.model, SHAPE, START, MEAN, {0: {(4, 3): 1}})
    head = 3 * 2 * 2 * (4 * 32) * 2  # three products of [B, 4F] and [4F, C]
    assert prefix_training_flops(encoder, apart, lambda _: [pairs], 1) == texts_alone + head


def test_encoder_that_cannot_be_counted_has_no_number(
    encoder: Loaded, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object) -> int:
        raise RuntimeError("depends on data")

    monkeypatch.setattr(flops, "prefix_flops", refuse)
    monkeypatch.setattr(flops, "finetune_flops", refuse)
    assert prefix_training_flops(encoder, SETTINGS, train, 4) is None
    assert finetuning_flops(encoder, SETTINGS, train, 4) is None
