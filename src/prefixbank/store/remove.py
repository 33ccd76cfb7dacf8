"""Remove artifacts and refs: no ref dangles afterwards, and nothing lacks what it was made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass

from prefixbank.errors import PrefixbankError, StoreError, UsageError, raise_faults
from prefixbank.store.artifact import Entry
from prefixbank.store.faults import storage_errors
from prefixbank.store.files import discard
from prefixbank.store.gc import GcItem, inputs_of, item_at, read_entries
from prefixbank.store.layout import Layout
from prefixbank.store.locks import lock_if_free
from prefixbank.store.refs import PIN, Ref, all_refs, remove_ref
from prefixbank.store.resolve import find, listing


@dataclass(frozen=True, kw_only=True)
class Removal:
    """What goes, and what stays.

    Args:
        names: the refs and keys that were given.
        dependents: whether what was made from them goes, too.
        refs: refs that go.
        items: artifacts that go, each before what it was made from.
        kept: artifacts of which only a ref goes, with the reason why they stay.
    """

    names: tuple[str, ...]
    dependents: bool
    refs: tuple[Ref, ...]
    items: tuple[GcItem, ...]
    kept: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Graph:
    """The artifacts of a store by key, its refs, and the keys of what was made from each."""

    entries: Mapping[str, Entry]
    refs: Sequence[Ref]
    users: Mapping[str, Set[str]]

    def with_users(self, keys: Iterable[str]) -> set[str]:
        """Return keys, and those of all that was made from them."""
        found: set[str] = set()
        waiting = list(keys)
        while waiting:
            key = waiting.pop()
            if key not in found:
                found.add(key)
                waiting += self.users[key]
        return found

    def users_first(self, keys: Set[str]) -> list[str]:
        """Return keys in an order in which each stands behind what was made from it."""
        ordered: list[str] = []
        seen: set[str] = set()

        def visit(key: str) -> None:
            if key not in seen:
                seen.add(key)
                for user in sorted(self.users[key] & keys):
                    visit(user)
                ordered.append(key)

        for key in sorted(keys):
            visit(key)
        return ordered

    def called(self, key: str) -> str:
        """Return what messages call an artifact: step, key and refs."""
        entry = self.entries[key]
        names = [str(ref) for ref in self.refs if ref.key == key and ref.kind != PIN]
        shown = f" ({', '.join(names)})" if names else ""
        return f"{entry.step.replace('_', '-')} {entry.short_key}{shown}"

    def all_called(self, keys: Iterable[str]) -> str:
        """Return what messages call several artifacts."""
        return listing([self.called(key) for key in sorted(keys)])


def plan(layout: Layout, names: Sequence[str], *, dependents: bool) -> Removal:
    """Return what goes with refs and keys, without writing anything; see `Store.removal_plan`."""
    with storage_errors(layout.root):
        found = [find([layout], "", name) for name in names]
        entries = {entry.key: entry for entry in read_entries(layout)}
        graph = _Graph(entries=entries, refs=all_refs(layout), users=_users(entries))
    named = [one for one in found if isinstance(one, Ref) and one.kind != PIN]
    of_refs = {ref.key for ref in named} & entries.keys()
    by_key = {one.key for one in found if one not in named} & entries.keys()
    if dependents:
        by_key |= graph.with_users(by_key | of_refs) - of_refs
    left = [ref for ref in graph.refs if ref not in named and _stays(ref, by_key)]
    going = _without_needed(graph, by_key, of_refs - by_key, left)
    raise_faults(list(_faults(graph, by_key, going, left)))
    return Removal(
        names=tuple(names),
        dependents=dependents,
        refs=tuple(ref for ref in graph.refs if ref not in left),
        items=tuple(
            item_at(entries[key].path, graph.called(key)) for key in graph.users_first(going)
        ),
        kept=tuple(
            f"{graph.called(key)}: {_need(graph, key, going, left)}"
            for key in sorted(of_refs - going)
        ),
    )


def run(layout: Layout, removal: Removal) -> int:
    """Remove what a plan says and return the bytes freed.

    Raises:
        StoreError: another process makes one of the artifacts, or something has changed; nothing is
            removed. Or another process names an artifact at this moment; it stays.
    """
    freed_bytes = 0
    with storage_errors(layout.root), ExitStack() as held:
        layout.prepare()
        for item in removal.items:
            lock = lock_if_free(layout.lock(item.path.name), root=layout.root)
            is_free = held.enter_context(lock)
            if not is_free:
                raise _in_use(f"another process is making {item.reason}")
        if plan(layout, removal.names, dependents=removal.dependents) != removal:
            raise _in_use("the store has changed since the plan was made")
        for ref in removal.refs:
            remove_ref(layout, ref.kind, ref.name)
        for item in removal.items:
            gone = layout.scratch(item.path.name, "gone")
            discard(gone)
            item.path.rename(gone)
            if any(ref.key == item.path.name for ref in all_refs(layout)):
                gone.rename(item.path)
                raise _in_use(f"another process has just named {item.reason}")
            discard(gone)
            freed_bytes += item.size_bytes
    return freed_bytes


def _users(entries: Mapping[str, Entry]) -> dict[str, set[str]]:
    users: dict[str, set[str]] = {key: set() for key in entries}
    for key, inputs in inputs_of(list(entries.values())).items():
        for one in inputs - {key}:
            users[one].add(key)
    return users


def _stays(ref: Ref, by_key: Set[str]) -> bool:
    """Whether a ref that was not named stays: pins do, and refs of what is not given by key."""
    return ref.kind == PIN or ref.key not in by_key


def _without_needed(
    graph: _Graph, by_key: Set[str], of_refs: Set[str], left: Sequence[Ref]
) -> set[str]:
    """Return the keys that go: of those whose ref goes, only what nothing needs any more."""
    going = set(by_key | of_refs)
    while needed := [key for key in of_refs & going if _need(graph, key, going, left)]:
        going -= set(needed)
    return going


def _need(graph: _Graph, key: str, going: Set[str], left: Sequence[Ref]) -> str:
    """Return what needs an artifact that is to go; empty if nothing does."""
    others = [str(ref) for ref in left if ref.key == key and ref.kind != PIN]
    if others:
        return f"{listing(others)} is another name of it"
    if any(ref.key == key for ref in left):
        return "it is pinned"
    users = graph.users[key] - going
    return f"needed by {graph.all_called(users)}" if users else ""


def _faults(
    graph: _Graph, by_key: Set[str], going: Set[str], left: Sequence[Ref]
) -> Iterable[PrefixbankError]:
    """Yield a fault for each artifact that was given by key and is needed."""
    for key in sorted(by_key):
        entry = graph.entries[key]
        if any(ref.key == key for ref in left):
            yield UsageError(
                f"{graph.called(key)} is pinned",
                expected="an artifact without a pin",
                fix=f"prefixbank cache pin --remove {entry.short_key}",
            )
        elif users := graph.users[key] - going:
            yield UsageError(
                f"{graph.called(key)} is what {graph.all_called(users)} was made from",
                expected="an artifact that no other needs",
                fix=f"prefixbank cache rm --dependents {entry.short_key}    removes them, too",
            )


def _in_use(what: str) -> StoreError:
    return StoreError(
        what,
        expected="a store that nothing else changes meanwhile",
        fix="run the command again",
    )
