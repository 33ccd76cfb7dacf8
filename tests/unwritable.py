"""A folder that cannot be written, for tests that may run as root, whom permissions do not stop."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_FOLDERS: list[str] = []
_WRITES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.truncate", "os.chmod")
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def _refuse_writes(event: str, args: tuple[Any, ...]) -> None:
    """Raise what a read-only file system raises, for every write below one of the folders."""
    if not _FOLDERS:
        return
    if event == "open":
        paths = args[:1] if args[2] & _WRITE_FLAGS else ()
    else:
        paths = args[:2] if event in _WRITES else ()
    for path in paths:
        if isinstance(path, str | os.PathLike) and os.fspath(path).startswith(tuple(_FOLDERS)):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), os.fspath(path))


sys.addaudithook(_refuse_writes)


@contextmanager
def unwritable(folder: Path) -> Iterator[None]:
    """Let every write below a folder fail as on a read-only file system."""
    _FOLDERS.append(str(folder))
    try:
        yield
    finally:
        _FOLDERS.pop()
