"""Make an entry once and publish it atomically, whatever is killed in between."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from prefixbank.store.artifact import Entry, entry_at, entry_if_there, seal
from prefixbank.store.faults import maker_errors, storage_errors
from prefixbank.store.files import discard, flush, is_there, touch
from prefixbank.store.key import JSON, key_of
from prefixbank.store.layout import Layout
from prefixbank.store.locks import lock

Make = Callable[[Path, Path], JSON]
"""`make(out, work)` writes the artifact's files to the empty folder `out`, may keep checkpoints in
`work`, and returns the info."""


def build(
    layout: Layout, document: JSON, make: Make, *, force: bool, on_wait: Callable[[], None] | None
) -> tuple[Entry, bool]:
    """Return the entry of `document` and whether it existed already; see `Store.build`."""
    key = key_of(document)
    target = layout.entry(document["step"], key)
    if not force and (entry := use(target)):
        return entry, True
    layout.prepare()
    with lock(layout.lock(key), root=layout.root, on_wait=on_wait):
        with storage_errors(layout.root):
            _clean(layout, key, target)
        if not force and (entry := use(target)):
            return entry, True
        return _make(layout, document, make, force=force)


def use(path: Path) -> Entry | None:
    """Return an entry, or None if there is none; its days of grace start again."""
    with storage_errors(path):
        if not is_there(path):
            return None
    touch(path)
    return entry_if_there(path)


def _clean(layout: Layout, key: str, target: Path) -> None:
    """Delete what a dead process left in tmp/ for this key, except checkpoints.

    The caller holds the lock.
    """
    old = layout.scratch(key, "old")
    _restore(old, target)
    for leftover in (old, layout.scratch(key, "out"), layout.scratch(key, "gone")):
        discard(leftover)


def _restore(old: Path, target: Path) -> None:
    if is_there(old) and not is_there(target):
        old.rename(target)


def _make(layout: Layout, document: JSON, make: Make, *, force: bool) -> tuple[Entry, bool]:
    key = key_of(document)
    out, work = layout.scratch(key, "out"), layout.scratch(key, "work")
    try:
        with storage_errors(layout.root):
            if force:
                discard(work)
            out.mkdir()
            work.mkdir(exist_ok=True)
        with maker_errors(layout.root):
            info = make(out, work)
        facts = {
            **info,
            "created": datetime.now(UTC).isoformat(timespec="microseconds"),
            **({"forced": True} if force else {}),
        }
        with storage_errors(layout.root):
            sealed = seal(out, document, facts)
            result = _replace(layout, sealed) if force else _publish(layout, sealed)
            discard(work)
        return result
    finally:
        shutil.rmtree(out, ignore_errors=True)


def _publish(layout: Layout, sealed: Entry) -> tuple[Entry, bool]:
    """Rename a sealed folder to its final path; if another process was first, its entry stays."""
    target = layout.entry(sealed.step, sealed.key)
    _make_step_folder(target.parent)
    try:
        sealed.path.rename(target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return entry_at(target), True
    flush(target.parent)
    return replace(sealed, path=target), False


def _replace(layout: Layout, sealed: Entry) -> tuple[Entry, bool]:
    """Publish a sealed folder in place of an old one.

    If that fails, the old one is restored; after a kill, by the next build.
    """
    target, old = layout.entry(sealed.step, sealed.key), layout.scratch(sealed.key, "old")
    if is_there(target):
        target.rename(old)
    try:
        return _publish(layout, sealed)
    finally:
        _restore(old, target)
        discard(old)


def _make_step_folder(folder: Path) -> None:
    if not folder.is_dir():
        folder.mkdir(exist_ok=True)
        flush(folder.parent)
