"""Resolve what a user writes (a ref, a name, a key or the beginning of a key) to an entry."""

from __future__ import annotations

import re
from typing import NoReturn

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


def resolve(layout: Layout, kind: str, text: str) -> Entry:
    """Return the entry that `text` refers to; see `Store.resolve`."""
    found = find(layout, kind, text)
    return _entry_of(layout, found) if isinstance(found, Ref) else found


def find(layout: Layout, kind: str, text: str) -> Ref | Entry:
    """Return the ref that `text` is, which takes precedence, or the entry whose key it begins."""
    named = _named(layout, kind, text)
    if len(named) > 1:
        _refuse_ambiguous(text, [str(ref) for ref in named])
    if named:
        return named[0]
    paths = (
        [path for path in layout.entry_paths() if path.name.startswith(text)]
        if _KEY_START.fullmatch(text)
        else []
    )
    if len(paths) > 1:
        _refuse_ambiguous(text, [f"{path.name} ({path.parent.name})" for path in paths])
    if paths:
        return entry_at(paths[0])
    _refuse_unknown(layout, kind, text)


def _named(layout: Layout, kind: str, text: str) -> list[Ref]:
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
        else sorted({path.parent.name for path in layout.ref_paths()})
    )
    refs = (read_ref(layout, kind, name) for kind in kinds)
    return [ref for ref in refs if ref is not None]


def _entry_of(layout: Layout, ref: Ref) -> Entry:
    path = layout.find(ref.key)
    if path is None:
        raise DamagedError(
            f"ref {ref} points to {shorten(ref.key)}, which is not in the store",
            expected="an entry for every ref",
            fix=f"make {ref} again    or delete {layout.ref(ref.kind, ref.name)}",
        )
    return entry_at(path)


def _refuse_ambiguous(text: str, candidates: list[str]) -> NoReturn:
    raise UsageError(
        f"{text!r} matches {len(candidates)} entries",
        expected=f"one of: {listing(candidates)}",
        fix=f"write more of it, for example {candidates[0].split()[0]}",
    )


def _refuse_unknown(layout: Layout, kind: str, text: str) -> NoReturn:
    known = [ref for ref in all_refs(layout, kind or None) if ref.kind != PIN]
    suggestion = did_you_mean(
        text, [str(ref) for ref in known] if "/" in text else [ref.name for ref in known]
    )
    listed = listing([str(ref) for ref in known]) or f"no {kind or 'ref'} is set yet"
    raise UsageError(
        f"no {kind or 'ref'} or key {text!r} in the store at {layout.root}{suggestion}",
        expected=f"a ref ({listed}) or at least {MIN_SHORT_LENGTH} digits of a key",
        fix="prefixbank cache ls    or name another store: --store PATH",
    )


def listing(names: list[str]) -> str:
    """Return names in words, not all of many."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
