"""What each setting means: the docstrings of the schema's fields, with values and defaults.

`prefixbank config show COMMAND --help-settings` prints them, and the reference page on settings
lists them. So a setting is described once, where it is declared. Python does not keep the string
below a field, which is why the source is parsed.
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
    """A setting, as users see it.

    Args:
        name: full name: `optim.lr`.
        values: type and range in words: "a number greater than 0".
        default: as on the right side of `KEY=VALUE`; empty text is "".
        meaning: docstring of the field; "" if it has none.
        only_with: the condition under which it has an effect: "prefix.init=random"; "" for always.
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
        path: dotted name of the group; "" for the settings of the command itself.
        declared: the class.
        meaning: docstring of the class, then that of the field that holds the group.
        settings: the settings that take a value.
    """

    path: str
    declared: type
    meaning: str
    settings: tuple[Setting, ...]


def groups_of(config: type) -> tuple[Group, ...]:
    """Return the groups of settings of a command, its own first, in the order of the schema.

    Args:
        config: a config dataclass whose fields all have defaults.
    """
    return tuple(_groups(config(), "", ""))


def settings_of(config: type) -> tuple[Setting, ...]:
    """Return every setting of a command that takes a value, in the order of the schema."""
    return tuple(setting for group in groups_of(config) for setting in group.settings)


def _groups(values: Any, path: str, field_meaning: str) -> Iterator[Group]:
    declared = type(values)
    start = f"{path}." if path else ""
    meanings = field_docstrings(declared)
    nested = [field.name for field in fields(values) if is_dataclass(getattr(values, field.name))]
    settings = [
        Setting(
            name=f"{start}{field.name}",
            values=describe(hint_at(declared, [field.name])),
            default=written(getattr(values, field.name)),
            meaning=meanings.get(field.name, ""),
            only_with=_condition(field.metadata.get("only_with", {}), start),
        )
        for field in fields(values)
        if field.name not in nested
    ]
    meaning = " ".join(filter(None, (_joined(declared.__doc__ or ""), field_meaning)))
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
    """Return the docstring of each field of a class and of its bases, each in one line.

    Args:
        config: a dataclass whose source can be read.
    """
    docstrings: dict[str, str] = {}
    for base in reversed(config.__mro__):
        if is_dataclass(base):
            docstrings |= _own_docstrings(base)
    return docstrings


def _own_docstrings(config: type) -> dict[str, str]:
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(config))).body
    assert isinstance(definition, ast.ClassDef)
    docstrings: dict[str, str] = {}
    for field, below in zip(definition.body, definition.body[1:], strict=False):
        match field, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                docstrings[name] = _joined(text)
    return docstrings


def _joined(text: str) -> str:
    return " ".join(text.split())
