"""The mean of several prefixes as a step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from prefixbank.artifacts.tensors import prefix_from, prefix_tensors, read_tensors, write_tensors
from prefixbank.config.running import RunConfig
from prefixbank.config.schema import PrefixConfig
from prefixbank.core.prefix import AnyPrefix
from prefixbank.core.prompt import SoftPrompt
from prefixbank.core.readout import Readout
from prefixbank.errors import UsageError
from prefixbank.runtime.context import Context
from prefixbank.steps import average
from prefixbank.store.artifact import Entry
from prefixbank.store.key import key_of
from prefixbank.store.store import Store
from tests.core.toys import new_prefix, new_readout

Made = Callable[..., Entry]
WEIGHTS = (0.5, 0.3, 0.2)


@pytest.fixture
def made(put: Made) -> Made:
    """Publish a prefix with the settings given."""

    def publish(prefix: AnyPrefix, task: str, **settings: Any) -> Entry:
        return put(
            "train_prefix",
            lambda out: write_tensors(out / "prefix.safetensors", prefix_tensors(prefix)),
            config={"prefix": settings},
            inputs={"encoder": "0" * 64, "task": task},
            task=task,
            encoder={"name": "toy"},
        )

    return publish


def settings_of(prefix: AnyPrefix) -> dict[str, Any]:
    if isinstance(prefix, Readout):
        size = 0 if prefix.weight is None else prefix.weight.shape[0]
        joined = size and prefix.weight.shape[1] > 32
        return {
            "kind": "readout",
            "length": prefix.length,
            "gate": "none",
            "readouts": prefix.count,
            "summary": "concat" if joined else "mean",
            "size": size,
            "norm": "layer" if prefix.normalised else "none",
        }
    more = {"readouts": 4, "summary": "mean", "size": 0, "norm": "none", "gate": "none"}
    kind = "soft" if isinstance(prefix, SoftPrompt) else "deep"
    return {"kind": kind, "length": prefix.length, **more}


def averaged(store: Store, entries: list[Entry], weights: tuple[float, ...]) -> Entry:
    context = Context(store, RunConfig(device="cpu"))
    return context.ensure(average.unit(entries, weights, "mean")).entry


FORMS = {
    "mean": {},
    "no slots": {"length": 0},
    "projected": {"size": 5},
    "side by side": {"size": 5, "joined": True},
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_mean_of_read_outs_is_that_of_each_of_their_tensors(
    store: Store, made: Made, form: dict[str, Any]
):
    prefixes = [new_readout(seed, **form) for seed in range(3)]
    entries = [
        made(prefix, f"t{place}", **settings_of(prefix)) for place, prefix in enumerate(prefixes)
    ]
    found = averaged(store, entries, WEIGHTS)
    tensors = load_file(found.file("prefix.safetensors"))
    parts = [prefix_tensors(prefix) for prefix in prefixes]
    assert tensors.keys() == parts[0].keys()
    for name, tensor in tensors.items():
        expected = sum(
            weight * part[name].double() for weight, part in zip(WEIGHTS, parts, strict=True)
        )
        assert torch.allclose(tensor.double(), expected, atol=1e-6)
    assert isinstance(prefix_from(read_tensors(found, "prefix.safetensors")), Readout)
    assert found.document["config"]["prefix"] == settings_of(prefixes[0])


def test_order_of_prefixes_does_not_matter(made: Made):
    entries = [made(new_readout(seed), f"t{seed}", **settings_of(new_readout())) for seed in (0, 1)]
    one = average.unit(entries, (0.7, 0.3), "x")
    other = average.unit(entries[::-1], (0.3, 0.7), "x")
    assert key_of(one.document) == key_of(other.document)


@pytest.mark.parametrize(
    "other",
    [
        new_readout(1, count=3),
        new_readout(1, length=2),
        new_readout(1, size=5),
        new_prefix(1, length=3),
        SoftPrompt(tensor=torch.zeros(3, 32)),
    ],
    ids=["count", "length", "size", "deep", "soft"],
)
def test_read_outs_of_another_form_are_refused(made: Made, other: AnyPrefix):
    first = made(new_readout(), "alpha", **settings_of(new_readout()))
    second = made(other, "beta", **settings_of(other))
    with pytest.raises(UsageError, match="beta|alpha") as caught:
        average.unit([first, second], (0.5, 0.5), "x")
    assert "prefix.kind=readout" in caught.value.what and "average" in caught.value.expected


def test_prefixes_of_older_versions_lack_settings_that_have_their_defaults(
    store: Store, made: Made, tmp_path: Path
):
    old = made(new_prefix(0), "alpha", length=4, gate="none")
    new = made(new_prefix(1), "beta", **settings_of(new_prefix(1)))
    found = averaged(store, [old, new], (0.5, 0.5))
    expected = (new_prefix(0).tensor + new_prefix(1).tensor) / 2
    assert torch.allclose(load_file(found.file("prefix.safetensors"))["prefix"], expected)
    assert found.document["config"]["prefix"]["readouts"] == PrefixConfig().readouts
