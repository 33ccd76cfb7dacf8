"""`python -m benchmarks.sizes`: ways to equal bytes, and the scores of `prefixbank probe`."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import sizes
from prefixbank.core import fit_transform as fitting

FEATURES = 64


def test_ways_have_equal_bytes_and_no_more_than_they_can():
    for size_bytes in sizes.BYTES:
        found = sizes.ways(size_bytes, 384, 4096)
        assert {way.bytes_of(384) for way in found.values()} == {size_bytes}
        assert ("sign" in found) == (size_bytes == 48) and ("int8" in found) == (size_bytes == 384)
        assert ("itq" in found) == (size_bytes <= 48)
        assert {"rotation", "autoencoder", "pca_float16", "pca_int8"} <= set(found)
    assert {"itq", "pca_int8"}.isdisjoint(sizes.ways(24, 384, 24))


def test_difference_is_paired_and_of_the_targets_that_have_both():
    samples = np.random.default_rng(0).normal(size=100)
    one, other = (
        sizes.Scored(score=score, samples=samples + score, near=None) for score in (0.7, 0.5)
    )
    found = sizes.difference({"a": {"x": one, "y": other}, "b": {"x": one}}, "x", "y")
    assert found == {
        "mean": pytest.approx(0.2),
        "low": pytest.approx(0.2),
        "high": pytest.approx(0.2),
        "targets": ["a"],
    }
    assert sizes.difference({"b": {"x": one}}, "x", "y") is None


def test_scores_are_those_of_the_command(cli, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fitting, "STEPS", 20)
    few = ("bank=demo", "probe.bootstrap_samples=20", "probe.Cs=[0.01,1.0]")
    out = tmp_path / "sizes.json"
    sizes.main(
        [
            *few,
            *("--targets", "gamma", "--data-root", str(cli.tasks), "--store", str(cli.store)),
            *("--bytes", "3,8", "--out", str(out)),
        ]
    )
    result = json.loads(out.read_text(encoding="utf-8"))
    assert json.loads(capsys.readouterr().out) == result
    found = result["targets"]["gamma"]
    assert found["features"] == FEATURES and found["metric"] == "accuracy"
    assert set(result["minus_float32"]) == set(found["scores"]) - {"float32"}
    for name, settings in {
        "float32": (),
        "8 sign": ("vectors=binary",),
        "3 itq": ("vectors=binary", "transform=itq", "transform_size=24"),
        "8 autoencoder": ("vectors=binary", "transform=autoencoder", "transform_size=64"),
        "3 pca_int8": ("vectors=int8", "transform=pca", "transform_size=3"),
    }.items():
        task = ("task=folder", f"task.path={cli.tasks / 'gamma'}")
        ran = cli.done("probe", *few, *task, *settings).result
        assert found["scores"][name]["score"] == pytest.approx(ran["score"], abs=1e-9), name
        assert found["scores"][name]["low"] == pytest.approx(ran["low"], abs=1e-9)
    step = result["steps"]["3 itq minus rotation"]
    scores = found["scores"]
    expected = scores["3 itq"]["score"] - scores["3 rotation"]["score"]
    assert step["mean"] == pytest.approx(expected) and step["targets"] == ["gamma"]
    assert step["low"] <= step["mean"] <= step["high"]
    assert 0 <= scores["8 sign"]["near_threshold"] <= 1
