from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from prefixbank.errors import StoreError, UsageError
from prefixbank.store.store import Store


def write(out, work):
    (out / "prefix.bin").write_bytes(b"new")
    return {}


def never(out, work):
    raise AssertionError("made again")


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "no room left"),
        (errno.EDQUOT, "no room left"),
        (errno.EROFS, "cannot be used"),
    ],
)
def test_a_disk_that_cannot_be_written_is_a_store_error(store, doc, monkeypatch, number, said):
    def refuse(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StoreError, match=said) as caught:
        store.build(doc(), write)
    assert "--store PATH" in caught.value.fix


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_folder_that_may_not_be_made_is_a_store_error(store, doc, monkeypatch, number):
    def refuse(path, *args, **more):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StoreError, match=os.strerror(number)):
        store.build(doc(), write)


def test_a_full_disk_while_making_is_a_store_error(store, doc):
    def fill(out, work):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StoreError, match="no room left"):
        store.build(doc(), fill)


def test_a_folder_of_the_store_refused_while_making_is_a_store_error(store, doc):
    def refused(out, work):
        raise PermissionError(errno.EACCES, "Permission denied", str(out / "prefix.bin"))

    with pytest.raises(StoreError, match="cannot be used"):
        store.build(doc(), refused)


def test_an_unrelated_error_of_make_passes_unchanged(store, doc):
    def refused(out, work):
        raise PermissionError(errno.EACCES, "Permission denied", "/somewhere/else")

    with pytest.raises(PermissionError):
        store.build(doc(), refused)


def test_a_file_system_without_locks_is_a_store_error(store, doc, monkeypatch):
    def refuse(*args):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(StoreError, match="no file locks"):
        store.build(doc(), write)


def test_a_read_only_store_still_finds_its_entries(store, put, doc, monkeypatch):
    entry = put(doc())

    def refuse(*args, **more):
        raise OSError(errno.EROFS, "Read-only file system")

    for name in ("utime", "mkdir", "rename", "fsync"):
        monkeypatch.setattr(os, name, refuse)
    assert store.build(doc(), never) == (entry, True)


def test_store_of_a_newer_layout_is_refused(store, put, doc):
    put(doc())
    (store.root / "LAYOUT").write_text("2\n", encoding="utf-8")
    with pytest.raises(StoreError, match="has layout '2'"):
        Store(store.root)


def test_layout_version_is_written_first(store, put, doc):
    put(doc())
    assert (store.root / "LAYOUT").read_text(encoding="utf-8") == "1\n"


def test_a_folder_of_something_else_does_not_become_a_store(tmp_path, doc):
    (tmp_path / "tmp").mkdir()
    with pytest.raises(UsageError, match="is not a store"):
        Store(tmp_path).build(doc(), write)


def test_an_empty_folder_becomes_a_store(tmp_path, doc):
    assert Store(tmp_path).build(doc(), write)[1] is False


def test_a_store_path_that_is_a_file_is_a_usage_error(tmp_path, doc):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="which is a file"):
        Store(tmp_path / "file").build(doc(), write)
