"""All errors of prefixbank: what happened, what was expected, how to fix it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class PrefixbankError(Exception):
    """Base of all errors that prefixbank raises on purpose.

    Args:
        what: what happened, with the offending value.
        expected: what would have been right.
        fix: what to try next, a command if there is one.
    """

    exit_code: int = 1

    def __init__(self, what: str, *, expected: str, fix: str) -> None:
        super().__init__(what)
        self.what = what
        self.expected = expected
        self.fix = fix

    def __str__(self) -> str:
        """Return the three lines that the command line prints."""
        return f"error: {self.what}\nexpected: {self.expected}\nfix: {self.fix}"


class UsageError(PrefixbankError):
    """A wrong option, name or value."""

    exit_code = 2


class DataError(UsageError):
    """Texts or labels that cannot be used as they are."""


class EncoderError(UsageError):
    """An encoder that cannot use a prefix, or does not fit the other inputs."""


class HubError(PrefixbankError):
    """A hub repository, or a folder elsewhere, that cannot be reached, read or written."""


class DeviceError(PrefixbankError):
    """The machine lacks a device or memory."""


class TrainingError(PrefixbankError):
    """Training cannot continue, for example because the loss is not finite."""


class StoreError(PrefixbankError):
    """The store cannot be read or written: permissions, space, locks."""


class DamagedError(PrefixbankError):
    """An artifact that differs from what was published."""

    exit_code = 3


class Faults(UsageError):
    """Several faults, reported together."""

    def __init__(self, faults: Sequence[PrefixbankError]) -> None:
        first = faults[0]
        super().__init__(first.what, expected=first.expected, fix=first.fix)
        self.faults = tuple(faults)
        codes = {fault.exit_code for fault in faults}
        self.exit_code = codes.pop() if len(codes) == 1 else max(codes - {UsageError.exit_code})

    def __str__(self) -> str:
        """Return three lines for each fault, in order."""
        return "\n".join(str(fault) for fault in self.faults)


def raise_faults(faults: Sequence[PrefixbankError]) -> None:
    """Raise nothing, the only fault, or all of them as one `Faults`."""
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise Faults(faults)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for a similar name, else an empty string."""
    suggestions = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{suggestions[0]}'?" if suggestions else ""
