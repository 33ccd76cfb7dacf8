"""Which names may become file names, so that no path can leave its folder."""

from __future__ import annotations

import re

from prefixbank.errors import UsageError

MAX_LENGTH = 128
DESCRIPTION = (
    "ASCII letters, digits and '._@-', first a letter, a digit or '_', at most "
    f"{MAX_LENGTH} characters"
)

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@-]*")
_KEY = re.compile(r"[0-9a-f]{32}")


def is_name(text: str) -> bool:
    """Return whether `text` may be a name.

    A name is an ASCII letter, digit or `_`, then letters, digits and `._@-`; 128 characters at
    most.
    """
    return len(text) <= MAX_LENGTH and _NAME.fullmatch(text) is not None


def is_name_or_empty(text: str) -> bool:
    """Return whether `text` may be a name, or stands for a default one."""
    return not text or is_name(text)


def is_key(text: str) -> bool:
    """Return whether `text` is 32 lower-case hexadecimal digits."""
    return _KEY.fullmatch(text) is not None


def is_file_name(text: str) -> bool:
    """Return whether `text` is one or more names joined by `/`, as files of artifacts have."""
    return all(is_name(part) for part in text.split("/"))


def as_name(text: str, *, empty: str) -> str:
    """Return a name that is like `text`, or `empty` if none of its characters may stand in one."""
    return re.sub(r"[^A-Za-z0-9._@-]+", "-", text).strip("-").lstrip(".@")[:MAX_LENGTH] or empty


def check_name(kind: str, text: str, *, setting: str = "") -> None:
    """Raise `UsageError` unless `text` is a name.

    Args:
        kind: what it names, for the message.
        text: the name.
        setting: what sets it, if a setting does.
    """
    if not is_name(text):
        suggestion = as_name(text, empty="name")
        raise UsageError(
            f"{kind} name {text!r} cannot be used",
            expected=DESCRIPTION,
            fix=f"{setting}={suggestion}" if setting else f"use a name such as '{suggestion}'",
        )


def check_key(text: str) -> None:
    """Raise `UsageError` unless `text` is a full key."""
    if not is_key(text):
        raise UsageError(
            f"{text!r} is not a key",
            expected="32 lower-case hexadecimal digits",
            fix="prefixbank cache ls",
        )
