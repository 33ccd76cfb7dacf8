"""Small file operations that have to be right: hash, flush to disk, write at once, delete."""

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
    """Wait until a file's bytes, or a folder's list of names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_flushed(path: Path, data: bytes) -> None:
    """Write a new file and wait until it is on the disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_at_once(path: Path, data: bytes, *, scratch: Path) -> None:
    """Put `data` at `path` so that a reader sees the old bytes or the new ones and nothing between.

    Args:
        path: the file to make or replace.
        data: its new bytes.
        scratch: a name on the same file system that nobody else uses; gone afterwards.
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
    """Tell whether anything has this name, a link that leads nowhere included."""
    return path.is_symlink() or path.exists()


def touch(path: Path) -> None:
    """Note that something is in use, by its time of change.

    Without the right to, or when it is gone, do nothing.
    """
    with suppress(OSError):
        os.utime(path)


def discard(path: Path) -> None:
    """Delete a file, a link (not what it leads to) or a folder; nothing there is no error."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def walk(folder: Path) -> Iterator[Path]:
    """Yield everything below a folder, each folder after its contents; links are not followed."""
    for item in sorted(folder.iterdir()):
        if item.is_dir() and not item.is_symlink():
            yield from walk(item)
        yield item


def regular_files(folder: Path) -> dict[str, Path]:
    """Return the files below a folder by their name relative to it, with `/`, sorted.

    Raises:
        ValueError: something is neither a file nor a folder, for example a link.
    """
    found = {}
    for path in walk(folder):
        name = path.relative_to(folder).as_posix()
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode):
            found[name] = path
        elif not stat.S_ISDIR(mode):
            raise ValueError(f"{name} is neither a file nor a folder")
    return dict(sorted(found.items()))


def tree_size_bytes(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder; a link counts itself alone."""
    return sum(status.st_size for status in _statuses(path) if not stat.S_ISDIR(status.st_mode))


def last_change_ns(path: Path) -> int:
    """Return when the newest thing in a tree was last written or touched.

    In nanoseconds since 1970; 0 if nothing is there.
    """
    return max((status.st_mtime_ns for status in _statuses(path)), default=0)


def _statuses(path: Path) -> list[os.stat_result]:
    """Return the status of everything in a tree, without what another process deletes meanwhile."""
    found = []
    with suppress(FileNotFoundError):
        found.append(path.lstat())
        for item in walk(path) if stat.S_ISDIR(found[0].st_mode) else ():
            with suppress(FileNotFoundError):
                found.append(item.lstat())
    return found
