"""Garbage collection: a plan of what nothing refers to any more, and its deletion."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from prefixbank.names import is_key
from prefixbank.store.artifact import Entry, entry_if_there
from prefixbank.store.faults import storage_errors
from prefixbank.store.files import (
    discard,
    is_there,
    last_change_ns,
    sole_size_bytes,
    tree_size_bytes,
)
from prefixbank.store.key import canonical_json
from prefixbank.store.layout import Layout
from prefixbank.store.locks import is_locked, lock_if_free
from prefixbank.store.refs import all_refs

EXPORTS = "export"
"""What the names of steps begin with that copy artifacts for other programs."""
_HEX_RUN = re.compile(r"[0-9a-f]{32,}")
_DAY_NS = 86_400 * 10**9


@dataclass(frozen=True, kw_only=True)
class GcItem:
    """A folder or file that may be deleted.

    `changed_ns` is when it was last used. If that changes before the deletion, it is kept.
    """

    path: Path
    reason: str
    size_bytes: int
    changed_ns: int


def plan(layout: Layout, now: datetime, grace_days: float) -> list[GcItem]:
    """Return what may be deleted, without writing anything; see `Store.gc_plan`."""
    limit_ns = int(now.timestamp() * 1e9 - grace_days * _DAY_NS)
    with storage_errors(layout.root):
        items = [*_dead_entries(layout, limit_ns), *_leftovers(layout, limit_ns)]
        return [item for item in items if is_there(item.path) and layout.is_own(item.path)]


def run(layout: Layout, items: Sequence[GcItem]) -> int:
    """Delete the items of a plan, unless they have been used, named or locked since.

    Return the bytes freed.
    """
    freed_bytes = 0
    with storage_errors(layout.root):
        if items:
            layout.prepare()
        named = live_keys(read_entries(layout), (ref.key for ref in all_refs(layout)))
        for item in items:
            key = item.path.name.partition(".")[0]
            if not is_key(key) or not layout.is_own(item.path):
                continue
            with lock_if_free(layout.lock(key), root=layout.root) as is_free:
                is_named = item.path.parent != layout.tmp and key in named
                if is_free and not is_named and _is_unchanged(item):
                    freed_bytes += sole_size_bytes(item.path)
                    _remove(layout, key, item.path)
    return freed_bytes


def live_keys(entries: Sequence[Entry], roots: Iterable[str]) -> set[str]:
    """Return the keys that are reachable from the roots.

    An entry is reached if a reachable entry's document names its key, its digest or one of its
    files.
    """
    inputs = inputs_of(entries)
    live: set[str] = set()
    waiting = [key for key in roots if key in inputs]
    while waiting:
        key = waiting.pop()
        if key not in live:
            live.add(key)
            waiting += inputs[key]
    return live


def inputs_of(entries: Sequence[Entry]) -> dict[str, set[str]]:
    """Return, by key, the keys of the entries that the document of each names.

    Nothing is made from an export, whose files are copies of those of others.
    """
    named: dict[str, set[str]] = {}
    for entry in entries:
        if entry.step.startswith(EXPORTS):
            continue
        for name in (entry.key, entry.digest, *(record.sha256 for record in entry.files.values())):
            named.setdefault(name, set()).add(entry.key)
    found = {
        entry.key: _HEX_RUN.findall(canonical_json(entry.document).decode("utf-8"))
        for entry in entries
    }
    return {
        key: {other for name in names for other in named.get(name, ())}
        for key, names in found.items()
    }


def read_entries(layout: Layout) -> list[Entry]:
    """Read every entry; a damaged one is an error, since it may name others as inputs."""
    entries = (entry_if_there(path) for path in layout.entry_paths())
    return [entry for entry in entries if entry is not None]


def _dead_entries(layout: Layout, limit_ns: int) -> Iterator[GcItem]:
    entries = read_entries(layout)
    used_ns = {entry.key: last_change_ns(entry.path) for entry in entries}
    roots = [ref.key for ref in all_refs(layout)] + [
        key for key, used in used_ns.items() if used > limit_ns
    ]
    live = live_keys(entries, roots)
    for entry in entries:
        if entry.key not in live and not is_locked(layout.lock(entry.key)):
            used = _day(used_ns[entry.key])
            yield item_at(entry.path, f"no ref or pin leads to it, last used {used}")


def _leftovers(layout: Layout, limit_ns: int) -> Iterator[GcItem]:
    """Yield what dead processes left in tmp/.

    Half-made folders of this machine and half-deleted ones may go at once, the rest after the days
    of grace.
    """
    for path, key, kind in layout.scratch_paths():
        if is_locked(layout.lock(key)):
            continue
        changed_ns = last_change_ns(path)
        if kind == "gone" or path == layout.scratch(key, "out"):
            yield item_at(path, "left by a process that ended early")
        elif changed_ns <= limit_ns:
            yield item_at(path, f"unfinished, last written {_day(changed_ns)}")


def item_at(path: Path, reason: str) -> GcItem:
    """Return a file or folder as it is now."""
    return GcItem(
        path=path,
        reason=reason,
        size_bytes=tree_size_bytes(path),
        changed_ns=last_change_ns(path),
    )


def _day(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / 1e9, tz=UTC).date().isoformat()


def _is_unchanged(item: GcItem) -> bool:
    return is_there(item.path) and last_change_ns(item.path) == item.changed_ns


def _remove(layout: Layout, key: str, path: Path) -> None:
    """Delete; an entry is first renamed into tmp/, so that a kill leaves no half of it behind."""
    if path.parent != layout.tmp:
        gone = layout.scratch(key, "gone")
        discard(gone)
        path.rename(gone)
        path = gone
    discard(path)
