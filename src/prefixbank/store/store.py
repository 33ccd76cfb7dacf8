"""The store: a folder of immutable entries, looked up by key and named by refs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from prefixbank.env import read_roots
from prefixbank.errors import DamagedError, UsageError
from prefixbank.project import store_root
from prefixbank.store import gc, publish, refs, remove, resolve, verify
from prefixbank.store.artifact import Entry, entry_if_there
from prefixbank.store.faults import storage_errors
from prefixbank.store.files import touch
from prefixbank.store.gc import GcItem
from prefixbank.store.key import JSON, key_of, shorten
from prefixbank.store.layout import Layout
from prefixbank.store.locks import lock_if_free
from prefixbank.store.publish import Make
from prefixbank.store.refs import PIN, Ref
from prefixbank.store.remove import Removal
from prefixbank.store.verify import Verdict

GRACE_DAYS = 14


class Store:
    """A store below `root`, and others that are only read.

    The first write creates the folder; without it the store is empty. Artifacts and refs of the
    others are found as if they were in it, but after its own. Nothing is written there, and `gc`,
    `remove` and `verify` leave them alone.

    Every method raises `StoreError` if the folder cannot be used (read-only, full, no permission),
    and `DamagedError` if it opens an entry or a ref that differs from what was written.

    Raises:
        StoreError: `root` holds a store of a newer layout, or there is no store to read.
    """

    def __init__(self, root: Path, read: Iterable[Path] = ()) -> None:
        self._layout = Layout(root.expanduser().absolute())
        self._layout.check()
        others = dict.fromkeys(Layout(one.expanduser().absolute()) for one in read)
        self._read_only = [layout for layout in others if layout != self._layout]
        for layout in self._read_only:
            layout.check_present()

    @classmethod
    def open(cls, root: str | Path | None = None) -> Store:
        """Return the store at `root`, or the user's, with the stores that are only read.

        Args:
            root: value of `--store`; None: as `project.store_root` says.
        """
        return cls(store_root(root), read_roots())

    def __repr__(self) -> str:
        """Return the folder."""
        return f"Store({str(self.root)!r})"

    @property
    def root(self) -> Path:
        """The store's folder, absolute."""
        return self._layout.root

    @property
    def read_only(self) -> list[Path]:
        """The folders of the stores that are only read, in the order in which they are searched."""
        return [layout.root for layout in self._read_only]

    def root_of(self, entry: Entry) -> Path:
        """Return the folder of the store that has an entry."""
        return entry.path.parents[2]

    def get(self, key: str) -> Entry | None:
        """Return the entry with this full key, or None; files are checked when they are opened."""
        path = self._find(key)
        return None if path is None else entry_if_there(path)

    def use(self, key: str) -> Entry | None:
        """Return the entry with this full key as `get` does; its days of grace start again."""
        entry = self.get(key)
        if entry is not None and entry.path.is_relative_to(self.root):
            touch(entry.path)
        return entry

    def build(
        self,
        document: JSON,
        make: Make,
        *,
        force: bool = False,
        on_wait: Callable[[], None] | None = None,
    ) -> tuple[Entry, bool]:
        """Return the entry of `document` and whether it existed already; make it if it did not.

        One process makes a key at a time; a second one waits and then gets the entry. If `make`
        raises, or the process is killed, nothing is published. `work` is then kept for the next
        attempt, and `out` is not.

        Args:
            document: what determines the result, from `document()`.
            make: `make(out, work)` writes the files into the empty folder `out`, may keep
                checkpoints in `work`, and returns the info.
            force: make it without checkpoints, and replace the entry, damaged or not.
            on_wait: called once if another process is making this key.

        Raises:
            DamagedError: the entry is damaged, and `force` is false.
            StoreError: the store cannot be written.
            ValueError, TypeError: `make` left a file or an info that cannot be published.
        """
        if not force and (entry := self._of_others(key_of(document))) is not None:
            return entry, True
        return publish.build(self._layout, document, make, force=force, on_wait=on_wait)

    @contextmanager
    def work_of(self, key: str) -> Iterator[Path | None]:
        """Lend the folder of checkpoints of another key, for what its maker is to find there.

        It is None if a process is making that key. In the body no other process makes it; each
        file has to be written by a rename.
        """
        self._layout.prepare()
        with lock_if_free(self._layout.lock(key), root=self.root) as is_free:
            if not is_free:
                yield None
                return
            folder = self._layout.scratch(key, "work")
            with storage_errors(self.root):
                folder.mkdir(exist_ok=True)
            yield folder

    def entries(self, step: str | None = None) -> list[Entry]:
        """Return all readable entries, or those of a step, oldest first; see `damaged`."""
        return [entry for _, entry in self._read(step) if isinstance(entry, Entry)]

    def damaged(self, step: str | None = None) -> list[tuple[Path, DamagedError]]:
        """Return the folders of own entries (of a step) whose entry.json is damaged, and why.

        `verify` checks all files.
        """
        return [
            (path, error)
            for path, error in self._read(step)
            if isinstance(error, DamagedError) and path.is_relative_to(self.root)
        ]

    def set_ref(self, kind: str, name: str, key: str, facts: JSON | None = None) -> Ref:
        """Point `kind/name` to an entry. Nothing is written if it does so already.

        Args:
            kind: of the ref.
            name: of the ref.
            key: of the entry.
            facts: about the entry under this name; None: those that the ref has.

        Raises:
            UsageError: a name that cannot be used, or no such entry.
        """
        current = self.ref(kind, name)
        is_same = current is not None and current.key == key and facts in (None, current.facts)
        if current is not None and is_same and self._find(key) is not None:
            if own := self._layout.find(key):
                touch(own)
            return current
        return refs.set_ref(self._layout, kind, name, key, self._find, facts)

    def ref(self, kind: str, name: str) -> Ref | None:
        """Return a ref, or None if it is not set."""
        return resolve.first_ref(self._layouts, kind, name)

    def home_of(self, kind: str, name: str) -> Store:
        """Return the store that a ref is found in: this one, or one that is only read, alone."""
        for layout in self._read_only:
            if refs.read_ref(self._layout, kind, name) is None and refs.read_ref(
                layout, kind, name
            ):
                return Store(layout.root)
        return self

    def refs(self, kind: str | None = None) -> list[Ref]:
        """Return the refs of a kind, or all of them with the pins, sorted."""
        own = refs.all_refs(self._layout, kind)
        others = [ref for layout in self._read_only for ref in refs.all_refs(layout, kind)]
        merged = {str(ref): ref for ref in reversed(others) if ref.kind != PIN}
        merged |= {str(ref): ref for ref in own}
        return sorted(merged.values(), key=lambda ref: (ref.kind, ref.name))

    def remove_ref(self, kind: str, name: str) -> bool:
        """Remove an own ref and return whether there was one; its entry stays until gc."""
        return refs.remove_ref(self._layout, kind, name)

    def pin(self, key: str) -> None:
        """Keep an entry, and everything it was made from, from gc."""
        self._present(key)
        refs.set_ref(self._layout, PIN, key, key, self._layout.find)

    def unpin(self, key: str) -> bool:
        """Remove a pin and return whether there was one."""
        return refs.remove_ref(self._layout, PIN, key)

    def pins(self) -> list[str]:
        """Return the pinned keys, sorted."""
        return [ref.key for ref in refs.all_refs(self._layout, PIN)]

    def resolve(self, kind: str, text: str) -> Entry:
        """Return the entry that a user refers to.

        Args:
            kind: kind of ref (`prefix`, `bank`); empty: any kind.
            text: `kind/name`, `name`, a full key, or its first digits, 6 or more. A ref takes
                precedence over a key.

        Raises:
            UsageError: no entry, or more than one, matches; the message lists what there is.
            DamagedError: a ref points to no entry.
        """
        with storage_errors(self.root):
            return resolve.resolve(self._layouts, kind, text)

    def gc_plan(self, now: datetime, grace_days: float = GRACE_DAYS) -> list[GcItem]:
        """Return what may be deleted; nothing is written.

        An entry is kept if a ref or pin points to it; if it was made, or used by `use` or `build`,
        in the last `grace_days`; if the document of a kept entry names its key, its digest or the
        SHA-256 of one of its files; or if it is locked. In tmp/, half-made folders of dead
        processes may be deleted at once, checkpoints after the days of grace.

        Raises:
            DamagedError: an entry.json or ref is damaged, so that what it keeps is unknown.
        """
        return gc.plan(self._layout, now, grace_days)

    def gc_run(self, plan: Sequence[GcItem]) -> int:
        """Delete the items of a plan, except those used, named or locked since.

        Return the bytes freed. Links are not followed.
        """
        return gc.run(self._layout, plan)

    def removal_plan(self, names: Sequence[str], *, dependents: bool = False) -> Removal:
        """Return what is removed with refs and keys; nothing is written.

        With a key, the artifact goes with all its refs. With a ref, the ref goes, and the artifact
        if no other ref, no pin and no other artifact needs it.

        Args:
            names: as in `resolve`, of any kind.
            dependents: remove what was made from the artifacts, too.

        Raises:
            UsageError: nothing has such a name; or an artifact that was given by its key is pinned,
                or another was made from it.
            DamagedError: an entry.json or ref is damaged, so that what it needs is unknown.
        """
        for name in names:
            self._refuse_only_read(name)
        return remove.plan(self._layout, names, dependents=dependents)

    def _refuse_only_read(self, name: str) -> None:
        """Raise UsageError for a name that this store does not have, but one that is only read."""
        if resolve.knows(self._layout, name):
            return
        for layout in self._read_only:
            if resolve.knows(layout, name):
                raise self._only_read(name, layout.root)

    def remove(self, removal: Removal) -> int:
        """Remove what a plan says and return the bytes freed.

        Raises:
            StoreError: another process makes one of the artifacts, or something has changed since;
                nothing is removed.
        """
        return remove.run(self._layout, removal)

    def verify(self, keys: Iterable[str] | None = None) -> Iterator[Verdict]:
        """Read every file of own entries, all or those with these keys, and yield a verdict each.

        Raises:
            UsageError: a key that is not in the store.
        """
        with storage_errors(self.root):
            paths = (
                self._layout.entry_paths() if keys is None else [self._present(key) for key in keys]
            )
        return verify.verify(paths)

    @property
    def _layouts(self) -> list[Layout]:
        return [self._layout, *self._read_only]

    def _find(self, key: str) -> Path | None:
        with storage_errors(self.root):
            return resolve.first_path(self._layouts, key)

    def _of_others(self, key: str) -> Entry | None:
        """Return an entry that only a store has which is only read."""
        path = self._find(key)
        is_own = path is None or path.is_relative_to(self.root)
        return None if path is None or is_own else entry_if_there(path)

    def _only_read(self, name: str, other: Path) -> UsageError:
        return UsageError(
            f"{name} is in the store at {other}, which is only read",
            expected=f"an entry of the store at {self.root}",
            fix=f"--store {other}    if it is yours",
        )

    def _present(self, key: str) -> Path:
        path = self._find(key)
        if path is not None and not path.is_relative_to(self.root):
            raise self._only_read(f"entry {shorten(key)}", path.parents[2])
        if path is None:
            raise UsageError(
                f"no entry {shorten(key)} in the store at {self.root}",
                expected="the key of an entry",
                fix="prefixbank cache ls",
            )
        return path

    def _read(self, step: str | None = None) -> list[tuple[Path, Entry | DamagedError]]:
        with storage_errors(self.root):
            every = [path for one in reversed(self._layouts) for path in one.entry_paths(step)]
            paths = {path.name: path for path in every}.values()
        pairs = [(path, _entry_or_damage(path)) for path in paths]
        return sorted([(path, entry) for path, entry in pairs if entry is not None], key=_age)


def _entry_or_damage(path: Path) -> Entry | DamagedError | None:
    try:
        return entry_if_there(path)
    except DamagedError as error:
        return error


def _age(item: tuple[Path, Entry | DamagedError]) -> tuple[str, str]:
    path, entry = item
    return (str(entry.info.get("created", "")) if isinstance(entry, Entry) else "", path.name)
