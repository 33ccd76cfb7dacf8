"""The tree of settings below a config class: which exist, what they take, an example of each."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt, MinLen, Predicate

from prefixbank.names import DESCRIPTION, is_name_or_empty

SettingPath = Sequence[str | int]


@cache
def _hints(config: type) -> dict[str, Any]:
    hints = get_type_hints(config, include_extras=True)
    return {field.name: hints[field.name] for field in fields(config)}


def hint_at(config: type, path: SettingPath) -> Any:
    """Return the type of the setting at `path`, or `None` when there is no such setting.

    Args:
        config: a config dataclass.
        path: names of nested settings, then keys of a table or positions in a list.
    """
    hint: Any = config
    for step in path:
        if is_dataclass(hint):
            hint = _hints(hint).get(str(step))  # type: ignore[arg-type]  # a class
        elif get_origin(hint) is dict:
            hint = get_args(hint)[1]
        elif isinstance(step, int) and (listed := list_in(hint)) is not None:
            hint = get_args(listed)[0]
        else:
            return None
    return hint


def alternatives(hint: Any) -> tuple[Any, ...]:
    """Return the types that a setting may have: one, or those of a union in order."""
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def list_in(hint: Any) -> Any:
    """Return the list among the types that a setting may have, or `None`."""
    return next((one for one in alternatives(hint) if get_origin(one) is tuple), None)


def names_at(config: type, path: SettingPath) -> list[str]:
    """Return the names of the settings under `path`, in the order of the schema.

    Empty when `path` is not a group of settings.
    """
    hint = hint_at(config, path)
    return [f.name for f in fields(hint)] if is_dataclass(hint) else []


@cache
def full_names(config: type) -> tuple[str, ...]:
    """Return the full name of every setting that takes a value: `optim.lr`, `seed`."""
    names: list[str] = []
    for name in names_at(config, ()):
        hint = hint_at(config, [name])
        names += (
            [f"{name}.{inner}" for inner in full_names(hint)]
            if is_dataclass(hint) and isinstance(hint, type)
            else [name]
        )
    return tuple(names)


def close_match(name: str, known: Iterable[str]) -> str | None:
    """Return the name in `known` that `name` is probably a misspelling of, if there is one."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)), None)


def suggested_setting(config: type, name: str) -> str | None:
    """Return the setting that `name` probably stands for.

    A full name that is spelled alike, else one that ends in `.name`.
    """
    ending = [known for known in full_names(config) if known.endswith(f".{name}")]
    return close_match(name, full_names(config)) or next(iter(ending), None)


def describe(hint: Any) -> str:
    """Return in words which values `hint` takes: "a number greater than 0"."""
    if is_dataclass(hint):
        return f"settings of their own: {', '.join(f.name for f in fields(hint))}"
    if len(alternatives(hint)) > 1:
        return "; or ".join(describe(one) for one in alternatives(hint))
    if get_origin(hint) is Annotated:
        base, *limits = get_args(hint)
        return " ".join([describe(base), " and ".join(_limit(limit) for limit in limits)])
    if get_origin(hint) is Literal:
        return f"one of: {', '.join(get_args(hint))}"
    if get_origin(hint) is tuple:
        return f"a list, each item {describe(get_args(hint)[0])}"
    if get_origin(hint) is dict:
        return f"a table; for each name {describe(get_args(hint)[1])}"
    plain = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "text",
        NoneType: "nothing",
    }
    return plain[hint]


def _limit(limit: Any) -> str:
    match limit:
        case Ge(ge):
            return f"of at least {ge}"
        case Gt(gt):
            return f"greater than {gt}"
        case Le(le):
            return f"of at most {le}"
        case Lt(lt):
            return f"less than {lt}"
        case MinLen(1):
            return "of at least one character"
        case Predicate() if limit.func is is_name_or_empty:
            return f"of {DESCRIPTION}"
        case _:
            raise TypeError(f"the schema uses {limit!r}, which has no words here")


def written(value: Any) -> str:
    """Write a plain value as the right side of `KEY=VALUE`."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            return value
        case list() | tuple():
            return f"[{','.join(written(item) for item in value)}]"
        case dict():
            return "{" + ",".join(f"{key}: {written(item)}" for key, item in value.items()) + "}"
        case _:
            return str(value)


def example(config: type, path: SettingPath) -> str:
    """Return a valid `KEY=VALUE` for the setting at `path`, quoted for a shell.

    The value is the default, or a placeholder where the default is empty.
    """
    names: list[str] = []
    value: Any = config()
    for step in path:
        if not is_dataclass(value):
            break
        names.append(str(step))
        value = getattr(value, str(step))
    if is_dataclass(value):
        first = full_names(type(value))[0]  # type: ignore[arg-type]  # an instance, never a class
        return example(config, [*names, *first.split(".")])
    return shlex.quote(f"{'.'.join(names)}={_sample(value, hint_at(config, names))}")


def _sample(default: Any, hint: Any) -> str:
    match default:
        case "":
            return "text"
        case ():
            item = get_args(hint)[0]
            return (
                "[first,second]"
                if item is str
                else f"[{get_args(item)[0]}]"
                if get_origin(item) is Literal
                else "[1,1]"
            )
        case {}:
            return '{sst2: ["optim.lr=0.01"]}'
        case _:
            return written(default)
