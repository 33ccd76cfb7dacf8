from __future__ import annotations

import os
from datetime import timedelta

import pytest

from prefixbank.errors import DamagedError
from prefixbank.store.key import key_of
from prefixbank.store.locks import lock
from prefixbank.store.store import Store

OLD_DAYS = 30


@pytest.fixture
def old(put, age):
    """Publish an entry that was last used 30 days before `now`."""

    def build(document, files=None):
        entry = put(document, files)
        age(entry.path, OLD_DAYS)
        return entry

    return build


def keys(plan):
    return {item.path.name for item in plan}


def snapshot(store):
    return {path: path.read_bytes() if path.is_file() else None for path in store.root.rglob("*")}


def test_gc_takes_an_old_entry_that_nothing_names(store, old, doc, now):
    entry = old(doc())
    assert keys(store.gc_plan(now)) == {entry.key}


def test_gc_keeps_what_a_ref_stands_for(store, old, doc, age, now):
    entry = old(doc())
    store.set_ref("prefix", "sst2", entry.key)
    age(entry.path, OLD_DAYS)
    assert store.gc_plan(now) == []


def test_gc_keeps_a_pinned_entry(store, old, doc, age, now):
    entry = old(doc())
    store.pin(entry.key)
    age(entry.path, OLD_DAYS)
    assert store.gc_plan(now) == []


def test_gc_takes_an_entry_after_its_ref_has_moved_on(store, old, doc, age, now):
    first, second = old(doc(lr=0.1)), old(doc(lr=0.2))
    store.set_ref("prefix", "sst2", first.key)
    store.set_ref("prefix", "sst2", second.key)
    age(store.root / "entries", OLD_DAYS)
    assert keys(store.gc_plan(now)) == {first.key}


@pytest.mark.parametrize(("days", "is_kept"), [(13.9, True), (14.1, False)])
def test_gc_keeps_an_entry_for_fourteen_days(store, put, doc, age, now, days, is_kept):
    entry = put(doc())
    age(entry.path, days)
    assert (store.gc_plan(now) == []) is is_kept


def test_gc_counts_the_days_of_grace_from_the_last_hit(store, old, doc, now):
    old(doc())
    store.build(doc(), lambda out, work: {})
    assert store.gc_plan(now) == []


@pytest.mark.parametrize("part", ["digest", "key", "file"])
def test_gc_keeps_the_inputs_of_a_kept_entry(store, old, doc, age, now, part):
    prefix = old(doc(), {"prefix.bin": b"tensor"})
    names = {"digest": prefix.digest, "key": prefix.key, "file": prefix.files["prefix.bin"].sha256}
    bank = old(doc("combine", prefixes=[{"prefix": f"sha256:{names[part]}"}]), {"bank.bin": b"b"})
    store.set_ref("bank", "demo", bank.key)
    assert store.gc_plan(now) == []


def test_gc_keeps_the_inputs_of_inputs(store, old, doc, now):
    prefix = old(doc(), {"prefix.bin": b"p"})
    bank = old(doc("combine", prefixes=[prefix.digest]), {"bank.bin": b"b"})
    probe = old(doc("probe", bank=bank.digest), {"probe.bin": b"q"})
    store.pin(probe.key)
    assert store.gc_plan(now) == []


def test_gc_keeps_the_inputs_of_an_entry_in_its_days_of_grace(store, old, put, doc, age, now):
    prefix = old(doc(), {"prefix.bin": b"p"})
    age(put(doc("combine", prefixes=[prefix.digest]), {"bank.bin": b"b"}).path, 1)
    assert store.gc_plan(now) == []


def test_gc_takes_the_inputs_with_the_entry_that_named_them(store, old, doc, now):
    prefix = old(doc(), {"prefix.bin": b"p"})
    bank = old(doc("combine", prefixes=[prefix.digest]), {"bank.bin": b"b"})
    assert keys(store.gc_plan(now)) == {prefix.key, bank.key}


def test_gc_takes_what_a_kept_entry_does_not_name(store, old, doc, now):
    used, unused = old(doc(lr=0.1), {"prefix.bin": b"1"}), old(doc(lr=0.2), {"prefix.bin": b"2"})
    store.pin(old(doc("combine", prefixes=[used.digest])).key)
    assert keys(store.gc_plan(now)) == {unused.key}


def test_gc_plan_deletes_nothing(store, old, doc, now):
    old(doc())
    before = snapshot(store)
    plan = store.gc_plan(now)
    assert (len(plan), snapshot(store)) == (1, before)


def test_gc_plan_gives_size_and_reason(store, old, doc, now):
    entry = old(doc(), {"a.bin": b"12", "b/c.bin": b"345"})
    (item,) = store.gc_plan(now)
    size_bytes = 5 + (entry.path / "entry.json").stat().st_size
    assert (item.size_bytes, item.reason) == (
        size_bytes,
        f"no ref or pin leads to it, last used {(now - timedelta(days=OLD_DAYS)).date()}",
    )


def test_gc_run_deletes_the_plan_and_nothing_else(store, old, put, doc, now):
    old(doc(lr=0.1))
    kept = put(doc(lr=0.2))
    store.pin(kept.key)
    store.gc_run(store.gc_plan(now))
    assert (
        store.entries(),
        list((store.root / "tmp").iterdir()),
        list((store.root / "locks").iterdir()),
    ) == ([kept], [], [])


def test_gc_run_returns_the_bytes_freed(store, old, doc, now):
    old(doc())
    plan = store.gc_plan(now)
    assert store.gc_run(plan) == sum(item.size_bytes for item in plan) > 0


