from __future__ import annotations

import errno
import json
import os
import shutil
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

import pytest

from prefixbank.errors import DamagedError, StoreError, UsageError
from prefixbank.store import layout, publish
from prefixbank.store.key import key_of


def write(out, work):
    (out / "prefix.bin").write_bytes(b"new")
    return {}


def never(out, work):
    raise AssertionError("made again")


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_new_store_writes_nothing(store):
    assert not store.root.exists()


def test_reading_an_absent_store_finds_nothing_and_writes_nothing(store, doc, now):
    found = [
        store.get(key_of(doc())),
        store.entries(),
        store.refs(),
        store.pins(),
        store.gc_plan(now),
        list(store.verify()),
    ]
    assert (found, store.root.exists()) == ([None, [], [], [], [], []], False)


def test_build_makes_a_missing_entry(store, doc):
    entry, hit = store.build(doc(), write)
    assert (entry.file("prefix.bin").read_bytes(), hit) == (b"new", False)


def test_build_places_the_entry_by_step_and_key(store, doc):
    entry, _ = store.build(doc(), write)
    assert entry.path == store.root / "entries" / "train_prefix" / key_of(doc())


def test_build_keeps_the_document_in_entry_json(store, doc):
    entry, _ = store.build(doc(examples="e1"), write)
    assert json.loads((entry.path / "entry.json").read_bytes())["document"] == doc(examples="e1")


def test_build_finds_a_present_entry_without_making_it(store, doc):
    entry, _ = store.build(doc(), write)
    assert store.build(doc(), never) == (entry, True)


def test_build_finds_an_entry_whatever_the_order_of_names(store, doc):
    entry, _ = store.build(doc(), write)
    assert store.build(dict(reversed(doc().items())), never)[0].key == entry.key


def test_build_leaves_nothing_in_tmp_and_locks(store, doc):
    store.build(doc(), write)
    assert (names_in(store.root / "tmp"), names_in(store.root / "locks")) == ([], [])


def test_build_keeps_the_facts_that_make_returns(store, doc):
    entry, _ = store.build(doc(), lambda out, work: {"scores": {"accuracy": 0.5}, "notes": ("a",)})
    assert (entry.info["scores"], entry.info["notes"]) == ({"accuracy": 0.5}, ["a"])


def test_build_records_when_it_was_made(store, doc):
    before = datetime.now(UTC)
    entry, _ = store.build(doc(), write)
    assert before <= datetime.fromisoformat(entry.info["created"]) <= datetime.now(UTC)


def test_build_gives_make_an_empty_out_and_the_workdir(store, doc, workdir):
    seen = {}

    def look(out, work):
        seen.update(out=names_in(out), work=work)
        return {}

    store.build(doc(), look)
    assert seen == {"out": [], "work": workdir(key_of(doc()))}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_build_publishes_nothing_when_make_raises(store, doc, error, workdir):
    def fail(out, work):
        write(out, work)
        raise error

    with pytest.raises(error):
        store.build(doc(), fail)
    assert (store.get(key_of(doc())), names_in(store.root / "tmp")) == (
        None,
        [workdir(key_of(doc())).name],
    )


def test_build_hands_the_workdir_to_the_next_attempt_when_make_raised(store, doc):
    def fail(out, work):
        (work / "step").write_text("7", encoding="utf-8")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.build(doc(), fail)
    entry, _ = store.build(
        doc(), lambda out, work: {"resumed_at": (work / "step").read_text(encoding="utf-8")}
    )
    assert entry.info["resumed_at"] == "7"


def test_build_removes_the_workdir_after_publishing(store, doc, workdir):
    def make(out, work):
        (work / "step").write_text("7", encoding="utf-8")
        return {}

    store.build(doc(), make)
    assert not workdir(key_of(doc())).exists()


def test_build_refuses_a_damaged_entry(store, put, doc):
    (put(doc()).path / "entry.json").unlink()
    with pytest.raises(DamagedError):
        store.build(doc(), never)


def test_build_never_removes_a_damaged_entry(store, put, doc):
    entry = put(doc(), {"prefix.bin": b"precious"})
    (entry.path / "entry.json").unlink()
    with pytest.raises(DamagedError):
        store.build(doc(), never)
    assert (entry.path / "prefix.bin").read_bytes() == b"precious"


def test_force_makes_a_present_entry_again(store, put, doc):
    put(doc(), {"prefix.bin": b"old", "more.bin": b"x"})
    entry, hit = store.build(doc(), write, force=True)
    assert (names_in(entry.path), entry.file("prefix.bin").read_bytes(), hit) == (
        ["entry.json", "prefix.bin"],
        b"new",
        False,
    )


def test_force_repairs_a_damaged_entry(store, put, doc):
    (put(doc()).path / "entry.json").write_text("{", encoding="utf-8")
    store.build(doc(), write, force=True)
    assert store.get(key_of(doc())).file("prefix.bin").read_bytes() == b"new"


