"""Refs: movable names of entries. `refs/<kind>/<name>.json` holds a key."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from prefixbank.errors import DamagedError, UsageError
from prefixbank.names import is_key
from prefixbank.store.faults import storage_errors
from prefixbank.store.files import flush, fresh_token, is_there, touch, write_at_once
from prefixbank.store.key import JSON, shorten
from prefixbank.store.layout import Layout

PIN = "pin"
"""Kind of the refs that only keep an entry from gc. Their name is the key."""


@dataclass(frozen=True, kw_only=True)
class Ref:
    """A name, `<kind>/<name>`, and the key of the entry that it points to.

    Facts belong to the name, not to the entry: what one was made of can be named in several ways.
    """

    kind: str
    name: str
    key: str
    facts: JSON = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        """Return `kind/name`, as a user writes it."""
        return f"{self.kind}/{self.name}"


def set_ref(
    layout: Layout,
    kind: str,
    name: str,
    key: str,
    find: Callable[[str], Path | None],
    facts: JSON | None = None,
) -> Ref:
    """Point `kind/name` to the entry `key`, atomically.

    Args:
        layout: the store to write to.
        kind: of the ref.
        name: of the ref.
        key: of the entry.
        find: returns the folder of an entry, which may be in another store.
        facts: about the entry under this name, if there are any.

    Raises:
        UsageError: a bad name, or no such entry.
        StoreError: the ref cannot be written.
    """
    path = layout.ref(kind, name)
    with storage_errors(layout.root):
        if find(key) is None:
            raise _no_entry(kind, name, key)
        layout.prepare()
        if own := layout.find(key):
            touch(own)
        path.parent.mkdir(exist_ok=True)
        _refuse_other_case(path, kind, name)
        write_at_once(
            path,
            json.dumps({"key": key, **({"facts": facts} if facts else {})}).encode("utf-8") + b"\n",
            scratch=layout.scratch(fresh_token(), "ref"),
        )
        if find(key) is None:  # removed since, by a process that did not see the ref
            path.unlink(missing_ok=True)
            raise _no_entry(kind, name, key)
    return Ref(kind=kind, name=name, key=key, facts=facts or {})


def _refuse_other_case(path: Path, kind: str, name: str) -> None:
    """Refuse a name that this file system does not tell from another: `SST2` beside `sst2`."""
    if not is_there(path):
        return
    present = [other.stem for other in path.parent.iterdir()]
    same = [other for other in present if other.lower() == name.lower()]
    if name not in present and same:
        raise UsageError(
            f"{kind}/{name} and {kind}/{same[0]} are one name on this file system",
            expected="names that differ in more than capital letters",
            fix=f"name={same[0]}    or another name",
        )


def read_ref(layout: Layout, kind: str, name: str) -> Ref | None:
    """Return a ref, or None if it is not set.

    Raises:
        DamagedError: the file of the ref does not hold a key.
    """
    path = layout.ref(kind, name)
    try:
        with storage_errors(layout.root):
            data = _bytes_of(path)
        if data is None:
            return None
        content = json.loads(data)
        key, facts = content["key"], content.get("facts", {})
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _damaged_ref(kind, name, path) from error
    if not isinstance(key, str) or not is_key(key) or not isinstance(facts, dict):
        raise _damaged_ref(kind, name, path)
    return Ref(kind=kind, name=name, key=key, facts=facts)


def all_refs(layout: Layout, kind: str | None = None) -> list[Ref]:
    """Return the refs of a kind, or all, sorted by kind and name; raises as `read_ref`."""
    with storage_errors(layout.root):
        paths = layout.ref_paths(kind)
    refs = (read_ref(layout, path.parent.name, path.stem) for path in paths)
    return [ref for ref in refs if ref is not None]


def remove_ref(layout: Layout, kind: str, name: str) -> bool:
    """Remove a ref, even a damaged one, and return whether there was one.

    Its entry stays until gc.
    """
    path = layout.ref(kind, name)
    with storage_errors(layout.root):
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        flush(path.parent)
    return True


def _bytes_of(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _no_entry(kind: str, name: str, key: str) -> UsageError:
    return UsageError(
        f"{kind}/{name} cannot point to {shorten(key)}, which is not in the store",
        expected="an entry of the store",
        fix="prefixbank cache ls",
    )


def _damaged_ref(kind: str, name: str, path: Path) -> DamagedError:
    return DamagedError(
        f"ref {kind}/{name} is damaged: {path} does not hold a key",
        expected='{"key": "<32 hexadecimal digits>"}',
        fix=f"delete {path} and set the ref again",
    )
