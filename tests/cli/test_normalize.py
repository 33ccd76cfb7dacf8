"""Vectors scaled to length 1: each text's, each block by itself."""

from __future__ import annotations

import numpy as np
import pytest

import prefixbank as pb
from prefixbank.core.pairs import pair_features
from tests.cli.test_predict import columns_of, gamma, predict, probe

TEXTS = ["the food was good", "a bad and noisy place", "warm"]
OTHERS = ["warm", "good", "a cold bath"]
UNIT = pb.EmbedRecipe(normalize=True)


def scaled(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.sqrt((vectors.astype(np.float64) ** 2).sum(axis=1, keepdims=True))


@pytest.fixture
def blocks(cli):
    for name, task in (("a", "alpha"), ("b", "beta")):
        cli.train(task, "prefix=readout", "prefix.readouts=1", f"name={name}")
    cli.done("combine", "prefixes=[a,b]", "name=blocks")
    return cli


def test_vectors_have_length_one(cli):
    plain, unit = (pb.load_bank("demo", recipe=recipe).embed(TEXTS) for recipe in (None, UNIT))
    np.testing.assert_allclose(unit, scaled(plain), atol=1e-6)
    assert unit.dtype == np.float32


def test_each_block_is_scaled_by_itself(blocks):
    plain, unit = (pb.load_bank("blocks", recipe=recipe).blocks(TEXTS) for recipe in (None, UNIT))
    assert list(unit) == ["plain", "a", "b"]
    for name, block in unit.items():
        np.testing.assert_allclose(block, scaled(plain[name]), atol=1e-6)


def test_texts_of_a_pair_are_scaled_before_they_are_compared(cli):
    recipe = pb.EmbedRecipe(normalize=True, pairs="both")
    found = pb.load_bank("demo", recipe=recipe).embed(TEXTS, OTHERS)
    plain = pb.load_bank("demo")
    u, v = (scaled(plain.embed(texts)) for texts in (TEXTS, OTHERS))
    joint = scaled(plain.embed(TEXTS, OTHERS))
    np.testing.assert_allclose(found, np.hstack([joint, pair_features(u, v)]), atol=1e-5)


def test_heads_of_sources_read_vectors_as_they_were_trained_on(blocks):
    plain, unit = (pb.load_bank("blocks", recipe=recipe).predict(TEXTS) for recipe in (None, UNIT))
    for name, predicted in plain.items():
        assert np.array_equal(predicted.probabilities, unit[name].probabilities)


def test_probe_on_scaled_vectors_predicts_from_them(cli, lines):
    probe(cli, "unit", *gamma(cli), "normalize=true")
    found = columns_of(predict(cli, "unit", f"corpus.path={lines}"))
    vectors = pb.load_bank("demo", recipe=UNIT).embed(TEXTS)
    expected = pb.load_probe("unit").probabilities(vectors).max(axis=1)
    np.testing.assert_allclose(found["unit.probability"], expected, atol=1e-5)


def test_source_beside_a_probe_on_scaled_vectors_is_refused(blocks, lines):
    probe(blocks, "unit", *gamma(blocks), "normalize=true", bank="blocks")
    settings = ("predict", "bank=blocks", "heads=[unit,a]", f"corpus.path={lines}")
    fault = blocks.expect_fault(2, *settings)
    assert "head a reads vectors as they are, and unit those of normalize=true" in fault.what
