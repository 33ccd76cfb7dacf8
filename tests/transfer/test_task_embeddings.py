"""Task embeddings: how they are read, compared, and when they cannot be."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from prefixbank.errors import UsageError
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON
from prefixbank.store.store import Store
from prefixbank.transfer.task_embeddings import (
    Comparison,
    incomparable,
    read_embedding,
    unknown_movement,
)


@pytest.fixture(scope="module")
def prefixes(prepared) -> list[Entry]:
    """The prepared prefixes, of seed 0 and random start values."""
    store = Store(prepared.store)
    return [store.resolve("prefix", name) for name in ("alpha", "beta")]


def weights_of(entry: Entry) -> torch.Tensor:
    return load_file(entry.file("task_embedding.safetensors"))["prefix"]


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a.double(), b.double(), dim=0))


def mean_token(prefix: torch.Tensor) -> torch.Tensor:
    """Mean over slots of all layers' keys and values, of a prefix [L, 2, H, P, D]."""
    return prefix.mean(dim=3).flatten()


def document_with(entry: Entry, *, seed: int = 0, **prefix: object) -> JSON:
    """Key document of a prefix with other settings."""
    document = deepcopy(entry.document)
    document["config"]["prefix"] |= prefix
    document["config"]["seed"] = seed
    return document


def test_weights_are_the_task_embedding_as_stored(prefixes):
    assert torch.equal(read_embedding(prefixes[0], "weights"), weights_of(prefixes[0]))


def test_movement_is_the_difference_from_the_random_start(prefixes):
    entry = prefixes[0]
    weights, scale = weights_of(entry), entry.document["config"]["prefix"]["init_scale"]
    generator = torch.Generator().manual_seed(entry.document["config"]["seed"])
    start = torch.randn(weights.shape, generator=generator) * scale
    assert torch.allclose(read_embedding(entry, "movement"), weights - start)


def test_similarity_is_the_cosine_of_mean_tokens(prefixes):
    target, source = prefixes
    comparison = Comparison(similarity="average_tokens", compare="weights")
    expected = [
        cosine(mean_token(weights_of(one)), mean_token(weights_of(target)))
        for one in (source, target)
    ]
    np.testing.assert_allclose(comparison.of(target, [source, target]), expected, atol=1e-6)
    assert expected[1] == pytest.approx(1.0)


def test_similarity_by_layer_is_that_of_each_layer_alone(prefixes):
    target, source = prefixes
    comparison = Comparison(similarity="average_tokens", compare="movement")
    a, b = (read_embedding(one, "movement") for one in (target, source))
    expected = [
        [cosine(mean_token(x[None]), mean_token(y[None])) for x, y in zip(a, b, strict=True)]
    ]
    np.testing.assert_allclose(comparison.by_layer(target, [source]), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "difference"),
    [
        ({"seed": 3}, "started from seed=3, the run on the task starts from seed=0"),
        ({"init_scale": 0.25}, "started from prefix.init_scale=0.25"),
        ({"init": "prefix"}, "started from prefix.init=prefix"),
    ],
)
def test_weights_with_other_start_values_are_incomparable(prefixes, settings, difference):
    target = prefixes[0].document
    fault = incomparable(document_with(prefixes[1], **settings), target, "prefix/beta", "weights")
    assert fault is not None and f"prefix/beta {difference}" in fault.what
    assert fault.fix.startswith("compare=movement")


def test_weights_with_the_same_start_values_are_comparable(prefixes):
    target, source = (entry.document for entry in prefixes)
    assert incomparable(source, target, "prefix/beta", "weights") is None


def test_movement_does_not_depend_on_the_start_values(prefixes):
    target, source = prefixes[0].document, document_with(prefixes[1], seed=3, init_scale=0.25)
    assert incomparable(source, target, "prefix/beta", "movement") is None


@pytest.mark.parametrize("settings", [{"init": "vocabulary"}, {"projection": "mlp"}])
def test_movement_is_unknown_unless_the_start_follows_from_the_seed(prefixes, settings):
    document = document_with(prefixes[0], **settings)
    fault = unknown_movement(document, "prefix/alpha", "movement")
    assert fault is not None and fault.what.startswith("prefix/alpha has prefix.init=")
    assert unknown_movement(document, "prefix/alpha", "weights") is None


def test_unknown_movement_is_not_read(put):
    prefix = {"init": "vocabulary", "projection": "none"}
    entry = put("train_prefix", {}, config={"prefix": prefix, "seed": 0})
    with pytest.raises(UsageError, match="prefix.init=vocabulary"):
        read_embedding(entry, "movement")
