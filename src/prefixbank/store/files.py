"""File operations of the store: hash, flush to disk, write atomically, delete."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush(path: Path) -> None:
    """Wait until a file's bytes, or a folder's entries, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_flushed(path: Path, data: bytes) -> None:
    """Write a new file and wait until it is on disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_at_once(path: Path, data: bytes, *, scratch: Path) -> None:
    """Write `data` to `path` atomically: a reader sees the old bytes or the new ones.

    Args:
        path: the file to create or replace.
        data: its new bytes.
        scratch: an unused path on the same file system for a temporary file.
    """
    try:
        write_flushed(scratch, data)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
    flush(path.parent)


def fresh_token() -> str:
    """Return 32 random hexadecimal digits."""
    return secrets.token_hex(16)


def is_there(path: Path) -> bool:
    """Return whether the path exists, or is a link that leads nowhere."""
    return path.is_symlink() or path.exists()


def touch(path: Path) -> None:
    """Record the use of a file or folder in its modification time; ignore failures."""
    with suppress(OSError):
        os.utime(path)


def discard(path: Path) -> None:
    """Delete a file, a link (not its target) or a folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def walk(folder: Path) -> Iterator[Path]:
    """Yield everything below a folder, contents before their folder; links are not followed."""
    for item in sorted(folder.iterdir()):
        if item.is_dir() and not item.is_symlink():
            yield from walk(item)
        yield item


def regular_files(folder: Path) -> dict[str, Path]:
    """Return the files below a folder by their relative names, with `/`, sorted.

    Raises:
        ValueError: something is neither a file nor a folder, for example a link.
    """
    files = {}
    for path in walk(folder):
        name = path.relative_to(folder).as_posix()
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode):
            files[name] = path
        elif not stat.S_ISDIR(mode):
            raise ValueError(f"{name} is neither a file nor a folder")
    return dict(sorted(files.items()))


def tree_size_bytes(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder; links are not followed."""
    return sum(status.st_size for status in _statuses(path) if not stat.S_ISDIR(status.st_mode))


def sole_size_bytes(path: Path) -> int:
    """Return the bytes that deleting a tree frees: those of files that have no other name."""
    return sum(
        status.st_size
        for status in _statuses(path)
        if not stat.S_ISDIR(status.st_mode) and status.st_nlink == 1
    )


def last_change_ns(path: Path) -> int:
    """Return the latest modification time in a tree, in ns since 1970; 0 if it does not exist."""
    return max((status.st_mtime_ns for status in _statuses(path)), default=0)


def _statuses(path: Path) -> list[os.stat_result]:
    """Return the status of everything in a tree; what another process deletes is left out."""
    statuses = []
    with suppress(FileNotFoundError):
        statuses.append(path.lstat())
        for item in walk(path) if stat.S_ISDIR(statuses[0].st_mode) else ():
            with suppress(FileNotFoundError):
                statuses.append(item.lstat())
    return statuses
