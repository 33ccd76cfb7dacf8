"""Which names may become file names, so that no path can leave its folder."""

from __future__ import annotations

import re

from prefixbank.errors import UsageError

MAX_LENGTH = 128

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@-]*")
_KEY = re.compile(r"[0-9a-f]{32}")


def is_name(text: str) -> bool:
    """Return whether `text` may be a name.

    A name is an ASCII letter, digit or `_`, then letters, digits and `._@-`; 128 characters at
    most.
    """
    return len(text) <= MAX_LENGTH and _NAME.fullmatch(text) is not None


def is_key(text: str) -> bool:
    """Return whether `text` is 32 lower-case hexadecimal digits."""
    return _KEY.fullmatch(text) is not None


def is_file_name(text: str) -> bool:
    """Return whether `text` is one or more names joined by `/`, as files of artifacts have."""
    return all(is_name(part) for part in text.split("/"))


def check_name(kind: str, text: str) -> None:
    """Raise `UsageError` unless `text` is a name; `kind` is what it names, for the message."""
    if not is_name(text):
        suggestion = re.sub(r"[^A-Za-z0-9._@-]+", "-", text).lstrip(".@-")[:MAX_LENGTH] or "name"
        raise UsageError(
            f"{kind} name {text!r} cannot be used",
            expected=(
                "ASCII letters, digits and '._@-', first a letter, a digit or '_', at most "
                f"{MAX_LENGTH} characters"
            ),
            fix=f"use a name such as '{suggestion}'",
        )


def check_key(text: str) -> None:
    """Raise `UsageError` unless `text` is a full key."""
    if not is_key(text):
        raise UsageError(
            f"{text!r} is not a key",
            expected="32 lower-case hexadecimal digits",
            fix="prefixbank cache ls",
        )
