from __future__ import annotations


def test_entries_come_oldest_first(store, put, doc):
    keys = [put(doc(lr=lr)).key for lr in (0.3, 0.1, 0.2)]
    assert [entry.key for entry in store.entries()] == keys


def test_entries_can_be_those_of_one_step(store, put, doc):
    put(doc())
    bank = put(doc("combine"))
    assert store.entries("combine") == [bank]


def test_latest_is_the_entry_made_last(store, put, doc):
    put(doc(lr=0.1))
    last = put(doc(lr=0.2))
    put(doc("combine"))
    assert store.latest("train_prefix") == last


def test_damaged_entries_do_not_hide_the_others(store, put, doc):
    bad, good = put(doc(lr=0.1)), put(doc(lr=0.2))
    (bad.path / "entry.json").unlink()
    assert (store.entries(), [path for path, _ in store.damaged()]) == ([good], [bad.path])


def test_nearest_is_the_entry_with_the_fewest_differences(store, put, doc):
    near = put(doc(lr=0.1, examples="e1"))
    put(doc(lr=0.1, examples="e2"))
    put(doc("combine", lr=0.2, examples="e1"))
    assert store.nearest(doc(lr=0.2, examples="e1")) == near


def test_nearest_is_the_newest_of_several(store, put, doc):
    put(doc(lr=0.1))
    newest = put(doc(lr=0.3))
    assert store.nearest(doc(lr=0.2)) == newest


def test_nearest_is_nothing_in_an_empty_store(store, doc):
    assert store.nearest(doc()) is None
