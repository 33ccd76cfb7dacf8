"""What each setting means: the strings under the fields of the schema, with values and defaults.

`prefixbank config show COMMAND --help-settings` prints these rows, and the reference page on
settings is made of them, so a setting is described once: where it is declared. Python throws a
string below a field away, which is why the source is parsed.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from prefixbank.config.settings import describe, hint_at, written


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting as a user reads of it.

    Args:
        name: full name: `optim.lr`.
        values: type and range in words: "a number greater than 0".
        default: as on the right side of `KEY=VALUE`; empty text is "".
        meaning: the string under the field; "" where there is none.
        only_with: when it has an effect: "prefix.init=random"; "" for always.
    """

    name: str
    values: str
    default: str
    meaning: str
    only_with: str


@dataclass(frozen=True, kw_only=True)
class Group:
    """The settings that one class of the schema declares.

    Args:
        path: dotted name that the settings lie under; "" for those of the command itself.
        declared: the class.
        meaning: its docstring, then the string under the field that holds it.
        settings: those that take a value.
    """

    path: str
    declared: type
    meaning: str
    settings: tuple[Setting, ...]


def groups_of(config: type) -> tuple[Group, ...]:
    """Return the groups of settings of a command's config, its own first, in the schema's order.

    Args:
        config: a config dataclass all of whose fields have defaults.
    """
    return tuple(_groups(config(), "", ""))


def settings_of(config: type) -> tuple[Setting, ...]:
    """Return every setting of a command's config that takes a value, in the schema's order."""
    return tuple(setting for group in groups_of(config) for setting in group.settings)


def _groups(values: Any, path: str, held_as: str) -> Iterator[Group]:
    declared = type(values)
    start = f"{path}." if path else ""
    meanings = field_docstrings(declared)
    nested = [one.name for one in fields(values) if is_dataclass(getattr(values, one.name))]
    settings = [
        Setting(
            name=f"{start}{one.name}",
            values=describe(hint_at(declared, [one.name])),
            default=written(getattr(values, one.name)),
            meaning=meanings.get(one.name, ""),
            only_with=_condition(one.metadata.get("only_with", {}), start),
        )
        for one in fields(values)
        if one.name not in nested
    ]
    meaning = " ".join(filter(None, (_joined(declared.__doc__ or ""), held_as)))
    yield Group(path=path, declared=declared, meaning=meaning, settings=tuple(settings))
    for name in nested:
        yield from _groups(getattr(values, name), f"{start}{name}", meanings.get(name, ""))


def _condition(only_with: dict[str, tuple[Any, ...]], start: str) -> str:
    alternatives = (
        " or ".join(f"{start}{name}={written(value)}" for value in values)
        for name, values in only_with.items()
    )
    return " and ".join(alternatives)


def field_docstrings(config: type) -> dict[str, str]:
    """Return the string under each field of a class, in one line; those of its bases count too.

    Args:
        config: a dataclass whose source can be read.
    """
    found: dict[str, str] = {}
    for base in reversed(config.__mro__):
        if is_dataclass(base):
            found |= _own_docstrings(base)
    return found


def _own_docstrings(config: type) -> dict[str, str]:
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(config))).body
    assert isinstance(definition, ast.ClassDef)
    found: dict[str, str] = {}
    for field, below in zip(definition.body, definition.body[1:], strict=False):
        match field, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                found[name] = _joined(text)
    return found


def _joined(text: str) -> str:
    return " ".join(text.split())
