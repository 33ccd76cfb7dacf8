"""One lock for each key, so that two processes do not make the same artifact.

The system frees it when its holder dies.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from prefixbank.store.faults import storage_errors


@contextmanager
def lock(path: Path, *, root: Path, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Wait for the lock of file `path` and hold it for the body.

    Args:
        path: the lock file; created if it is missing, removed afterwards.
        root: the store's folder, for messages.
        on_wait: called once if another holder has the lock.

    Raises:
        StoreError: the lock file cannot be created, or the file system has no locks.
    """
    with storage_errors(root):
        descriptor = _acquire(path, wait=False)
    if descriptor is None:
        if on_wait is not None:
            on_wait()
        with storage_errors(root):
            descriptor = _acquire(path, wait=True)
    try:
        yield
    finally:
        _release(path, descriptor)


@contextmanager
def lock_if_free(path: Path, *, root: Path) -> Iterator[bool]:
    """Hold the lock for the body if it is free, and yield whether it is held."""
    with storage_errors(root):
        descriptor = _acquire(path, wait=False)
    try:
        yield descriptor is not None
    finally:
        _release(path, descriptor)


def is_locked(path: Path) -> bool:
    """Return whether some process holds the lock, without writing anything."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return not _flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)


def _acquire(path: Path, *, wait: bool) -> int | None:
    """Return the descriptor that holds the lock, or None if it is taken and `wait` is false."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            held = _flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if held and _still_names(path, descriptor):
                locked, descriptor = descriptor, -1
                return locked
            if not held:
                return None
        finally:
            if descriptor >= 0:
                os.close(descriptor)


def _flock(descriptor: int, operation: int) -> bool:
    try:
        fcntl.flock(descriptor, operation)
    except BlockingIOError:
        return False
    return True


def _still_names(path: Path, descriptor: int) -> bool:
    """Return whether the path still names the locked file; the previous holder removes it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _release(path: Path, descriptor: int | None) -> None:
    """Remove the file while it is locked, then unlock it.

    Forked children share the descriptor, so it is unlocked for them, too.
    """
    if descriptor is None:
        return
    try:
        path.unlink(missing_ok=True)
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)
