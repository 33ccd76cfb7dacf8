"""The layout of a store's folder, and its version."""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from prefixbank.env import READ_VARIABLE, STORE_VARIABLE
from prefixbank.errors import StoreError, UsageError
from prefixbank.names import check_key, check_name, check_utf8, is_key, is_name
from prefixbank.store.faults import storage_errors
from prefixbank.store.files import fresh_token, is_there, write_at_once

LAYOUT_VERSION = 1
"""History: 1 first layout."""

Scratch = Literal["out", "work", "old", "gone", "ref"]
"""Kinds of things in tmp/: an artifact being made; checkpoints of a maker; an entry that is being
replaced; one that gc is deleting; a ref being written."""

_SCRATCH = re.compile(r"([0-9a-f]{32})(?:\.[0-9a-f]{8})?\.(out|work|old|gone|ref)")


@dataclass(frozen=True)
class Layout:
    """Paths below the store's folder `root`. Every name is checked before it becomes a path."""

    root: Path

    @property
    def tmp(self) -> Path:
        """Folder of everything unfinished."""
        return self.root / "tmp"

    def entry(self, step: str, key: str) -> Path:
        """Return the folder of an entry."""
        check_name("step", step)
        check_key(key)
        return self.root / "entries" / step / key

    def scratch(self, key: str, what: Scratch) -> Path:
        """Return the path in tmp/ that belongs to a key.

        That of `out` differs by machine, since on some file systems locks hold on one machine only.
        """
        check_key(key)
        return self.tmp / (f"{key}.{_machine()}.{what}" if what == "out" else f"{key}.{what}")

    def lock(self, key: str) -> Path:
        """Return the lock file of a key."""
        check_key(key)
        return self.root / "locks" / key

    def refs(self, kind: str) -> Path:
        """Return the folder of the refs of a kind."""
        check_name("ref kind", kind)
        return self.root / "refs" / kind

    def ref(self, kind: str, name: str) -> Path:
        """Return the file of a ref."""
        check_name(kind, name)
        return self.refs(kind) / f"{name}.json"

    def entry_paths(self, step: str | None = None) -> list[Path]:
        """Return the folders of all entries, or those of one step, sorted; ignore other things."""
        folder = self.root / "entries"
        steps = (
            [path for path in _listed(folder) if is_name(path.name)]
            if step is None
            else [self.entry(step, "0" * 32).parent]
        )
        return [path for folder in steps for path in _listed(folder) if is_key(path.name)]

    def find(self, key: str) -> Path | None:
        """Return the folder of the entry with this key, whatever its step."""
        check_key(key)
        paths = (folder / key for folder in _listed(self.root / "entries") if is_name(folder.name))
        return next((path for path in paths if is_there(path)), None)

    def ref_paths(self, kind: str | None = None) -> list[Path]:
        """Return the files of all refs, or those of one kind, sorted."""
        kinds = _listed(self.root / "refs") if kind is None else [self.refs(kind)]
        files = [path for folder in kinds if is_name(folder.name) for path in _listed(folder)]
        return [path for path in files if path.suffix == ".json" and is_name(path.stem)]

    def scratch_paths(self) -> Iterator[tuple[Path, str, str]]:
        """Yield (path, key, kind) of everything in tmp/ that has one of our names."""
        for path in _listed(self.tmp):
            if match := _SCRATCH.fullmatch(path.name):
                yield path, match[1], match[2]

    def check(self) -> None:
        """Refuse a path that is no folder or not UTF-8, and a store of another layout.

        Raises:
            StoreError: it has another layout.
            UsageError: it is not a folder, or the path is not UTF-8.
        """
        check_utf8("the path of the store", str(self.root))
        with storage_errors(self.root):
            if is_there(self.root) and not self.root.is_dir():
                raise UsageError(
                    f"the store is to be at {self.root}, which is a file",
                    expected="a folder that is a store, or is empty or new",
                    fix=f"use another folder: --store PATH    or set {STORE_VARIABLE}",
                )
            if not is_there(self.root / "LAYOUT"):
                return
            text = (self.root / "LAYOUT").read_text(encoding="utf-8", errors="replace").strip()
        if text != str(LAYOUT_VERSION):
            raise StoreError(
                f"the store at {self.root} has layout {text[:20]!r}",
                expected=f"layout {LAYOUT_VERSION}, which this version of prefixbank writes",
                fix="install a newer prefixbank    or use another folder: --store PATH",
            )

    def check_present(self) -> None:
        """Refuse a folder without a store, in which a mistyped path would find nothing.

        Raises:
            UsageError: there is no store.
        """
        if not is_there(self.root / "LAYOUT"):
            raise UsageError(
                f"there is no store at {self.root}, which {READ_VARIABLE} names",
                expected="folders of stores, separated as in PATH",
                fix=f"correct {READ_VARIABLE}    or unset it",
            )
        self.check()

    def prepare(self) -> None:
        """Create the store's folders where they are missing, after LAYOUT.

        Raises:
            StoreError: the folder cannot be written.
            UsageError: it holds other files, which gc could then delete.
        """
        with storage_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            names = {
                path.name
                for path in _listed(self.root)
                if not path.name.startswith((".", "LAYOUT", "lost+found"))
            }
            if not is_there(self.root / "LAYOUT"):
                self._refuse_foreign(names)
                write_at_once(
                    self.root / "LAYOUT",
                    f"{LAYOUT_VERSION}\n".encode(),
                    scratch=self.root / f"LAYOUT.{fresh_token()}",
                )
            for name in ("entries", "refs", "locks", "tmp"):
                (self.root / name).mkdir(exist_ok=True)
        self.check()

    def is_own(self, path: Path) -> bool:
        """Return whether `path` is below root, and no part of it is a link."""
        if not path.is_relative_to(self.root) or ".." in path.parts:
            return False
        return path.resolve() == self.root.resolve() / path.relative_to(self.root)

    def _refuse_foreign(self, names: set[str]) -> None:
        if names:
            raise UsageError(
                f"the folder {self.root} is not a store: it holds {', '.join(sorted(names)[:3])}",
                expected="a store, an empty folder or a new one",
                fix=f"--store {self.root / 'store'}",
            )


def _machine() -> str:
    return hashlib.sha256(platform.node().encode("utf-8")).hexdigest()[:8]


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
