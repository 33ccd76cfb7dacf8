from __future__ import annotations

import pytest

from prefixbank.errors import DamagedError, UsageError


def test_verify_passes_what_was_published(store, put, doc):
    put(doc(lr=0.1), {"a.bin": b"1", "b/c.bin": b"2"})
    put(doc("combine"))
    assert [(verdict.step, verdict.ok, verdict.error) for verdict in store.verify()] == [
        ("combine", True, None),
        ("train_prefix", True, None),
    ]


def test_verify_names_every_fault_of_an_entry(store, put, doc):
    path = put(doc(), {"a.bin": b"1", "b.bin": b"22", "c.bin": b"3", "d.bin": b"4"}).path
    (path / "a.bin").unlink()
    (path / "b.bin").write_bytes(b"2")
    (path / "c.bin").write_bytes(b"4")
    (path / "e.bin").touch()
    (verdict,) = store.verify()
    faults = (
        "a.bin is missing",
        "b.bin has 1 bytes instead of 2",
        "c.bin was altered",
        "e.bin was not published",
    )
    assert [fault in verdict.error.what for fault in (*faults, "d.bin")] == [
        True,
        True,
        True,
        True,
        False,
    ]


def test_verify_finds_a_file_that_nobody_published_in_a_folder(store, put, doc):
    path = put(doc(), {"b/c.bin": b"2"}).path
    (path / "b" / "d.bin").touch()
    (verdict,) = store.verify()
    assert "b/d.bin was not published" in verdict.error.what


def test_verify_finds_an_unreadable_entry_json(store, put, doc):
    (put(doc()).path / "entry.json").write_text("{", encoding="utf-8")
    (verdict,) = store.verify()
    assert isinstance(verdict.error, DamagedError)


def test_verify_finds_an_entry_in_a_folder_of_another_key(store, put, doc):
    entry = put(doc())
    entry.path.rename(entry.path.with_name("0" * 32))
    (verdict,) = store.verify()
    assert (verdict.key, verdict.ok) == ("0" * 32, False)


def test_verify_goes_on_after_a_damaged_entry(store, put, doc):
    for lr in (0.1, 0.2, 0.3):
        put(doc(lr=lr))
    bad = store.entries()[0]
    (bad.path / "prefix.bin").unlink()
    assert {verdict.key: verdict.ok for verdict in store.verify()} == {
        entry.key: entry.key != bad.key for entry in store.entries()
    }


def test_verify_looks_at_the_given_keys_alone(store, put, doc):
    put(doc(lr=0.1))
    key = put(doc(lr=0.2)).key
    assert [verdict.key for verdict in store.verify([key])] == [key]


def test_verify_refuses_a_key_that_is_not_there(store, put, doc):
    put(doc())
    with pytest.raises(UsageError, match="no entry 00000000"):
        store.verify(["0" * 32])
