"""Failures of the file system, as errors that a user can act on."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prefixbank.errors import DamagedError, StoreError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM)
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)

_ELSEWHERE = "use another folder: --store PATH    or set PREFIXBANK_STORE"


@contextmanager
def storage_errors(root: Path) -> Iterator[None]:
    """Turn every `OSError` of the body into a `StoreError` about the store at `root`."""
    try:
        yield
    except OSError as error:
        raise _store_error(error, root) from error


@contextmanager
def maker_errors(root: Path) -> Iterator[None]:
    """Turn those errors of a maker that the store's folder caused; others pass unchanged."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL or (error.errno in _REFUSED and _is_below(error.filename, root)):
            raise _store_error(error, root) from error
        raise


def damaged(what: str, *, delete: Path) -> DamagedError:
    """Return the error for an entry or ref that differs from what was published.

    `delete` is what to remove to get rid of it.
    """
    return DamagedError(
        what,
        expected="the bytes that were published",
        fix=f"make it again with --force    or delete {delete}",
    )


def _is_below(filename: object, root: Path) -> bool:
    return isinstance(filename, str) and Path(filename).absolute().is_relative_to(root)


def _store_error(error: OSError, root: Path) -> StoreError:
    reason = f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
    if error.errno in _FULL:
        return StoreError(
            f"no room left for the store at {root} ({reason})",
            expected="room for the new artifact",
            fix=f"prefixbank cache gc    or {_ELSEWHERE}",
        )
    if error.errno in _REFUSED:
        return StoreError(
            f"the store at {root} cannot be used ({reason})",
            expected="a folder that this user may read and write",
            fix=_ELSEWHERE,
        )
    if error.errno in _NO_LOCKS:
        return StoreError(
            f"the file system of the store at {root} has no file locks ({reason})",
            expected="a file system with flock",
            fix=_ELSEWHERE,
        )
    return StoreError(
        f"the store at {root} failed ({reason})", expected="a working folder", fix=_ELSEWHERE
    )
