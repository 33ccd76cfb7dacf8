"""Stores that are only read, under one's own."""

from __future__ import annotations

import os

import pytest

from prefixbank.errors import UsageError
from prefixbank.store.store import Store
from tests.prepared import contents


@pytest.fixture
def shared(store, put, doc):
    """A store with an entry that `prefix/sst2` names, and one without a name."""
    store.set_ref("prefix", "sst2", put(doc()).key)
    put(doc(lr=0.5))
    return store


@pytest.fixture
def own(tmp_path, shared):
    """A new store above the shared one, which is the same afterwards."""
    before = contents(shared.root)
    yield Store(tmp_path / "own", [shared.root])
    assert contents(shared.root) == before


def refuse_to_make(out, work):
    raise AssertionError("a hit is not made")


def test_entry_of_another_store_is_a_hit_and_nothing_is_written(own, shared, doc):
    entry, hit = own.build(doc(), refuse_to_make)
    assert (hit, entry) == (True, shared.resolve("prefix", "sst2")) and not own.root.exists()


def test_refs_of_another_store_are_found(own, shared):
    entry = shared.resolve("prefix", "sst2")
    assert own.resolve("prefix", "sst2") == own.resolve("", entry.key[:8]) == entry
    assert own.refs() == shared.refs() and own.ref("prefix", "sst2") == shared.refs()[0]


def test_ref_that_another_store_has_is_not_written_again(own, shared):
    own.set_ref("prefix", "sst2", shared.refs()[0].key)
    assert not own.root.exists()


def test_own_ref_may_name_what_another_store_has_and_comes_first(own, shared, doc):
    other = shared.entries()[1]
    own.set_ref("prefix", "sst2", other.key)
    assert own.resolve("prefix", "sst2") == other and own.root.exists()
    assert [ref.key for ref in own.refs()] == [other.key]


def test_own_ref_to_a_store_that_is_no_longer_read_says_how_to_get_it_back(own, shared):
    own.set_ref("prefix", "mine", shared.entries()[1].key)
    with pytest.raises(Exception, match="is not in the store") as caught:
        Store(own.root).resolve("prefix", "mine")
    assert "PREFIXBANK_STORE_READ" in caught.value.fix


def test_entries_are_listed_once_with_the_store_of_each(own, shared, doc):
    own.build(doc(), lambda out, work: {}, force=True)
    own.build(doc(lr=0.7), lambda out, work: {})
    listed = {entry.key: own.root_of(entry) for entry in own.entries()}
    assert sorted(root == own.root for root in listed.values()) == [False, True, True]
    assert len(listed) == len(own.entries()) == 3


def test_force_makes_in_the_own_store(own, doc):
    entry, hit = own.build(doc(), lambda out, work: {}, force=True)
    assert (hit, own.root_of(entry)) == (False, own.root)


def test_gc_verify_pin_and_rm_leave_another_store_alone(own, shared, doc, age, now):
    entry = shared.entries()[1]
    own.build(doc(lr=0.7), lambda out, work: {})
    assert [item for item in own.gc_plan(now, 0) if own.root not in item.path.parents] == []
    assert len(list(own.verify())) == 1
    for refused in (own.pin, lambda key: list(own.verify([key]))):
        with pytest.raises(UsageError, match="which is only read"):
            refused(entry.key)
    for name in ("prefix/sst2", entry.key[:10]):
        with pytest.raises(UsageError, match=f"^error: {name} is in .*, which is only read"):
            own.removal_plan([name])
    with pytest.raises(UsageError, match="no ref or key"):
        own.removal_plan(["prefix/nobody"])


def test_own_gc_keeps_nothing_for_refs_to_another_store(own, shared, now):
    own.set_ref("prefix", "mine", shared.entries()[1].key)
    assert own.gc_plan(now, 0) == []


def test_damage_in_another_store_is_told_when_it_is_opened(own, shared, doc):
    path = shared.entries()[0].path / "entry.json"
    text = path.read_text(encoding="utf-8")
    path.write_text("{", encoding="utf-8")
    with pytest.raises(Exception, match="is damaged"):
        own.build(doc(), refuse_to_make)
    assert own.damaged() == [] and len(own.entries()) == 1
    path.write_text(text, encoding="utf-8")


def test_folder_without_a_store_is_refused(tmp_path):
    with pytest.raises(UsageError, match="PREFIXBANK_STORE_READ"):
        Store(tmp_path / "own", [tmp_path / "mistyped"])


def test_variable_names_several_as_path_does(tmp_path, monkeypatch):
    roots = [tmp_path / "a", tmp_path / "b"]
    for root in roots:
        Store(root).build(_document(), lambda out, work: {})
    monkeypatch.setenv("PREFIXBANK_STORE_READ", os.pathsep.join(map(str, roots)))
    assert Store.open(tmp_path / "own").read_only == roots
    assert Store.open(roots[0]).read_only == roots[1:]


def _document():
    from prefixbank.store.key import document

    return document(step="step", version=1, config={}, inputs={})
