"""Errors about settings, in the three lines that a user sees."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from prefixbank.config.commands import CommandConfig
from prefixbank.config.schema import STRICT, RefName
from prefixbank.config.settings import (
    SettingPath,
    alternatives,
    close_match,
    describe,
    example,
    hint_at,
    list_in,
    names_at,
    suggested_setting,
    written,
)
from prefixbank.errors import Faults, UsageError
from prefixbank.names import as_name

Origin = Callable[[SettingPath], Path | None]
"""Returns the YAML file that set the value at a path, or `None` if the command line did."""


def value_faults(error: ValidationError, config: type, origin: Origin) -> list[UsageError]:
    """Translate each error that pydantic reports.

    Args:
        error: what pydantic raised.
        config: the dataclass that was validated.
        origin: finds the file that set a value.
    """
    faults: list[UsageError] = []
    for reported in error.errors(include_url=False, include_context=False):
        path = _path_of(config, reported["loc"], reported["input"])
        if path is None:
            continue
        if reported["type"] == "unexpected_keyword_argument":
            faults.append(_unknown_in_table(config, path, origin(path)))
        else:
            faults.append(_wrong_value(config, path, reported["input"], origin(path)))
    return faults


def _path_of(config: type, reported: SettingPath, value: Any) -> SettingPath | None:
    """Return the path of a setting that pydantic reports.

    Where a setting is one value or a list, pydantic reports both alternatives, each named in the
    path. The one that the value was meant as is kept; the other gives `None`.
    """
    for end in range(1, len(reported)):
        if len(alternatives(hint_at(config, reported[:end]))) > 1:
            alternative, inside = reported[end], reported[end + 1 :]
            meant_as_list = bool(inside)
            if meant_as_list or not (
                isinstance(value, list) or str(alternative).startswith("tuple")
            ):
                return (*reported[:end], *inside)
            return None
    return reported


def unknown_setting(config: type[CommandConfig], name: str, text: str) -> UsageError:
    """Return the error for a name on the command line that is no setting of the command.

    Args:
        config: settings of the command.
        name: as given.
        text: the value as given, which the fix keeps.
    """
    suggestion = suggested_setting(config, name)
    path = _known_part(config, name.split("."))
    owner = ".".join(path) or f"prefixbank {config.command}"
    if names := names_at(config, path):
        expected = f"a setting of {owner}: {', '.join(names)}"
    else:
        expected = f"{owner}={describe(hint_at(config, path))}, which has no settings of its own"
    fix = f"leave '{name}' out, or use one of these names"
    if suggestion:
        is_group = bool(names_at(config, suggestion.split(".")))
        fix = (
            example(config, suggestion.split("."))
            if is_group or not text
            else shlex.quote(f"{suggestion}={text}")
        )
    return UsageError(
        f"unknown setting '{name}'" + _did_you_mean(suggestion), expected=expected, fix=fix
    )


def unknown_option(
    config: type[CommandConfig], group: str, text: str, options: list[str], *, listed: bool = False
) -> UsageError:
    """Return the error for an option of a group that has no YAML file.

    Args:
        config: settings of the command.
        group: `task`, `encoder`, ...
        text: the option as given.
        options: the options that exist.
        listed: `text` is one of several in a list of tasks, so the fix replaces that name only.
    """
    suggestion = close_match(Path(text).name.removesuffix(".yaml"), options)
    if listed:
        fix = f"{suggestion or 'one of these'} in place of {text}"
    elif group == "task" and Path(text).expanduser().exists():
        fix = shlex.quote(f"task.path={text}")
    elif text.startswith("{"):
        fix = f"set single values by their full name: {example(config, [group])}"
    else:
        fix = f"{group}={suggestion or (options[0] if options else 'NAME')}"
    return UsageError(
        f"{group} has no option '{text}'" + _did_you_mean(suggestion),
        expected=f"one of: {', '.join(options)}"
        if options
        else f"a file conf/{group}/NAME.yaml, in --conf-dir",
        fix=fix,
    )


def no_option(config: type[CommandConfig], group: str, options: list[str]) -> UsageError:
    """Return the error for a command without the task or experiment that it needs.

    Args:
        config: settings of the command.
        group: `task` or `experiment`.
        options: the options that exist.
    """
    preferred = [name for name in ("polarity", "starter") if name in options]
    suggested = next(iter([*preferred, *options]), "NAME")
    shown = ", ".join(options[:12]) + (
        f" and {len(options) - 12} more (prefixbank config groups)" if len(options) > 12 else ""
    )
    return UsageError(
        f"no {group} given",
        expected=f"{group}=NAME, one of: {shown or 'none yet, they are files in --conf-dir'}",
        fix=f"prefixbank {config.command} {group}={suggested}",
    )


def not_given(config: type, path: SettingPath, file: Path | None) -> UsageError:
    """Return the error for a value that a YAML file leaves to the user (`???`)."""
    left_open = f", which {file} leaves open" if file else ""
    return UsageError(
        f"{_shown(path)} is not given{left_open}",
        expected=_expected(config, path),
        fix=example(config, path),
    )


def reference(path: SettingPath, value: Any, file: Path | None) -> UsageError:
    """Return the error for a value in a YAML file that refers to another one (`${...}`)."""
    in_file = f" in {file}" if file else ""
    return UsageError(
        f"{_shown(path)} = {written(value)}{in_file}",
        expected="the value itself; '${' is not resolved",
        fix=f"write the value{in_file}",
    )


def unreadable_value(config: type, path: SettingPath, text: str) -> UsageError:
    """Return the error for a command-line value that the override grammar cannot parse."""
    hint = hint_at(config, path)
    if hint is str:
        escaped = text.replace('"', '\\"')
        fix = shlex.quote(f'{".".join(map(str, path))}="{escaped}"')
        return UsageError(
            f"{_shown(path)} cannot be read: {text}",
            expected="text, in double quotes inside single quotes",
            fix=fix,
        )
    return UsageError(
        f"{_shown(path)} cannot be read: {text}",
        expected=_expected(config, path),
        fix=example(config, path),
    )


def list_of_runs(config: type[CommandConfig], key: str, text: str) -> UsageError:
    """Return the error for a comma list, range() or choice() without `--sweep`."""
    hint = hint_at(config, key.split("."))
    fix = f"prefixbank {config.command} ... --sweep {shlex.quote(f'{key}={text}')}"
    bare = "(" not in text and "[" not in text
    if get_origin(hint) is tuple and bare:
        return UsageError(
            f"{key}={text} is not a list",
            expected="a list in square brackets",
            fix=shlex.quote(f"{key}=[{text}]"),
        )
    if list_in(hint) is not None and bare:
        fix += "    or, as one list: " + shlex.quote(f"{key}=[{text}]")
    if hint in (str, RefName) and bare:
        fix += "    or, as one text: " + shlex.quote(f'{key}="{text}"')
    return UsageError(
        f"{key}={text} asks for several runs",
        expected="one value, or --sweep for one run for each value",
        fix=fix,
    )


def no_values(line: str, key: str) -> UsageError:
    """Return the error for a sweep whose values cannot be listed.

    These are interval(), glob(), shuffle() and an empty range().
    """
    expected = f"{key}=a,b or {key}=choice(a,b) or {key}=range(start,stop), with at least one value"
    return UsageError(
        f"'{line}' gives no list of values", expected=expected, fix=f"list the values: {key}=a,b"
    )


def unknown_source(name: str, sources: Sequence[str]) -> UsageError:
    """Return the error for an `experiment.overrides` of a task that is not trained."""
    suggestion = close_match(name, sources)
    return UsageError(
        f"experiment.overrides names '{name}', which is no source task of this experiment"
        + _did_you_mean(suggestion),
        expected=f"one of: {', '.join(sources)}",
        fix=f"rename '{name}' to '{suggestion}'"
        if suggestion
        else f"add '{name}' to experiment.sources, or take it out of experiment.overrides",
    )


def faults_in(setting: str, error: UsageError) -> list[UsageError]:
    """Return the faults in `error`, with the setting that they were found in."""
    inner = error.faults if isinstance(error, Faults) else (error,)
    return [
        UsageError(f"{setting}: {fault.what}", expected=fault.expected, fix=fault.fix)
        for fault in inner
    ]


def unreadable_files(error: Exception, chosen: list[Path], searched: list[Path]) -> UsageError:
    """Return the error for YAML files that could not be read or merged.

    Args:
        error: what was raised.
        chosen: the files that the command line named.
        searched: the folders that may hold the file at fault when none was named.
    """
    text = " ".join(str(error if str(error) else error.__cause__).split()).partition(
        " Config search path:"
    )[0]
    named = [file for file in chosen if str(file) in text]
    suspects = " or ".join(str(path) for path in named or chosen or searched)
    return UsageError(
        f"the YAML files cannot be read: {text}",
        expected="valid YAML, each setting once",
        fix=f"correct {suspects}",
    )


def _unknown_in_table(config: type, path: SettingPath, file: Path | None) -> UsageError:
    owner, name = path[:-1], str(path[-1])
    names = names_at(config, owner)
    suggestion = close_match(name, names)
    in_file = f" in {file}" if file else ""
    fix = (f"rename it to '{suggestion}'" if suggestion else f"remove '{name}'") + in_file
    if file is not None and file.parent.name == "experiment" and name in names_at(config, ()):
        fix = f"begin {file} with the line '# @package _global_'"
    return UsageError(
        f"unknown setting '{_shown(path)}'{in_file}" + _did_you_mean(suggestion),
        expected=f"a setting of {_shown(owner) or 'the command'}: {', '.join(names)}",
        fix=fix,
    )


def _wrong_value(config: type, path: SettingPath, value: Any, file: Path | None) -> UsageError:
    shown = repr(value) if isinstance(value, str) else written(value)
    expected, fix = _expected(config, path), _fix_value(config, path, value)
    if file is None:
        return UsageError(f"{_shown(path)} = {shown}", expected=expected, fix=fix)
    fix = f"correct {file}, or override it: {fix}"
    if hint_at(config, path) in (str, RefName) and isinstance(value, bool | int | float):
        fix = f"put it in quotes in {file}"
        expected += (
            " (without quotes YAML reads yes, no, on and off as true and false)"
            if isinstance(value, bool)
            else ""
        )
    return UsageError(f"{_shown(path)} = {shown} in {file}", expected=expected, fix=fix)


def _fix_value(config: type, path: SettingPath, value: Any) -> str:
    """Return an override that would be accepted.

    The value in brackets, the option with a similar name, a name like it, or else an example.
    """
    hint, name = hint_at(config, path), ".".join(map(str, path))
    if hint == RefName and isinstance(value, str):
        return f"{name}={as_name(value, empty='name')}"
    listed = list_in(hint)
    if listed is not None and _is_valid(get_args(listed)[0], value):
        return shlex.quote(f"{name}=[{written(value)}]")
    words = next((one for one in alternatives(hint) if get_origin(one) is Literal), None)
    suggestion = close_match(value, get_args(words)) if isinstance(value, str) else None
    if suggestion:
        return (
            f"{name}={suggestion}"
            if isinstance(path[-1], str)
            else shlex.quote(f"{'.'.join(map(str, path[:-1]))}=[{suggestion}]")
        )
    return example(config, path)


def _is_valid(hint: Any, value: Any) -> bool:
    try:
        TypeAdapter(hint, config=STRICT).validate_python(value)
    except ValidationError:
        return False
    return True


def _expected(config: type, path: SettingPath) -> str:
    return describe(hint_at(config, path))


def _did_you_mean(suggestion: str | None) -> str:
    return f"; did you mean '{suggestion}'?" if suggestion else ""


def _known_part(config: type, path: list[str]) -> list[str]:
    while path and hint_at(config, path) is None:
        path = path[:-1]
    return path


def _shown(path: SettingPath) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")
