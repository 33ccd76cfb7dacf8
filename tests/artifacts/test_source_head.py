"""Heads of the sources of a bank of blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from prefixbank.artifacts.source_head import SourceHead
from prefixbank.errors import UsageError

U, V = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)


def head_of(pairs: Any, features: int) -> SourceHead:
    rng = np.random.default_rng(1)
    return SourceHead(
        task="alpha",
        kind="classification",
        metric="accuracy",
        labels=("no", "yes"),
        pairs=pairs,
        weight=rng.normal(size=(2, features)).astype(np.float32),
        bias=rng.normal(size=2).astype(np.float32),
    )


def test_joint_head_is_a_linear_layer_on_its_block():
    head = head_of("joint", 3)
    wanted = [
        [float(row @ weight + bias) for weight, bias in zip(head.weight, head.bias, strict=True)]
        for row in U
    ]
    assert np.allclose(head.outputs(U), wanted, atol=1e-6)
    assert head.predict(U).tolist() == np.argmax(wanted, axis=1).tolist()


def test_separate_head_is_one_on_both_blocks_their_difference_and_product():
    head = head_of("separate", 12)
    side_by_side = np.concatenate([U, V, np.abs(U - V), U * V], axis=1)
    assert np.allclose(head.outputs(U, V), side_by_side @ head.weight.T + head.bias, atol=1e-6)


@pytest.mark.parametrize(
    ("pairs", "blocks", "message"),
    [
        ("separate", (U,), "one block for a head of prefix.pairs=separate"),
        ("joint", (U, V), "blocks of second texts for a head that reads pairs jointly"),
    ],
)
def test_head_refuses_what_it_was_not_trained_on(pairs: str, blocks: Any, message: str):
    with pytest.raises(UsageError, match=message):
        head_of(pairs, 3).predict(*blocks)
