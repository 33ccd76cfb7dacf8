"""Costs of serving N tasks, beside closed forms and a count of N."""

from __future__ import annotations

import pytest
import torch
from transformers import BertModel

from prefixbank.core.blocks import BlockBank
from prefixbank.core.break_even import break_even, head_operations, total
from prefixbank.core.combine import Bank
from prefixbank.core.cost import inputs_of, text_operations
from prefixbank.core.timing import in_turns
from tests.core.toys import MEAN, SHAPE, new_prefix, new_readout

INNER = 48
"""Size of the feed-forward layers of the small encoder."""


def of_layers(queries: int, keys: int, texts: int = 1) -> int:
    """Closed form of all layers: four projections, two products of attention, two feed-forward."""
    size = SHAPE.hidden_size
    products = 4 * queries * size * size + 2 * queries * keys * size + 2 * queries * size * INNER
    return 2 * SHAPE.layers * texts * products


@pytest.mark.parametrize("tokens", [5, 12])
def test_plain_encoder_costs_its_closed_form(bert: BertModel, tokens: int):
    plain = Bank(prefixes=(), weights=(), rule="concat_prefixes", pooling=MEAN)
    found, features = text_operations(bert, plain, inputs_of(1, tokens))
    assert (found, features) == (of_layers(tokens, tokens), SHAPE.hidden_size)


def test_slots_of_a_prefix_add_to_the_keys_alone(bert: BertModel):
    prefixes = (new_prefix(seed=0), new_prefix(seed=1))
    bank = Bank(prefixes=prefixes, weights=(0.5, 0.5), rule="concat_prefixes", pooling=MEAN)
    found, _ = text_operations(bert, bank, inputs_of(1, 7))
    assert found == of_layers(7, 7 + sum(prefix.length for prefix in prefixes))


def test_each_pass_counts(bert: BertModel):
    prefixes = (new_prefix(seed=0), new_prefix(seed=1))
    bank = Bank(prefixes=prefixes, weights=(1.0, 1.0), rule="concat_vectors", pooling=MEAN)
    found, features = text_operations(bert, bank, inputs_of(1, 7))
    assert found == sum(of_layers(7, 7 + prefix.length) for prefix in prefixes)
    assert features == 2 * SHAPE.hidden_size


def test_readouts_cost_their_own_tokens_beside_the_text(bert: BertModel):
    readout = new_readout(count=3)
    found, features = text_operations(
        bert, BlockBank(readouts=(readout,), plain=MEAN), inputs_of(1, 7)
    )
    own = of_layers(3, 7 + readout.length + 3)
    assert found == of_layers(7, 7) + own and features == 2 * SHAPE.hidden_size


def test_head_is_a_product():
    assert head_operations(384, 5) == 2 * 384 * 5


@pytest.mark.parametrize("is_shared", [True, False])
def test_total_is_that_of_a_loop_over_tasks(is_shared: bool):
    cost = 0.0
    for task in range(6):
        if task == 0 or not is_shared:
            cost += 100.0
        cost += 3.0
    assert total(100.0, 3.0, 6, is_shared=is_shared) == cost


@pytest.mark.parametrize(
    ("shared", "shared_head", "one", "one_head"),
    [(600.0, 1.0, 300.0, 1.0), (600.0, 4.0, 100.0, 1.0), (599.0, 0.5, 100.0, 0.5)],
)
def test_from_the_break_even_on_the_shared_encoder_costs_less(shared, shared_head, one, one_head):
    found = break_even(shared, shared_head, one, one_head)
    assert found is not None
    for tasks in range(1, 40):
        of_shared = total(shared, shared_head, tasks, is_shared=True)
        of_each = total(one, one_head, tasks, is_shared=False)
        assert (of_shared < of_each) == (tasks > found)


def test_heads_that_cost_more_than_a_whole_model_never_break_even():
    assert break_even(600.0, 50.0, 40.0, 5.0) is None


def test_rounds_take_turns_and_the_first_does_not_count():
    called: list[str] = []
    clock = iter(range(1000))
    seconds = in_turns(
        {"a": lambda: called.append("a"), "b": lambda: called.append("b")},
        2,
        clock=lambda: float(next(clock)),
    )
    assert called == ["a", "b"] * 3 and seconds == {"a": [1.0, 1.0], "b": [1.0, 1.0]}


def test_counting_leaves_gradients_alone(bert: BertModel):
    plain = Bank(prefixes=(), weights=(), rule="concat_prefixes", pooling=MEAN)
    text_operations(bert, plain, inputs_of(1, 3))
    assert torch.is_grad_enabled()
