"""When a bank is stale, and the command that renews it."""

from __future__ import annotations

import shlex
from dataclasses import asdict

import pytest

from prefixbank.artifacts.staleness import moved_refs, refresh_command, refuse_stale
from prefixbank.config.commands import CombineCommandConfig
from prefixbank.config.compose import compose
from prefixbank.config.schema import BankRecipe, CombineConfig, PoolingConfig
from prefixbank.errors import UsageError


@pytest.fixture
def prefix(store, put):
    """Publish a prefix whose bytes depend on `text`, and point a ref at it."""

    def make(name: str, *, seed: int = 0, text: str = "a"):
        entry = put(
            "train_prefix", {"prefix.json": text}, config={"seed": seed}, inputs={"examples": name}
        )
        store.set_ref("prefix", name, entry.key)
        return entry

    return make


@pytest.fixture
def bank(store, put, prefix):
    """Publish the bank `demo` of the prefixes x and y, both named by ref."""

    def make(recipe: BankRecipe | None = None):
        entries = {f"prefix/{name}": prefix(name) for name in ("x", "y")}
        source = {ref: entry.key for ref, entry in entries.items()}
        config = asdict(recipe or BankRecipe())
        made = put(
            "combine",
            {"bank.json": 1},
            config=config,
            name="first",
            named=["x", "y"],
            **{"from": source},
        )
        store.set_ref("bank", "demo", made.key)
        return made

    return make


def test_bank_of_what_its_refs_stand_for_is_not_stale(store, bank):
    assert list(moved_refs(store, bank().info)) == []


def test_ref_that_stands_for_other_bytes_makes_it_stale(store, bank, prefix):
    entry, then = bank(), store.ref("prefix", "y").key
    now = prefix("y", seed=1, text="b").key
    assert list(moved_refs(store, entry.info)) == [("prefix/y", then, now)]


def test_ref_that_stands_for_the_same_bytes_under_another_key_does_not(store, bank, prefix):
    entry = bank()
    prefix("y", seed=1)
    assert list(moved_refs(store, entry.info)) == []


def test_ref_that_is_gone_does_not(store, bank):
    entry = bank()
    store.remove_ref("prefix", "y")
    assert list(moved_refs(store, entry.info)) == []


def test_damaged_prefix_counts_as_moved(store, bank, prefix):
    entry = bank()
    (prefix("y", seed=1).path / "entry.json").write_text("{", encoding="utf-8")
    assert [ref for ref, _, _ in moved_refs(store, entry.info)] == ["prefix/y"]


def test_artifact_made_of_no_refs_is_never_stale(store, put):
    assert list(moved_refs(store, put("probe", {"probe.json": 1}).info)) == []


def test_refusal_names_bank_prefix_and_both_keys(store, bank, prefix):
    entry, then = bank(), store.ref("prefix", "x").key
    now = prefix("x", seed=1, text="b").key
    with pytest.raises(UsageError) as caught:
        refuse_stale(store, "bank/demo", entry)
    assert caught.value.what == f"bank/demo is stale: prefix/x was {then[:8]} and is now {now[:8]}"
    assert caught.value.fix.endswith(f"bank={entry.key[:8]}")


def test_current_bank_is_not_refused(store, bank):
    assert refuse_stale(store, "bank/demo", bank()) is None


@pytest.mark.parametrize(
    "recipe",
    [
        BankRecipe(),
        BankRecipe(combine=CombineConfig(rule="mean_vectors", weights=(0.5, 2.0))),
        BankRecipe(
            combine=CombineConfig(normalize_weights=False), pooling=PoolingConfig(position="cls")
        ),
        BankRecipe(pooling=PoolingConfig(layers="mean_last", last_k=2)),
        BankRecipe(pooling=PoolingConfig(layers="single", layer=1)),
        BankRecipe(pooling=PoolingConfig(position=("mean", "last"), layers=(0, 2))),
        BankRecipe(pooling=PoolingConfig(norm="layer")),
        BankRecipe(combine=CombineConfig(rule="blocks")),
        BankRecipe(combine=CombineConfig(rule="blocks", plain=False)),
    ],
    ids=[
        "default",
        "weights",
        "normalize_weights",
        "layers",
        "layer",
        "lists",
        "norm",
        "blocks",
        "without-plain",
    ],
)
def test_command_composes_to_the_same_recipe(bank, recipe):
    words = shlex.split(refresh_command("bank/demo", made := bank(recipe), made.info))
    config = compose(CombineCommandConfig, words[2:])
    assert words[:2] == ["prefixbank", "combine"] and (config.name, config.prefixes) == (
        "demo",
        ("x", "y"),
    )
    assert BankRecipe(combine=config.combine, pooling=config.pooling) == recipe
