"""Training on pairs whose texts are read apart: the head gets u, v, |u - v| and u * v."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertModel

from prefixbank.core.prefix import Prefix, trainable
from prefixbank.core.readout import encode_text, read_out, readout_positions
from prefixbank.core.shapes import Batch
from prefixbank.core.training.fit import fit_prefix
from prefixbank.core.training.heads import new_head
from prefixbank.core.training.settings import FitResult
from tests.core.toys import SETTINGS, SHAPE, START, batch_of, run, texts_of
from tests.core.training.fits import losses_of

FIRST, SECOND = texts_of(24, seed=3), texts_of(24, seed=4)
SAME = (FIRST[1] == SECOND[1]).astype(np.int64)
"""Label of a pair: whether its texts have the same class."""


def pairs_of(rows: Sequence[int]) -> Batch:
    """The given pairs, read apart."""
    both = batch_of([*FIRST[0], *SECOND[0]], np.tile(SAME, 2), [*rows, *(24 + row for row in rows)])
    return Batch(
        rows=np.asarray(rows), inputs=both.inputs, labels=torch.from_numpy(SAME[list(rows)])
    )


def epoch(number: int) -> list[Batch]:
    return [pairs_of(range(start, start + 8)) for start in range(0, 24, 8)]


def fit(model: BertModel, **changes: Any) -> FitResult:
    task = replace(SETTINGS.tasks[0], separate=True)
    start = replace(START, **{name: changes.pop(name) for name in ("kind",) if name in changes})
    settings = replace(SETTINGS, tasks=(task,), start=start, schedule="constant", **changes)
    return fit_prefix(model, SHAPE, epoch, [[pairs_of(range(24))]], settings)


def mean_of(model: BertModel, inputs: dict[str, Tensor], prefix: Prefix) -> Tensor:
    states = model(**inputs, prefix_slots=prefix.slots(), attention_calls=[]).last_hidden_state
    mask = inputs["attention_mask"][..., None]
    vectors: Tensor = (states * mask).sum(dim=1) / mask.sum(dim=1)
    return vectors


def block_of(model: BertModel, inputs: dict[str, Tensor], prefix: Any) -> Tensor:
    text, _ = encode_text(model, inputs)
    (block,) = read_out(model, text, readout_positions(model, inputs), [prefix])
    return block


@pytest.mark.parametrize(("kind", "vectors_of"), [("deep", mean_of), ("readout", block_of)])
def test_fit_equals_a_loop_that_reads_each_text_alone(
    bert: BertModel, kind: str, vectors_of: Callable[..., Tensor]
):
    result = fit(bert, kind=kind, warmup_ratio=0.0, epochs=1)
    prefix, head = trainable(bert, SHAPE, replace(START, kind=kind), 0), new_head(4 * 32, 2, 1)
    optimizer = torch.optim.AdamW(
        [{"params": prefix.parameters(), "lr": 3e-2}, {"params": head.parameters(), "lr": 1e-2}],
        weight_decay=0.0,
    )
    losses = []
    for start in range(0, 24, 8):
        rows = range(start, start + 8)
        u, v = (
            torch.cat(
                [vectors_of(bert, batch_of(texts, SAME, [row]).inputs, prefix()) for row in rows]
            )
            for texts in (FIRST[0], SECOND[0])
        )
        outputs = head(torch.cat([u, v, (u - v).abs(), u * v], dim=1))
        loss = functional.cross_entropy(outputs, torch.from_numpy(SAME[list(rows)]))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([*prefix.parameters(), *head.parameters()], 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses_of(result) == pytest.approx(losses, abs=1e-4)
    assert result.heads[0][0].shape == (2, 128) and result.examples == (24,)


def test_pairs_that_differ_in_the_relation_of_their_texts_are_learned(bert: BertModel):
    result = fit(bert, epochs=25, lr=0.1, head_lr=0.05)
    assert sum(losses_of(result)[-5:]) < 0.6 * sum(losses_of(result)[:5])


def test_heads_of_single_texts_get_their_vector_beside_heads_of_pairs(bert: BertModel):
    single, pair = SETTINGS.tasks[0], replace(SETTINGS.tasks[0], separate=True)

    def train(number: int) -> list[Batch]:
        return [batch_of(FIRST[0], FIRST[1], range(8)), replace(pairs_of(range(8)), task=1)]

    result = fit_prefix(
        bert,
        SHAPE,
        train,
        [[batch_of(FIRST[0], FIRST[1], range(24))], [pairs_of(range(24))]],
        replace(SETTINGS, tasks=(single, pair), epochs=1),
    )
    assert [tuple(weight.shape) for weight, _ in result.heads] == [(2, 32), (2, 128)]


def test_outputs_follow_from_the_returned_prefix_and_head(bert: BertModel):
    result = fit(bert, epochs=2)
    weight, bias = result.heads[0]
    u, v = (
        torch.stack(
            [
                run(bert, batch_of(texts, SAME, [row]).inputs, result.prefix.slots())[0].mean(dim=0)
                for row in range(24)
            ]
        )
        for texts in (FIRST[0], SECOND[0])
    )
    outputs = torch.cat([u, v, (u - v).abs(), u * v], dim=1) @ weight.T + bias
    assert result.score == pytest.approx(float((outputs.argmax(dim=1).numpy() == SAME).mean()))
