"""What was wrong with a setting, in the three lines that a user sees."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from prefixbank.config.schema import STRICT
from prefixbank.config.settings import (
    CONFIGS,
    Command,
    SettingPath,
    describe,
    example,
    hint_at,
    names_at,
    nearest,
    nearest_setting,
    typed_name,
    written,
)
from prefixbank.errors import Faults, UsageError

Origin = Callable[[SettingPath], Path | None]
"""Returns the YAML file that gave the setting at a path, or `None` when the command line did."""


def value_faults(error: ValidationError, config: type, origin: Origin) -> list[UsageError]:
    """Translate each of pydantic's findings.

    Args:
        error: what pydantic raised.
        config: the dataclass that was validated.
        origin: says where a setting was given.
    """
    found: list[UsageError] = []
    for finding in error.errors(include_url=False, include_context=False):
        path = finding["loc"]
        if finding["type"] == "unexpected_keyword_argument":
            found.append(_unknown_in_table(config, path, origin(path)))
        else:
            found.append(_wrong_value(config, path, finding["input"], origin(path)))
    return found


def unknown_setting(command: Command, name: str) -> UsageError:
    """Return the fault of a name on the command line that `command` does not have."""
    config = CONFIGS[command]
    near = nearest_setting(config, name)
    path = _known_part(config, name.split("."))
    owner = ".".join(path) or f"prefixbank {typed_name(command)}"
    if names := names_at(config, path):
        expected = f"a setting of {owner}: {', '.join(names)}"
    else:
        expected = f"{owner}={describe(hint_at(config, path))}, which has no settings of its own"
    fix = (
        example(config, near.split("."))
        if near
        else f"leave '{name}' out, or use one of these names"
    )
    return UsageError(
        f"unknown setting '{name}'" + (f"; did you mean '{near}'?" if near else ""),
        expected=expected,
        fix=fix,
    )


def unknown_option(
    command: Command, group: str, text: str, options: list[str], *, listed: bool = False
) -> UsageError:
    """Return the fault of a group's option that has no YAML file.

    Args:
        command: the command.
        group: `task`, `encoder`, ...
        text: what was given.
        options: what exists.
        listed: it stands among others, in a list of tasks, so that the fix is about that name
            alone.
    """
    near = nearest(Path(text).name.removesuffix(".yaml"), options)
    if listed:
        fix = f"{near or 'one of these'} in place of {text}"
    elif text.startswith("{"):
        fix = f"set single values by their full name: {example(CONFIGS[command], [group])}"
    else:
        fix = f"{group}={near or (options[0] if options else 'NAME')}"
    return UsageError(
        f"{group} has no option '{text}'" + (f"; did you mean '{near}'?" if near else ""),
        expected=f"one of: {', '.join(options)}"
        if options
        else f"a file conf/{group}/NAME.yaml, in --conf-dir",
        fix=fix,
    )


def no_option(
    command: Command, group: str, options: list[str], *, has_path: bool = False
) -> UsageError:
    """Return the fault of a command that was not told its task or experiment.

    Args:
        command: the command.
        group: `task` or `experiment`.
        options: what exists.
        has_path: `task.path` was given, so that the task is probably in a folder.
    """
    preferred = (
        ["folder"]
        if has_path and "folder" in options
        else [name for name in ("polarity", "starter") if name in options]
    )
    suggested = next(iter([*preferred, *options]), "NAME")
    shown = ", ".join(options[:12]) + (
        f" and {len(options) - 12} more (prefixbank config groups)" if len(options) > 12 else ""
    )
    return UsageError(
        f"no {group} given",
        expected=f"{group}=NAME, one of: {shown or 'none yet, they are files in --conf-dir'}",
        fix=f"prefixbank {typed_name(command)} {group}={suggested}",
    )


def not_given(config: type, path: SettingPath, file: Path | None) -> UsageError:
    """Return the fault of a value that a YAML file leaves to the user (`???`)."""
    said = f", which {file} leaves open" if file else ""
    return UsageError(
        f"{_shown(path)} is not given{said}",
        expected=_expected(config, path),
        fix=example(config, path),
    )


def reference(path: SettingPath, value: Any, file: Path | None) -> UsageError:
    """Return the fault of a value in a YAML file that refers to something else (`${...}`)."""
    place = f" in {file}" if file else ""
    return UsageError(
        f"{_shown(path)} = {written(value)}{place}",
        expected="the value itself; '${' is not resolved",
        fix=f"write the value{place}",
    )


def unreadable_value(config: type, path: SettingPath, text: str) -> UsageError:
    """Return the fault of a command-line value that the override grammar cannot read."""
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


def list_of_runs(command: Command, key: str, text: str) -> UsageError:
    """Return the fault of a comma list, range() or choice() without `--sweep`."""
    hint = hint_at(CONFIGS[command], key.split("."))
    fix = f"prefixbank {typed_name(command)} --sweep {shlex.quote(f'{key}={text}')}"
    bare = "(" not in text and "[" not in text
    if get_origin(hint) is tuple and bare:
        return UsageError(
            f"{key}={text} is not a list",
            expected="a list in square brackets",
            fix=shlex.quote(f"{key}=[{text}]"),
        )
    if hint is str and bare:
        fix += "    or, as one text: " + shlex.quote(f'{key}="{text}"')
    return UsageError(
        f"{key}={text} asks for several runs",
        expected="one value, or --sweep for one run for each value",
        fix=fix,
    )


def no_values(line: str, key: str) -> UsageError:
    """Return the fault of a sweep whose values cannot be listed.

    interval(), glob(), shuffle(), an empty range().
    """
    expected = f"{key}=a,b or {key}=choice(a,b) or {key}=range(start,stop), with at least one value"
    return UsageError(
        f"'{line}' gives no list of values", expected=expected, fix=f"list the values: {key}=a,b"
    )


def unknown_source(name: str, sources: Sequence[str]) -> UsageError:
    """Return the fault of `experiment.overrides` for a task that the experiment does not train."""
    near = nearest(name, sources)
    return UsageError(
        f"experiment.overrides names '{name}', which is no source task of this experiment"
        + (f"; did you mean '{near}'?" if near else ""),
        expected=f"one of: {', '.join(sources)}",
        fix=f"rename '{name}' to '{near}'"
        if near
        else f"add '{name}' to experiment.sources, or take it out of experiment.overrides",
    )


def faults_at(place: str, error: UsageError) -> list[UsageError]:
    """Return the faults in `error`, each told where it was found."""
    inner = error.faults if isinstance(error, Faults) else (error,)
    return [
        UsageError(f"{place}: {fault.what}", expected=fault.expected, fix=fault.fix)
        for fault in inner
    ]


def unreadable_files(error: Exception, chosen: list[Path], searched: list[Path]) -> UsageError:
    """Return the fault of YAML files that could not be read or merged.

    Args:
        error: what was raised.
        chosen: the files that the command line named.
        searched: the folders that may hold the file at fault when none was named.
    """
    text = " ".join(str(error if str(error) else error.__cause__).split()).partition(
        " Config search path:"
    )[0]
    named = [file for file in chosen if str(file) in text]
    places = " or ".join(str(place) for place in named or chosen or searched)
    return UsageError(
        f"the YAML files cannot be read: {text}",
        expected="valid YAML, each setting once",
        fix=f"correct {places}",
    )


def _unknown_in_table(config: type, path: SettingPath, file: Path | None) -> UsageError:
    owner, name = path[:-1], str(path[-1])
    names = names_at(config, owner)
    near = nearest(name, names)
    place = f" in {file}" if file else ""
    fix = (f"rename it to '{near}'" if near else f"remove '{name}'") + place
    if file is not None and file.parent.name == "experiment" and name in names_at(config, ()):
        fix = f"begin {file} with the line '# @package _global_'"
    return UsageError(
        f"unknown setting '{_shown(path)}'{place}" + (f"; did you mean '{near}'?" if near else ""),
        expected=f"a setting of {_shown(owner) or 'the command'}: {', '.join(names)}",
        fix=fix,
    )


def _wrong_value(config: type, path: SettingPath, value: Any, file: Path | None) -> UsageError:
    shown = repr(value) if isinstance(value, str) else written(value)
    expected, fix = _expected(config, path), _fix_value(config, path, value)
    if file is None:
        return UsageError(f"{_shown(path)} = {shown}", expected=expected, fix=fix)
    fix = f"correct {file}, or override it: {fix}"
    if hint_at(config, path) is str and isinstance(value, bool | int | float):
        fix = f"put it in quotes in {file}"
        expected += (
            " (without quotes YAML reads yes, no, on and off as true and false)"
            if isinstance(value, bool)
            else ""
        )
    return UsageError(f"{_shown(path)} = {shown} in {file}", expected=expected, fix=fix)


def _fix_value(config: type, path: SettingPath, value: Any) -> str:
    """Return an override that would be right.

    The value in brackets, the near option, or else an example.
    """
    hint, name = hint_at(config, path), ".".join(map(str, path))
    if get_origin(hint) is tuple and _is_valid(get_args(hint)[0], value):
        return shlex.quote(f"{name}=[{written(value)}]")
    near = (
        nearest(value, get_args(hint))
        if get_origin(hint) is Literal and isinstance(value, str)
        else None
    )
    if near:
        return (
            f"{name}={near}"
            if isinstance(path[-1], str)
            else shlex.quote(f"{'.'.join(map(str, path[:-1]))}=[{near}]")
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


def _known_part(config: type, path: list[str]) -> list[str]:
    while path and hint_at(config, path) is None:
        path = path[:-1]
    return path


def _shown(path: SettingPath) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")
