"""Resolve what a user writes (a ref, a name, a key or the beginning of a key) to an entry."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from prefixbank.env import READ_VARIABLE
from prefixbank.errors import DamagedError, UsageError, did_you_mean
from prefixbank.names import is_name
from prefixbank.store.artifact import Entry, entry_at
from prefixbank.store.key import KEY_LENGTH, shorten
from prefixbank.store.layout import Layout
from prefixbank.store.refs import PIN, Ref, all_refs, read_ref

MIN_SHORT_LENGTH = 6
"""Fewest digits of an abbreviated key."""

SHOWN = 12
"""Most names that a message lists."""

_KEY_START = re.compile(rf"[0-9a-f]{{{MIN_SHORT_LENGTH},{KEY_LENGTH}}}")


def resolve(layouts: Sequence[Layout], kind: str, text: str) -> Entry:
    """Return the entry that `text` refers to in one of several stores; see `Store.resolve`."""
    found = find(layouts, kind, text)
    return _entry_of(layouts, found) if isinstance(found, Ref) else found


def find(layouts: Sequence[Layout], kind: str, text: str) -> Ref | Entry:
    """Return the ref that `text` is, which takes precedence, or the entry whose key it begins.

    Of two refs or entries of the same name, that of the first store counts.
    """
    named = _named(layouts, kind, text)
    if len(named) > 1:
        _refuse_ambiguous(text, [str(ref) for ref in named])
    if named:
        return named[0]
    paths: list[Path] = []
    if _KEY_START.fullmatch(text):
        every = [path for layout in reversed(layouts) for path in layout.entry_paths()]
        paths = list({path.name: path for path in every if path.name.startswith(text)}.values())
    if len(paths) > 1:
        _refuse_ambiguous(text, [f"{path.name} ({path.parent.name})" for path in paths])
    if paths:
        return entry_at(paths[0])
    _refuse_unknown(layouts, kind, text)


def knows(layout: Layout, text: str) -> bool:
    """Return whether a store has something that `text` refers to, of any kind."""
    try:
        find([layout], "", text)
    except UsageError:
        return False
    return True


def _named(layouts: Sequence[Layout], kind: str, text: str) -> list[Ref]:
    """Return the refs that `text` may refer to.

    `kind/name` is one ref. A bare name is one of kind `kind`, or of any kind if that is empty.
    """
    written, slash, name = text.rpartition("/")
    if slash and kind not in ("", written):
        raise UsageError(
            f"{text!r} is not a {kind}",
            expected=f"{kind}/NAME or a key",
            fix=f"write {kind}/{name}    or see: prefixbank cache ls",
        )
    if not is_name(name) or (slash and not is_name(written)):
        return []
    kinds = (
        [written or kind]
        if written or kind
        else sorted({path.parent.name for layout in layouts for path in layout.ref_paths()})
    )
    refs = (first_ref(layouts, kind, name) for kind in kinds)
    return [ref for ref in refs if ref is not None]


def first_ref(layouts: Sequence[Layout], kind: str, name: str) -> Ref | None:
    """Return a ref of the first store that has it, or None."""
    refs = (read_ref(layout, kind, name) for layout in layouts)
    return next((ref for ref in refs if ref is not None), None)


def first_path(layouts: Sequence[Layout], key: str) -> Path | None:
    """Return the folder of an entry in the first store that has it, or None."""
    paths = (layout.find(key) for layout in layouts)
    return next((path for path in paths if path is not None), None)


def _entry_of(layouts: Sequence[Layout], ref: Ref) -> Entry:
    path = first_path(layouts, ref.key)
    if path is None:
        raise DamagedError(
            f"ref {ref} points to {shorten(ref.key)}, which is not in the store",
            expected="an entry for every ref",
            fix=f"make {ref} again    or delete {layouts[0].ref(ref.kind, ref.name)}    or set "
            f"{READ_VARIABLE} to the store that has it",
        )
    return entry_at(path)


def _refuse_ambiguous(text: str, candidates: list[str]) -> NoReturn:
    raise UsageError(
        f"{text!r} matches {len(candidates)} entries",
        expected=f"one of: {listing(candidates)}",
        fix=f"write more of it, for example {candidates[0].split()[0]}",
    )


def _refuse_unknown(layouts: Sequence[Layout], kind: str, text: str) -> NoReturn:
    refs = [ref for layout in layouts for ref in all_refs(layout, kind or None)]
    known = list({str(ref): ref for ref in refs if ref.kind != PIN}.values())
    where = " and ".join(str(layout.root) for layout in layouts)
    suggestion = did_you_mean(
        text, [str(ref) for ref in known] if "/" in text else [ref.name for ref in known]
    )
    listed = listing([str(ref) for ref in known]) or f"no {kind or 'ref'} is set yet"
    raise UsageError(
        f"no {kind or 'ref'} or key {text!r} in the store at {where}{suggestion}",
        expected=f"a ref ({listed}) or at least {MIN_SHORT_LENGTH} digits of a key",
        fix="prefixbank cache ls    or name another store: --store PATH",
    )


def listing(names: list[str]) -> str:
    """Return names in words, not all of many."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
