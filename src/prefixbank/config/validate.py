"""From plain dicts to a frozen config, with every fault along the way."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from prefixbank.config.faults import Origin, not_given, reference, value_faults
from prefixbank.config.settings import SettingPath, hint_at
from prefixbank.errors import UsageError

T = TypeVar("T")
Node = dict[str, Any]

OPEN = "???"
"""What a YAML file writes for a value that the user has to give."""


def assign(node: Node, config: type, values: Mapping[tuple[str, ...], Any]) -> None:
    """Put values into a nested dict.

    A dict that is given for a group of settings changes only what it names.

    Args:
        node: changed in place.
        config: the dataclass that `node` is for.
        values: value by path, in order.
    """
    for path, value in values.items():
        target = node
        for step in path[:-1]:
            if not isinstance(target.get(step), dict):
                target[step] = {}
            target = target[step]
        before = target.get(path[-1])
        if (
            isinstance(value, dict)
            and isinstance(before, dict)
            and is_dataclass(hint_at(config, path))
        ):
            target[path[-1]] = _merge(before, value)
        else:
            target[path[-1]] = value


def take_out_open(
    node: Node, config: type, origin: Origin, above: tuple[str, ...] = ()
) -> tuple[list[UsageError], list[UsageError]]:
    """Remove values that are left open (`???`) or that refer to others (`${`).

    The schema's defaults take their place.

    Args:
        node: changed in place.
        config: the dataclass that `node` is for.
        origin: finds the file that set a value.
        above: path of `node`.

    Returns:
        The faults of open values, and the faults of references.
    """
    opened: list[UsageError] = []
    references: list[UsageError] = []
    for name, value in list(node.items()):
        path = (*above, name)
        if isinstance(value, dict):
            inner = take_out_open(value, config, origin, path)
            opened += inner[0]
            references += inner[1]
        elif value == OPEN and hint_at(config, path) is not None:
            opened.append(not_given(config, path, origin(path)))
            del node[name]
        elif "${" in json.dumps(value):
            references.append(reference(path, value, origin(path)))
            del node[name]
    return opened, references


def validate(config: type[T], node: Node, origin: Origin) -> tuple[T | None, list[UsageError]]:
    """Return the config, or `None` and all of its faults.

    Args:
        config: dataclass of the schema.
        node: what differs from its defaults, as plain values. Lists become tuples; no other type is
            converted.
        origin: finds the file that set a value.
    """
    try:
        return TypeAdapter(config).validate_json(json.dumps(node)), []
    except ValidationError as error:
        return None, value_faults(error, config, origin)
    except UsageError as fault:
        return None, [fault]


def plain_values(config: Any) -> Node:
    """Return every setting of a config as plain dicts, lists and scalars."""
    return dict(TypeAdapter(type(config)).dump_python(config, mode="json"))


def _merge(before: Node, after: Node) -> Node:
    both = [
        name
        for name in after
        if isinstance(before.get(name), dict) and isinstance(after[name], dict)
    ]
    return {**before, **after, **{name: _merge(before[name], after[name]) for name in both}}


def origin_in(
    files: Sequence[Path], given: Set[tuple[str, ...]], load: Callable[[Path], Any]
) -> Origin:
    """Return a function that finds the file that set a value.

    Args:
        files: the files that were merged, those that override others first.
        given: paths that the command line sets; it overrides any file.
        load: reads a YAML file.
    """

    def origin(path: SettingPath) -> Path | None:
        if any(tuple(path[: len(known)]) == known for known in given):
            return None
        return next((file for file in files if holds(file, load(file), path)), None)

    return origin


def holds(file: Path, content: Any, path: SettingPath) -> bool:
    """Tell whether a file sets `path`.

    The settings of a group's file lie below the group's name. A file with the line
    `# @package _global_` sets values of the whole config, as the file of a command does.
    """
    if (
        "# @package _global_" not in file.read_text(encoding="utf-8").splitlines()[:1]
        and file.parent.name == path[0]
    ):
        path = path[1:]
    for step in path:
        try:
            content = content[step]
        except (KeyError, IndexError, TypeError):
            return False
    return bool(path)
