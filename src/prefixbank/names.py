"""Which names may become file names, so that no path can leave its folder or be unwritable."""

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
    return re.sub(r"[^A-Za-z0-9._@-]+", "-", text).strip("-").lstrip(".@-")[:MAX_LENGTH] or empty


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


def check_utf8(what: str, text: str) -> None:
    """Raise `UsageError` unless UTF-8, in which settings and paths are stored, can write a text.

    Args:
        what: what it is, for the message.
        text: a path or an argument of the command line. Bytes that are not UTF-8 are halves of
            surrogate pairs, as Python decodes both.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        shown = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        raise UsageError(
            f"{what} is not UTF-8: {shown}",
            expected="paths and names in UTF-8",
            fix="rename the file or folder",
        ) from error


def check_key(text: str) -> None:
    """Raise `UsageError` unless `text` is a full key."""
    if not is_key(text):
        raise UsageError(
            f"{text!r} is not a key",
            expected="32 lower-case hexadecimal digits",
            fix="prefixbank cache ls",
        )
