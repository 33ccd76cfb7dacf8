"""Removing artifacts and refs: no ref dangles, nothing loses what it was made from."""

from __future__ import annotations

import random

import pytest

from prefixbank.errors import Faults, StoreError, UsageError
from prefixbank.store.key import document
from prefixbank.store.locks import lock
from prefixbank.store.store import Store
from tests.prepared import contents


@pytest.fixture
def chain(store, put):
    """A prefix, a bank of it and a probe on the bank, each with a ref."""
    made = []
    for kind in ("prefix", "bank", "probe"):
        inputs = {"of": [entry.digest for entry in made[-1:]]}
        entry = put(document(step=kind, version=1, config={}, inputs=inputs), {kind: kind.encode()})
        store.set_ref(kind, "one", entry.key)
        made.append(entry)
    return made


def left(store) -> set[str]:
    return {entry.step for entry in store.entries()}


def names(store) -> set[str]:
    return {str(ref) for ref in store.refs()}


def test_artifact_by_key_goes_with_all_its_refs(store, chain):
    store.set_ref("probe", "two", chain[2].key)
    plan = store.removal_plan([chain[2].short_key])
    assert [str(ref) for ref in plan.refs] == ["probe/one", "probe/two"]
    freed = store.remove(plan)
    assert (left(store), names(store)) == ({"prefix", "bank"}, {"prefix/one", "bank/one"})
    assert freed == sum(item.size_bytes for item in plan.items) > 0


def test_plan_writes_nothing(store, chain):
    before = contents(store.root)
    store.removal_plan([entry.key for entry in chain])
    store.removal_plan(["probe/one"])
    assert contents(store.root) == before


def test_ref_goes_alone_while_another_names_the_artifact(store, chain):
    store.set_ref("probe", "two", chain[2].key)
    plan = store.removal_plan(["probe/two"])
    store.remove(plan)
    assert plan.kept == (
        f"probe {chain[2].short_key} (probe/one, probe/two): probe/one is another name of it",
    )
    assert left(store) == {"prefix", "bank", "probe"} and "probe/two" not in names(store)


def test_ref_goes_alone_while_something_was_made_from_the_artifact(store, chain):
    plan = store.removal_plan(["bank/one"])
    store.remove(plan)
    assert "needed by probe" in plan.kept[0] and "probe/one" in plan.kept[0]
    assert (left(store), names(store)) == (
        {"prefix", "bank", "probe"},
        {"prefix/one", "probe/one"},
    )


def test_ref_goes_alone_while_the_artifact_is_pinned(store, chain):
    store.pin(chain[2].key)
    store.remove(store.removal_plan(["probe/one"]))
    assert left(store) == {"prefix", "bank", "probe"}


def test_several_refs_go_with_their_artifacts_that_only_each_other_need(store, chain):
    plan = store.removal_plan(["prefix/one", "bank/one", "probe/one"])
    assert [item.reason.split()[0] for item in plan.items] == ["probe", "bank", "prefix"]
    store.remove(plan)
    assert (left(store), names(store)) == (set(), set())


def test_artifact_by_key_that_another_was_made_from_is_refused(store, chain):
    with pytest.raises(UsageError, match="is what bank .* was made from") as caught:
        store.removal_plan([chain[0].key])
    assert caught.value.fix.startswith("prefixbank cache rm --dependents")


def test_dependents_go_first_and_with_their_refs(store, chain):
    plan = store.removal_plan([chain[0].key], dependents=True)
    assert [item.path for item in plan.items] == [entry.path for entry in reversed(chain)]
    store.remove(plan)
    assert (left(store), names(store)) == (set(), set())


def test_pinned_artifacts_are_refused_together(store, chain, put):
    other = put(document(step="other", version=1, config={}, inputs={}), {"x": b"x"})
    for entry in (chain[2], other):
        store.pin(entry.key)
    with pytest.raises(Faults) as caught:
        store.removal_plan([chain[2].key, other.key])
    assert ["is pinned" in fault.what for fault in caught.value.faults] == [True, True]


def test_ref_to_nothing_can_be_removed(store, chain):
    for file in chain[2].path.iterdir():
        file.unlink()
    chain[2].path.rmdir()
    store.remove(store.removal_plan(["probe/one"]))
    assert "probe/one" not in names(store)


def test_unknown_name_is_refused(store, chain):
    with pytest.raises(UsageError, match="'probe/on'"):
        store.removal_plan(["probe/on"])


def test_nothing_goes_while_another_process_makes_one_of_the_artifacts(store, chain):
    plan = store.removal_plan([entry.key for entry in chain])
    with (
        lock(store.root / "locks" / chain[0].key, root=store.root),
        pytest.raises(StoreError, match="another process is making prefix"),
    ):
        store.remove(plan)
    assert left(store) == {"prefix", "bank", "probe"} and len(names(store)) == 3


@pytest.mark.parametrize("change", ["ref", "use", "user"])
def test_nothing_goes_if_the_store_has_changed_since_the_plan(store, chain, put, age, change):
    age(store.root / "entries", 1)
    plan = store.removal_plan([chain[2].key])
    match change:
        case "ref":
            store.set_ref("probe", "new", chain[2].key)
        case "use":
            store.build(chain[2].document, lambda out, work: {})
        case "user":
            inputs = {"probe": chain[2].digest}
            put(document(step="report", version=1, config={}, inputs=inputs))
    with pytest.raises((StoreError, UsageError)):
        store.remove(plan)
    assert {"prefix", "bank", "probe"} <= left(store)


def test_artifact_that_is_named_while_it_goes_comes_back(store, chain, monkeypatch):
    plan = store.removal_plan(["probe/one"])
    from prefixbank.store import remove

    def named_meanwhile(layout, kind, name):
        assert plan.refs[0].name == name  # the ref is left, as if it had just been set again

    monkeypatch.setattr(remove, "remove_ref", named_meanwhile)
    with pytest.raises(StoreError, match="has just named"):
        store.remove(plan)
    assert store.resolve("probe", "one") == chain[2]


@pytest.mark.parametrize("seed", range(12))
def test_no_ref_dangles_and_no_input_is_missing_whatever_is_removed(store, put, seed):
    """A random graph, random names removed: what is left is whole."""
    rng = random.Random(seed)
    made = []
    for number in range(8):
        inputs = {"of": [entry.digest for entry in made if rng.random() < 0.3]}
        config = {"number": number}
        entry = put(
            document(step="step", version=1, config=config, inputs=inputs),
            {"file": str(number).encode()},
        )
        made.append(entry)
        for name in ("a", "b"):
            if rng.random() < 0.5:
                store.set_ref("kind", f"{name}{number}", entry.key)
    choices = [str(ref) for ref in store.refs()] + [entry.key for entry in made]
    try:
        plan = store.removal_plan(rng.sample(choices, 3), dependents=bool(seed % 2))
    except UsageError:
        return
    store.remove(plan)
    entries = {entry.key: entry for entry in Store(store.root).entries()}
    digests = {entry.digest for entry in entries.values()}
    assert all(ref.key in entries for ref in store.refs())
    assert all(set(entry.document["inputs"]["of"]) <= digests for entry in entries.values())
