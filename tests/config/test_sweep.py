"""One command line, many runs."""

from __future__ import annotations

import pytest

from prefixbank.config.commands import EmbedConfig
from prefixbank.config.compose import compose, expand_sweep
from prefixbank.errors import Faults, UsageError


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seed=1,2,3", ["seed=1", "seed=2", "seed=3"]),
        ("seed=1, 2", ["seed=1", "seed=2"]),
        ("seed=range(1,4)", ["seed=1", "seed=2", "seed=3"]),
        ("seed=range(0,10,5)", ["seed=0", "seed=5"]),
        ("optim.lr=choice(0.5,0.25)", ["optim.lr=0.5", "optim.lr=0.25"]),
        ("task=sst2,transfer_smoke", ["task=sst2", "task=transfer_smoke"]),
        ("bank=12e45678,007", ["bank=12e45678", "bank=007"]),
        ("prefixes=[a,b],[c]", ["prefixes=[a,b]", "prefixes=[c]"]),
        ("seed=7", ["seed=7"]),
        ("task.path='a,b'", ["task.path='a,b'"]),
        ("task.path=~/données (1)", ["task.path=~/données (1)"]),
        ("nonsense", ["nonsense"]),
    ],
)
def test_override_expands_to_its_values(override: str, expected: list[str]):
    assert expand_sweep([override]) == [[line] for line in expected]


def test_sweep_is_the_product_and_the_last_key_varies_fastest():
    assert expand_sweep(["seed=1,2", "name=x", "task=a,b"]) == [
        ["seed=1", "name=x", "task=a"],
        ["seed=1", "name=x", "task=b"],
        ["seed=2", "name=x", "task=a"],
        ["seed=2", "name=x", "task=b"],
    ]


def test_sweep_of_nothing_is_one_run():
    assert expand_sweep([]) == [[]]


def test_texts_of_a_sweep_survive_compose():
    paths = ["a b", "it's", "x (1)", "y\\z"]
    quoted = ",".join(f'"{path}"' for path in paths)
    assert [
        compose(EmbedConfig, run).corpus.path for run in expand_sweep([f"corpus.path={quoted}"])
    ] == paths


@pytest.mark.parametrize(
    "override", ["seed=interval(0,1)", "task=glob(*)", "seed=shuffle(1,2)", "seed=range(3,3)"]
)
def test_sweep_without_a_list_of_values_is_refused(override: str):
    with pytest.raises(UsageError, match="gives no list of values"):
        expand_sweep([override])


def test_sweep_tells_all_faults_at_once():
    with pytest.raises(Faults) as caught:
        expand_sweep(["seed=interval(0,1)", "seed=1,2", "task=glob(*)"])
    assert len(caught.value.faults) == 2
