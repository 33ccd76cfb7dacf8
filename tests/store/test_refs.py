from __future__ import annotations

import errno
import os

import pytest

from prefixbank.errors import DamagedError, StoreError, UsageError
from prefixbank.store.refs import Ref

BAD_NAMES = ["", "../x", "a/b", ".", "..", ".hidden", "-x", "a b", "a\n", "ü", "x" * 129, "a\x00b"]


def test_ref_stands_for_the_key_it_was_given(store, put, doc):
    key = put(doc()).key
    store.set_ref("prefix", "sst2", key)
    assert store.ref("prefix", "sst2") == Ref(kind="prefix", name="sst2", key=key)


def test_ref_moves(store, put, doc):
    old, new = put(doc(lr=0.1)).key, put(doc(lr=0.2)).key
    store.set_ref("prefix", "sst2", old)
    store.set_ref("prefix", "sst2", new)
    assert store.ref("prefix", "sst2").key == new


def test_ref_moves_by_a_new_file_in_the_place_of_the_old(store, put, doc):
    path = store.root / "refs" / "prefix" / "sst2.json"
    store.set_ref("prefix", "sst2", put(doc(lr=0.1)).key)
    with path.open("rb") as reader:
        before = path.read_bytes()
        store.set_ref("prefix", "sst2", put(doc(lr=0.2)).key)
        assert (reader.read(), path.read_bytes() != before) == (before, True)


def test_ref_that_is_not_set_is_none(store):
    assert store.ref("prefix", "sst2") is None


def test_ref_is_written_as_kind_and_name():
    assert str(Ref(kind="prefix", name="sst2", key="0" * 32)) == "prefix/sst2"


@pytest.mark.parametrize("name", ["sst2", "sst2@v1", "a.b_c-d", "_x", "7", "x" * 128])
def test_ref_names_may_hold_letters_digits_and_four_marks(store, put, doc, name):
    store.set_ref("prefix", name, put(doc()).key)
    assert [ref.name for ref in store.refs("prefix")] == [name]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_ref_names_cannot_leave_their_folder(store, put, doc, name):
    with pytest.raises(UsageError, match="cannot be used"):
        store.set_ref("prefix", name, put(doc()).key)


@pytest.mark.parametrize("kind", BAD_NAMES)
def test_ref_kinds_cannot_leave_their_folder(store, put, doc, kind):
    with pytest.raises(UsageError, match="cannot be used"):
        store.set_ref(kind, "sst2", put(doc()).key)


@pytest.mark.parametrize("name", BAD_NAMES)
def test_reading_a_ref_of_a_bad_name_is_asked_wrongly(store, name):
    with pytest.raises(UsageError):
        store.ref("prefix", name)


def test_ref_to_an_absent_entry_is_refused(store, put, doc):
    put(doc())
    with pytest.raises(UsageError, match="cannot point to"):
        store.set_ref("prefix", "sst2", "0" * 32)


def test_refs_are_sorted_by_kind_and_name(store, put, doc):
    key = put(doc()).key
    for kind, name in [("prefix", "b"), ("bank", "c"), ("prefix", "a")]:
        store.set_ref(kind, name, key)
    assert [str(ref) for ref in store.refs()] == ["bank/c", "prefix/a", "prefix/b"]


def test_removed_ref_is_gone(store, put, doc):
    store.set_ref("prefix", "sst2", put(doc()).key)
    assert (store.remove_ref("prefix", "sst2"), store.ref("prefix", "sst2")) == (True, None)


def test_removing_a_ref_that_is_not_set_says_so(store):
    assert store.remove_ref("prefix", "sst2") is False


def test_removing_a_ref_keeps_the_entry(store, put, doc):
    entry = put(doc())
    store.set_ref("prefix", "sst2", entry.key)
    store.remove_ref("prefix", "sst2")
    assert store.get(entry.key) == entry


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"key": 1}',
        '{"key": "short"}',
        '{"key": "../../../../etc/passwd-0000000"}',
    ],
)
def test_ref_that_holds_no_key_is_damaged(store, put, doc, text):
    store.set_ref("prefix", "sst2", put(doc()).key)
    (store.root / "refs" / "prefix" / "sst2.json").write_text(text, encoding="utf-8")
    with pytest.raises(DamagedError, match=r"sst2\.json"):
        store.ref("prefix", "sst2")


def test_ref_keeps_its_old_key_when_writing_fails(store, put, doc, monkeypatch):
    old, new = put(doc(lr=0.1)).key, put(doc(lr=0.2)).key
    store.set_ref("prefix", "sst2", old)

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match="no room left"):
            store.set_ref("prefix", "sst2", new)
    assert (store.ref("prefix", "sst2").key, list((store.root / "tmp").iterdir())) == (old, [])


def test_ref_can_be_read_by_whoever_may_read_the_folder(store, put, doc):
    previous = os.umask(0o022)
    try:
        store.set_ref("prefix", "sst2", put(doc()).key)
    finally:
        os.umask(previous)
    assert (store.root / "refs" / "prefix" / "sst2.json").stat().st_mode & 0o777 == 0o644


def test_pins_are_the_pinned_keys(store, put, doc):
    keys = [put(doc(lr=lr)).key for lr in (0.1, 0.2)]
    for key in keys:
        store.pin(key)
    assert store.pins() == sorted(keys)


def test_unpinned_key_is_no_longer_pinned(store, put, doc):
    key = put(doc()).key
    store.pin(key)
    assert (store.unpin(key), store.pins()) == (True, [])


def test_name_that_the_file_system_takes_for_another_is_refused(store, put, doc, monkeypatch):
    key = put(doc()).key
    store.set_ref("prefix", "sst2", key)
    monkeypatch.setattr("prefixbank.store.refs.is_there", lambda path: True)
    with pytest.raises(UsageError, match="prefix/SST2 and prefix/sst2 are one name"):
        store.set_ref("prefix", "SST2", key)
    assert [str(ref) for ref in store.refs()] == ["prefix/sst2"]
