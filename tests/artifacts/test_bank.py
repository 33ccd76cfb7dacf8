"""Banks in artifacts."""

from __future__ import annotations

from dataclasses import asdict

import pytest
import torch

from prefixbank.artifacts.bank import plain_bank, read_bank, write_bank
from prefixbank.artifacts.pooling import pooling_of
from prefixbank.artifacts.tensors import prefix_tensors, write_tensors
from prefixbank.config.schema import BankRecipe, CombineConfig, PoolingConfig
from prefixbank.core.pooling import Pooling
from prefixbank.core.prefix import Prefix
from prefixbank.errors import UsageError
from prefixbank.steps import combine

RECIPE = BankRecipe(
    combine=CombineConfig(rule="mean_vectors", weights=(1.0, 3.0)),
    pooling=PoolingConfig(layers="mean_last", last_k=2),
)


@pytest.fixture
def prefixes(put):
    """Two prefix artifacts of one encoder, the second with a gate; and the prefixes."""
    tensors = [
        Prefix(
            tensor=torch.randn(2, 2, 4, length, 8, generator=torch.Generator().manual_seed(length)),
            log_gate=gate,
        )
        for length, gate in ((1, None), (3, torch.ones(2, 4)))
    ]
    entries = [
        put(
            "train_prefix",
            lambda out, one=one: write_tensors(out / "prefix.safetensors", prefix_tensors(one)),
            config={"place": place, "pooling": asdict(PoolingConfig())},
            inputs={"encoder": "ab" * 32},
            task=f"t{place}",
            encoder={"name": "tiny"},
        )
        for place, one in enumerate(tensors)
    ]
    return entries, tensors


def test_bank_is_read_as_written(put, prefixes):
    entries, tensors = prefixes
    bank = read_bank(put("combine", lambda out: write_bank(out, entries, RECIPE)))
    assert (bank.weights, bank.rule, bank.pooling) == (
        (1.0, 3.0),
        "mean_vectors",
        Pooling(position="mean", layers="mean_last", last_k=2, layer=0),
    )
    assert all(
        torch.equal(found.tensor, one.tensor)
        for found, one in zip(bank.prefixes, tensors, strict=True)
    )
    assert bank.prefixes[0].log_gate is None and torch.equal(
        bank.prefixes[1].log_gate, torch.ones(2, 4)
    )


def test_bank_stands_without_its_prefixes(put, prefixes):
    entries, _ = prefixes
    made = put("combine", lambda out: write_bank(out, entries, RECIPE))
    for entry in entries:
        (entry.path / "prefix.safetensors").unlink()
    assert len(read_bank(made).prefixes) == 2


def test_plain_bank_has_no_prefixes_and_pools_as_asked():
    bank = plain_bank(PoolingConfig(position="cls"))
    assert (bank.prefixes, bank.weights, bank.pooling.position) == ((), (), "cls")


def test_lists_of_a_pooling_are_read_as_written(put, prefixes):
    pooling = PoolingConfig(position=("last", "mean"), layers=(2, 0))
    recipe = BankRecipe(combine=CombineConfig(rule="mean_vectors"), pooling=pooling)
    made = put("combine", lambda out: write_bank(out, prefixes[0], recipe), config=asdict(recipe))
    assert read_bank(made).pooling == Pooling(
        position=("last", "mean"), layers=(2, 0), last_k=4, layer=0
    )
    assert pooling_of(made) == pooling


def test_key_follows_the_bytes_of_the_prefixes_and_their_order(prefixes):
    entries, _ = prefixes
    documents = [
        combine.unit(order, RECIPE, name).document
        for order, name in ((entries, "a"), (entries, "b"), (entries[::-1], "a"))
    ]
    assert documents[0] == documents[1] != documents[2]
    assert documents[0]["inputs"]["prefixes"] == [entry.digest for entry in entries]


def test_every_fault_of_a_list_of_prefixes_is_found(put, prefixes):
    entries, _ = prefixes
    other = put(
        "train_prefix",
        {"prefix.safetensors": 1},
        inputs={"encoder": "cd" * 32},
        task="t2",
        encoder={"name": "large"},
    )
    with pytest.raises(UsageError) as caught:
        combine.check_prefixes([entries[0], entries[0], other])
    assert [fault.what.split(" ", 2)[1] for fault in caught.value.faults] == ["'t0'", "'t2'"]
