"""Read every byte of entries and check that they are what was published."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from prefixbank.errors import PrefixbankError
from prefixbank.store.artifact import ENTRY_FILE, entry_at
from prefixbank.store.faults import damaged, storage_errors
from prefixbank.store.files import walk


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The result of verifying an entry; `error` is None if it is undamaged."""

    key: str
    step: str
    path: Path
    error: PrefixbankError | None

    @property
    def ok(self) -> bool:
        """Whether the entry is undamaged."""
        return self.error is None


def verify(paths: Sequence[Path]) -> Iterator[Verdict]:
    """Yield a verdict for each entry folder.

    entry.json must fit the folder and its key, and every file its SHA-256. There must be no other
    files.
    """
    for path in paths:
        yield Verdict(key=path.name, step=path.parent.name, path=path, error=_error_of(path))


def _error_of(path: Path) -> PrefixbankError | None:
    try:
        entry = entry_at(path)
        with storage_errors(path):
            present = {
                item.relative_to(path).as_posix()
                for item in walk(path)
                if item.is_symlink() or not item.is_dir()
            }
        faults = [fault for name in entry.files if (fault := entry.fault_of(name))]
    except PrefixbankError as error:
        return error
    faults += [
        f"{name} was not published" for name in sorted(present - set(entry.files) - {ENTRY_FILE})
    ]
    return (
        damaged(f"artifact {path} is damaged: {'; '.join(faults)}", delete=path) if faults else None
    )
