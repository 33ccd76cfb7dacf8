from __future__ import annotations


def test_entries_come_oldest_first(store, put, doc):
    keys = [put(doc(lr=lr)).key for lr in (0.3, 0.1, 0.2)]
    assert [entry.key for entry in store.entries()] == keys


def test_entries_can_be_those_of_one_step(store, put, doc):
    put(doc())
    bank = put(doc("combine"))
    assert store.entries("combine") == [bank]


def test_damaged_entries_do_not_hide_the_others(store, put, doc):
    bad, good = put(doc(lr=0.1)), put(doc(lr=0.2))
    (bad.path / "entry.json").unlink()
    assert (store.entries(), [path for path, _ in store.damaged()]) == ([good], [bad.path])