def test_gc_run_keeps_what_was_named_after_the_plan(store, old, doc, age, now):
    entry = old(doc())
    plan = store.gc_plan(now)
    store.set_ref("prefix", "sst2", entry.key)
    age(entry.path, OLD_DAYS)
    assert (store.gc_run(plan), store.entries()) == (0, [entry])


def test_gc_run_keeps_what_was_hit_after_the_plan(store, old, doc, now):
    entry = old(doc())
    plan = store.gc_plan(now)
    store.build(doc(), lambda out, work: {})
    assert (store.gc_run(plan), store.entries()) == (0, [entry])


def test_gc_run_keeps_what_was_named_while_it_ran(store, old, doc, now):
    entry = old(doc())
    plan = store.gc_plan(now)
    store.set_ref("prefix", "sst2", entry.key)
    (store.root / "refs" / "prefix" / "sst2.json").unlink()
    assert (store.gc_run(plan), store.entries()) == (0, [entry])


def test_gc_keeps_an_entry_that_is_being_replaced(store, old, doc, now):
    entry = old(doc())
    with lock(store.root / "locks" / entry.key, root=store.root):
        assert store.gc_plan(now) == []


def test_gc_run_passes_over_what_is_gone_already(store, old, doc, now):
    old(doc())
    plan = store.gc_plan(now)
    store.gc_run(plan)
    assert store.gc_run(plan) == 0


def test_gc_takes_the_checkpoints_of_a_dead_process_after_the_grace(
    store, put, doc, age, now, workdir
):
    put(doc())
    work = workdir(key_of(doc(lr=0.5)))
    work.mkdir()
    (work / "step").write_text("7", encoding="utf-8")
    age(work, OLD_DAYS)
    assert [item.path for item in store.gc_plan(now, 60)] + [
        item.path for item in store.gc_plan(now)
    ] == [work]


def test_gc_counts_the_grace_of_checkpoints_from_their_newest_file(
    store, put, doc, age, now, workdir
):
    put(doc())
    work = workdir(key_of(doc(lr=0.5)))
    (work / "deep").mkdir(parents=True)
    (work / "deep" / "step").write_text("7", encoding="utf-8")
    age(work, OLD_DAYS)
    os.utime(work / "deep" / "step", (now.timestamp(), now.timestamp()))
    assert store.gc_plan(now) == []


def test_gc_leaves_unknown_things_in_tmp_alone(store, put, doc, age, now):
    put(doc())
    (store.root / "tmp" / "mine").mkdir()
    age(store.root / "tmp", OLD_DAYS)
    assert store.gc_plan(now) == []


@pytest.mark.parametrize("level", ["entry", "step", "entries", "tmp"])
def test_gc_follows_no_link_out_of_the_store(store, old, doc, tmp_path, age, now, level, workdir):
    entry = old(doc())
    work = workdir(entry.key)
    work.mkdir()
    age(work, OLD_DAYS)
    place = {
        "entry": entry.path,
        "step": entry.path.parent,
        "entries": entry.path.parents[1],
        "tmp": work.parent,
    }[level]
    place.rename(tmp_path / "outside")
    place.symlink_to(tmp_path / "outside")
    before = sorted((tmp_path / "outside").rglob("*"))
    plan = store.gc_plan(now)
    store.gc_run(plan)
    stay_inside = all(item.path.resolve().is_relative_to(store.root) for item in plan)
    assert (stay_inside, sorted((tmp_path / "outside").rglob("*"))) == (True, before)


def test_gc_run_deletes_nothing_outside_the_store_whatever_the_plan_says(
    store, old, doc, tmp_path, now
):
    workers = Store(tmp_path / "other")
    workers.build(doc(), lambda out, work: {})
    (item,) = workers.gc_plan(now, 0)
    old(doc(lr=0.5))
    assert (store.gc_run([item]), len(workers.entries())) == (0, 1)


def test_gc_does_not_delete_what_a_link_in_an_entry_leads_to(store, old, doc, tmp_path, age, now):
    entry = old(doc())
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").touch()
    (entry.path / "link").symlink_to(tmp_path / "outside")
    age(entry.path, OLD_DAYS)
    store.gc_run(store.gc_plan(now))
    assert (entry.path.exists(), (tmp_path / "outside" / "file").exists()) == (False, True)


def test_gc_plans_nothing_while_an_entry_is_unreadable(store, old, doc, now):
    (old(doc()).path / "entry.json").unlink()
    with pytest.raises(DamagedError):
        store.gc_plan(now)


def test_gc_plans_nothing_while_a_ref_is_unreadable(store, old, doc, now):
    store.set_ref("prefix", "sst2", old(doc()).key)
    (store.root / "refs" / "prefix" / "sst2.json").write_text("{", encoding="utf-8")
    with pytest.raises(DamagedError):
        store.gc_plan(now)


def test_gc_counts_the_days_of_grace_from_the_last_use(store, old, doc, now):
    entry = old(doc())
    assert store.use(entry.key) == entry and store.gc_plan(now) == []
    assert store.use("0" * 32) is None


def test_gc_frees_the_bytes_of_a_file_once_however_many_names_it_has(store, old, doc, now):
    first, second = old(doc(), {"a.bin": b"a" * 1000}), old(doc("embed"), {"a.bin": b"a" * 1000})
    (second.path / "a.bin").unlink()
    os.link(first.path / "a.bin", second.path / "a.bin")
    for entry in (first, second):
        os.utime(entry.path / "a.bin", (0, 0))
        os.utime(entry.path, (0, 0))
    plan = store.gc_plan(now)
    assert store.gc_run(plan) == sum(item.size_bytes for item in plan) - 1000
