"""The rules of `KEY=VALUE` on a command line.

Faults are collected, not raised, so that all of them can be reported together.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args, get_origin

from prefixbank.config.commands import CommandConfig
from prefixbank.config.faults import list_of_runs, unknown_option, unknown_setting, unreadable_value
from prefixbank.config.schema import RefName
from prefixbank.config.settings import hint_at, names_at
from prefixbank.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Override:
    """One `KEY=VALUE` as the override grammar parses it."""

    line: str
    key: str
    text: str
    """What follows the first `=`."""
    form: Literal["value", "several", "unreadable"]
    value: Any = None
    """Plain value; `None` unless `form` is `value`."""


@dataclass(kw_only=True)
class Request:
    """A command line as choices and values. Of two overrides of one key, the later one counts."""

    choices: dict[str, str] = field(default_factory=dict)
    """Option by group, for each group that was named."""
    values: dict[tuple[str, ...], Any] = field(default_factory=dict)
    faults: list[UsageError] = field(default_factory=list)
    misnamed: set[str] = field(default_factory=set)
    """Groups that were named with an option that does not exist."""

    def lacks(self, group: str | None) -> bool:
        """Tell whether a group that must be chosen was not. A mixture takes the place of a task."""
        return (
            group is not None
            and group not in self.choices
            and not self.values.get(("task", "mixture"))
        )


def sort_overrides(
    config: type[CommandConfig], overrides: Sequence[Override], options: dict[str, list[str]]
) -> Request:
    """Sort overrides into choices of options, values and faults.

    Args:
        config: the command's settings, which may be named.
        overrides: as parsed.
        options: the options of each group.
    """
    request = Request()
    for override in overrides:
        fault = _refuse(override) or _add(config, override, options, request)
        if fault:
            request.faults.append(fault)
    return request


def _add(
    config: type[CommandConfig],
    override: Override,
    options: dict[str, list[str]],
    request: Request,
) -> UsageError | None:
    """Add an override to a request, or return what is wrong with it."""
    key = override.key
    path = tuple(key.split("."))
    if key in options and key in names_at(config, ()):
        name = override.value if isinstance(override.value, str) else override.text.strip()
        if override.form == "several":
            request.misnamed.add(key)
            return list_of_runs(config, key, override.text)
        if name not in options[key]:
            request.misnamed.add(key)
            return unknown_option(config, key, name, options[key])
        request.choices[key] = name
        return None
    hint = hint_at(config, path)
    if hint is None:
        return unknown_setting(config, key, override.text.strip())
    value, readable = _as_typed(hint, override)
    if not readable:
        return (
            list_of_runs(config, key, override.text)
            if override.form == "several"
            else unreadable_value(config, path, override.text)
        )
    request.values.pop(path, None)
    request.values[path] = value
    return None


def _as_typed(hint: Any, override: Override) -> tuple[Any, bool]:
    """Return the value, and whether it can be used.

    A text is kept as typed: `bank=12345678`, `task.path=~/données (1)`.
    """
    value, text = override.value, override.text.strip()
    if (
        _is_text(hint)
        and override.form == "unreadable"
        and text[:1] not in {'"', "'", "[", "{"}
        and "," not in text
    ):
        return text, True
    if hint is str and isinstance(value, bool | int | float):
        return text, True
    if get_origin(hint) is tuple and get_args(hint)[0] is str and override.form != "several":
        plain = isinstance(value, list) and all(isinstance(item, str) for item in value)
        items = None if plain else _bare_items(text)
        if items is not None:
            return items, True
    return value, override.form == "value"


def _is_text(hint: Any) -> bool:
    """Return whether a setting is text of any characters, which the name of a ref is not."""
    limited = get_origin(hint) is Annotated and get_args(hint)[0] is str and hint != RefName
    return hint is str or limited


def _bare_items(text: str) -> list[str] | None:
    """Return the items of `[a,b]` as typed, or `None` if there are quotes or brackets inside."""
    inner = text[1:-1]
    if not (text.startswith("[") and text.endswith("]")) or any(
        mark in inner for mark in "[]{}()'\"\\"
    ):
        return None
    items = [item.strip() for item in inner.split(",")]
    return None if "null" in items else items


def _refuse(override: Override) -> UsageError | None:
    """Return the fault of a line that no setting allows, if it has one."""
    line, key, text = override.line, override.key, override.text
    omit = f"leave {shlex.quote(line)} out"
    if line.startswith("~"):
        what, expected, fix = (
            "begins with '~'",
            "KEY=VALUE; settings cannot be removed",
            f"{omit}, or set a value: {key or 'KEY'}=VALUE",
        )
    elif line.startswith("+"):
        what, expected, fix = (
            "begins with '+'",
            "KEY=VALUE; settings cannot be added, all of them exist already",
            shlex.quote(line.lstrip("+")),
        )
    elif "=" not in line or not key:
        what, expected = "is not KEY=VALUE", "a setting, '=', a value"
        fix = shlex.quote(f"{key or 'KEY'}={text.strip() or 'VALUE'}")
    elif key == "hydra" or key.startswith(("hydra.", "hydra/")):
        what, expected, fix = "is a setting of Hydra", "settings of prefixbank", omit
    elif "@" in key:
        what, expected, fix = (
            "moves a group to another place",
            "GROUP=OPTION",
            shlex.quote(f"{key.partition('@')[0]}={text}"),
        )
    elif "${" in text:
        what, expected, fix = (
            "refers to something else with '${'",
            "the value itself",
            f"{key}=VALUE",
        )
    else:
        return None
    return UsageError(f"'{line}' {what}", expected=expected, fix=fix)
