"""Keys: a result is identified by the hash of a document of everything that determines it."""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Final

from prefixbank.names import check_name

SCHEMA = 1
"""Version of the document's form. History: 1 first form."""

JSON = dict[str, Any]

KEY_LENGTH = 32
"""Hexadecimal digits of a key: 128 bits."""

SHORT_LENGTH = 8
"""Digits of a key or digest in messages."""

_PARTS = ("schema", "step", "version", "config", "inputs")
_HEX_RUN = re.compile(r"(?<![0-9a-zA-Z])[0-9a-f]{32,}(?![0-9a-zA-Z])")
_BARE = re.compile(r"(?!(?:true|false|null)$)[A-Za-z_./@:-][^\s\"\\]*")


class Absent:
    """Stands for a value that is missing in one of two documents."""


ABSENT: Final = Absent()


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A value in which two documents differ: its name, and what it is in each."""

    name: str
    old: object
    new: object

    def __str__(self) -> str:
        """Return `optim.lr 0.01 -> 0.005` or `prefix.length added 8`; digests have 8 digits."""
        if isinstance(self.old, Absent):
            return f"{self.name} added {_shown(self.new)}"
        if isinstance(self.new, Absent):
            return f"{self.name} removed {_shown(self.old)}"
        return f"{self.name} {_shown(self.old)} -> {_shown(self.new)}"

    @property
    def is_of_digests(self) -> bool:
        """Whether the values are keys or digests, which say nothing to a reader."""
        values = [one for one in (self.old, self.new) if not isinstance(one, Absent)]
        return all(isinstance(one, str) and _HEX_RUN.fullmatch(one) for one in values)


def canonical_json(value: object) -> bytes:
    """Return the canonical JSON of `value`: sorted names, no whitespace, UTF-8.

    Tuples are written as lists. Numbers keep their type: `1`, `1.0` and `true` are three different
    values with three different texts. A float is written as the shortest decimal that parses to the
    same bits, so `-0.0` and `0.0` differ, too. Text is not normalised.

    Raises:
        TypeError: a value that is not None, bool, int, float, str, list, tuple or dict, exactly (no
            subclasses of the scalars, so no enums and no numpy numbers), or a name that is not a
            str.
        ValueError: NaN, an infinity, or text with a lone surrogate, which has no UTF-8 form.
    """
    plain = _plain(value, "value")
    return json.dumps(
        plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode("utf-8")


def document(*, step: str, version: int, config: JSON, inputs: JSON) -> JSON:
    """Return the document that determines a result, as it is parsed from its JSON.

    Args:
        step: name of the step; also the folder of its entries.
        version: the step's version, raised when its code changes results.
        config: the settings that can change the result, and no others.
        inputs: digests of everything that is read.

    Raises:
        TypeError, ValueError: as `canonical_json`.
        UsageError: `step` cannot be a folder name.
    """
    check_name("step", step)
    whole = {"schema": SCHEMA, "step": step, "version": version, "config": config, "inputs": inputs}
    return dict(json.loads(canonical_json(whole)))


def key_of(document: JSON) -> str:
    """Return a document's key: 32 hexadecimal digits of the SHA-256 of its canonical JSON."""
    return hashlib.sha256(canonical_json(document)).hexdigest()[:KEY_LENGTH]


def diff_documents(old: JSON, new: JSON) -> list[str]:
    """Return one line for each difference, in the order schema, step, version, config, inputs.

    Lines look like `optim.lr 0.01 -> 0.005`, `version 1 -> 2`, `prefix.length added 8` and
    `inputs.prefixes[0] removed 3f9c21ab`. Settings are written without `config.`, digests with 8
    digits. Lists are aligned, so that leaving out the first of three items gives one line.
    """
    return [
        str(difference)
        for part in (*_PARTS, *sorted((old.keys() | new.keys()) - set(_PARTS)))
        for difference in differences(
            "" if part == "config" else part, old.get(part, ABSENT), new.get(part, ABSENT)
        )
    ]


def differences(name: str, old: object, new: object) -> Iterator[Difference]:
    """Yield each value in which two values of the name `name` differ, as `diff_documents` does."""
    if isinstance(old, Absent) or isinstance(new, Absent):
        yield from _one_sided(name, old, new)
    elif isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            inner = f"{name}.{key}" if name else key
            yield from differences(inner, old.get(key, ABSENT), new.get(key, ABSENT))
    elif isinstance(old, list | tuple) and isinstance(new, list | tuple):
        for before, after in aligned(old, new):
            yield from differences(
                f"{name}[{before if after is None else after}]",
                ABSENT if before is None else old[before],
                ABSENT if after is None else new[after],
            )
    elif canonical_json(old) != canonical_json(new):
        yield Difference(name=name, old=old, new=new)


def aligned(
    old: Sequence[object], new: Sequence[object]
) -> Iterator[tuple[int | None, int | None]]:
    """Yield the indices of items that differ; None where an item was added or removed."""
    matcher = difflib.SequenceMatcher(
        a=[canonical_json(item) for item in old],
        b=[canonical_json(item) for item in new],
        autojunk=False,
    )
    for tag, old_from, old_to, new_from, new_to in matcher.get_opcodes():
        if tag != "equal":
            yield from zip_longest(range(old_from, old_to), range(new_from, new_to))


def shorten(digest: str) -> str:
    """Return the first 8 digits of a key or digest."""
    return digest[:SHORT_LENGTH]


def _plain(value: object, at: str) -> object:
    if isinstance(value, dict):
        return {_name(name, at): _plain(item, f"{at}.{name}") for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{at}[{index}]") for index, item in enumerate(value)]
    if type(value) is str:
        return _encodable(value, at)
    if type(value) is float and not math.isfinite(value):
        raise ValueError(f"{at} is {value}; JSON has no such number")
    if value is None or type(value) in (bool, int, float):
        return value
    raise TypeError(
        f"{at} is a {type(value).__name__}; a document holds None, bool, int, float, str, list, "
        "tuple and dict only"
    )


def _name(name: object, at: str) -> str:
    if type(name) is not str:
        raise TypeError(f"{at} has the name {name!r}, a {type(name).__name__}; names are str")
    return _encodable(name, at)


def _encodable(text: str, at: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"{at} holds the text {text!r}, which has no UTF-8 form") from error
    return text


def _one_sided(name: str, old: object, new: object) -> Iterator[Difference]:
    """Yield each value of a dict that one document lacks, or the value itself."""
    value = new if isinstance(old, Absent) else old
    if isinstance(value, dict) and value:
        for key in sorted(value):
            pair = (ABSENT, value[key]) if isinstance(old, Absent) else (value[key], ABSENT)
            yield from _one_sided(f"{name}.{key}" if name else key, *pair)
    else:
        yield Difference(name=name or "config", old=old, new=new)


def _shown(value: object) -> str:
    if isinstance(value, str) and _BARE.fullmatch(value):
        text = value
    elif isinstance(value, str) and _HEX_RUN.fullmatch(value):
        return shorten(value)
    else:
        text = json.dumps(value, ensure_ascii=False)
    return (
        _HEX_RUN.sub(lambda run: shorten(run[0]), text)
        if isinstance(value, str | list | tuple | dict)
        else text
    )