def test_force_is_recorded(put, doc):
    assert put(doc(), force=True).info["forced"] is True


def test_entry_that_was_not_forced_does_not_say_so(put, doc):
    assert "forced" not in put(doc()).info


def test_force_leaves_nothing_in_tmp(store, put, doc):
    put(doc())
    put(doc(), force=True)
    assert names_in(store.root / "tmp") == []


def test_force_starts_without_old_checkpoints(store, doc):
    def fail(out, work):
        (work / "step").write_text("7", encoding="utf-8")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.build(doc(), fail)
    entry, _ = store.build(doc(), lambda out, work: {"found": names_in(work)}, force=True)
    assert entry.info["found"] == []


def test_force_keeps_the_old_entry_when_make_raises(store, put, doc):
    old = put(doc())
    with pytest.raises(AssertionError):
        store.build(doc(), never, force=True)
    assert store.get(old.key) == old


def test_force_puts_the_old_entry_back_when_the_new_one_cannot_be_placed(
    store, put, doc, monkeypatch
):
    old, rename = put(doc()), Path.rename

    def full(path, target):
        if path.name.endswith(".out"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(StoreError):
        store.build(doc(), write, force=True)
    assert store.get(old.key) == old


def test_publish_keeps_first_when_two_race(store, put, doc, monkeypatch):
    monkeypatch.setattr(publish, "lock", lambda *args, **more: nullcontext())

    def overtaken(out, work):
        monkeypatch.setattr(
            layout.platform, "node", lambda: "another machine whose locks are its own"
        )
        put(doc(), {"prefix.bin": b"first"})
        monkeypatch.undo()
        return write(out, work)

    entry, hit = store.build(doc(), overtaken)
    assert (entry.file("prefix.bin").read_bytes(), hit) == (b"first", True)


def test_loser_of_a_race_leaves_nothing_in_tmp(store, put, doc, monkeypatch):
    monkeypatch.setattr(publish, "lock", lambda *args, **more: nullcontext())

    def overtaken(out, work):
        monkeypatch.setattr(
            layout.platform, "node", lambda: "another machine whose locks are its own"
        )
        put(doc(), {"prefix.bin": b"first"})
        monkeypatch.undo()
        return write(out, work)

    store.build(doc(), overtaken)
    assert names_in(store.root / "tmp") == []


def test_build_flushes_files_then_entry_json_then_its_folder_then_the_step(store, doc, monkeypatch):
    flushed = []

    def note(descriptor):
        flushed.append(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", note)
    entry, _ = store.build(doc(), write)
    numbers = [
        (entry.path / name).stat().st_ino for name in ("prefix.bin", "entry.json", ".", "..")
    ]
    assert [number for number in flushed if number in numbers][-4:] == numbers


@pytest.mark.parametrize("name", ["entry.json", "with blank.bin", ".hidden", "größe.bin"])
def test_make_may_not_leave_a_file_of_that_name(store, put, doc, name):
    with pytest.raises(ValueError, match="a maker wrote the file"):
        put(doc(), {name: b""})


def test_make_may_not_leave_a_link(store, doc, tmp_path):
    def link(out, work):
        (out / "prefix.bin").symlink_to(tmp_path)
        return {}

    with pytest.raises(ValueError, match="neither a file nor a folder"):
        store.build(doc(), link)


def test_info_that_is_not_json_publishes_nothing(store, put, doc):
    with pytest.raises(ValueError, match="pearson is nan"):
        put(doc(), pearson=float("nan"))
    assert store.get(key_of(doc())) is None


def test_get_finds_nothing_when_gc_takes_the_entry_meanwhile(store, put, doc, monkeypatch):
    entry, read_bytes = put(doc()), Path.read_bytes

    def too_late(path):
        shutil.rmtree(entry.path)
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", too_late)
    assert store.get(entry.key) is None


def test_get_refuses_what_is_not_a_key(store):
    with pytest.raises(UsageError, match="is not a key"):
        store.get("../../etc")


def test_file_lent_to_a_maker_is_found_by_it(store, doc):
    with store.work_of(key_of(doc())) as folder:
        (folder / "half").write_bytes(b"half")
    entry, _ = store.build(doc(), lambda out, work: {"found": names_in(work)})
    assert entry.info["found"] == ["half"] and names_in(store.root / "tmp") == []


def test_folder_of_a_key_that_is_being_made_is_not_lent(store, doc):
    def make(out, work):
        with store.work_of(key_of(doc())) as folder:
            return {"lent": folder is not None}

    assert store.build(doc(), make)[0].info["lent"] is False


def test_nobody_makes_a_key_while_its_folder_is_lent(store, doc):
    with store.work_of(key_of(doc())), store.work_of(key_of(doc())) as second:
        assert second is None
