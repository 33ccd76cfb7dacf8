"""References made from the code: commands, settings, choices, exit codes, the Python API."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Iterable
from itertools import takewhile
from pathlib import Path

from docs.macros.tables import ROOT, table
from prefixbank.commands.table import COMMANDS
from prefixbank.config.descriptions import Group, Setting, groups_of

LOG = logging.getLogger("mkdocs.settings")
"""What is logged below `mkdocs` as a warning makes a strict build fail."""

PAGES = {
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "index.md",
    "README.md": "../index.md",
}
"""Files at the top of the repository, and their pages as seen from `contributing/`."""


def top_level(name: str) -> str:
    """Return a file at the top of the repository as a page of `contributing/`, its links moved.

    Args:
        name: one of `PAGES`.
    """
    text = (ROOT / name).read_text(encoding="utf-8")
    text = text.replace("](docs/", "](../")
    for file, page in PAGES.items():
        text = text.replace(f"]({file}", f"]({page}")
    return text


def command_line() -> str:
    """Return what `--help` says of every command."""
    import typer.main
    from typer.cli import get_docs_for_click

    from prefixbank.cli.app import app

    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="prefixbank")
    text = get_docs_for_click(obj=command, ctx=context, name="prefixbank")
    text = text.split("\n", maxsplit=1)[1]  # the page has a title of its own
    text = text.replace("\b", "")  # click's mark for a paragraph that is not to be wrapped
    # The lists of commands are cut short there, and the table of contents has them.
    text = re.sub(r"\*\*Commands\*\*:\n\n(?:\* .*\n)+\n", "", text)
    text = re.sub(r"^Example: (.*)$", r"Examples:\n  \1", text, flags=re.MULTILINE)
    examples = re.compile(r"^Examples:\n((?:  .*\n?)+)", flags=re.MULTILINE)
    return examples.sub(lambda found: f"**Examples**:\n\n```console\n{_shell(found[1])}```\n", text)


def _shell(lines: str) -> str:
    return "".join(f"$ {line.strip()}\n" for line in lines.splitlines() if line.strip())


def settings() -> str:
    """Return every setting: those of each command, then those of each group that commands share."""
    own: list[str] = []
    shared: dict[type, list[tuple[str, Group]]] = {}
    for command in COMMANDS:
        first, *others = groups_of(command.settings)
        own.append(_command_section(command.name, first, others))
        for group in others:
            shared.setdefault(group.declared, []).append((command.name, group))
    sections = [_group_section(uses) for uses in shared.values()]
    return "\n\n".join(["## Of each command", *own, "## Of each group", *sections])


def _command_section(name: str, group: Group, others: Iterable[Group]) -> str:
    top = [one for one in others if "." not in one.path]
    links = ", ".join(f"[`{one.path}.*`](#{_anchor(one)})" for one in top)
    body = setting_table(group.settings, ())
    return f"### `{name}` {{#{name.replace(' ', '-')}}}\n\n{body}\n\nGroups: {links}."


def _group_section(uses: list[tuple[str, Group]]) -> str:
    first = uses[0][1]
    paths: dict[str, list[str]] = {}
    for name, group in uses:
        paths.setdefault(group.path, []).append(name)
    where = "; ".join(f"`{path}.*` of {', '.join(names)}" for path, names in paths.items())
    title = ", ".join(f"`{path}`" for path in paths)
    others = [group for _, group in uses[1:]]
    return (
        f"### {title} {{#{_anchor(first)}}}\n\n{first.meaning}\n\n{where[0].upper()}{where[1:]}."
        f"\n\n{setting_table(first.settings, others)}"
    )


def _anchor(group: Group) -> str:
    return group.declared.__name__.lower()


def setting_table(settings: Iterable[Setting], others: Iterable[Group]) -> str:
    """Return rows of settings; `others` are uses of the same ones, whose defaults may differ."""
    rows = []
    for place, one in enumerate(settings):
        if not one.meaning:
            LOG.warning("the setting %s has no description in the schema", one.name)
        elsewhere = dict.fromkeys(
            f"{_code(other.settings[place].default)} as `{other.settings[place].name}`"
            for other in others
            if other.settings[place].default != one.default
        )
        default = ", ".join([_code(one.default), *elsewhere])
        condition = f" Only with `{one.only_with}`." if one.only_with else ""
        rows.append([f"`{one.name}`", _values(one.values), default, f"{one.meaning}{condition}"])
    escaped = [[part.replace("|", "\\|") for part in row] for row in rows]
    return table(["setting", "values", "default", "meaning"], escaped)


def _code(text: str) -> str:
    return f"`{text}`" if text else "empty"


def _values(words: str) -> str:
    """Return the words for a type, its choices as code."""
    return "; or ".join(_alternative(one) for one in words.split("; or "))


def _alternative(words: str) -> str:
    before, mark, listed = words.partition("one of: ")
    names = ", ".join(f"`{name}`" for name in listed.split(", ")) if mark else ""
    return f"{before}{'one of ' if mark else ''}{names}"


def choices() -> str:
    """Return what each YAML file of `conf/` says of itself."""
    from prefixbank.config.folders import conf_root

    sections = []
    for folder in sorted(path for path in conf_root().iterdir() if path.is_dir()):
        rows = [
            [f"`{folder.name}={file.stem}`", _told(file).replace("|", "\\|")]
            for file in sorted(folder.glob("*.yaml"))
        ]
        sections.append(f"## `{folder.name}`\n\n{table(['choice', 'what it sets'], rows)}")
    return "\n\n".join(sections)


def _told(file: Path) -> str:
    """Return the comments at the top of a YAML file below the command, or its values."""
    lines = file.read_text(encoding="utf-8").splitlines()
    comments = [line[2:] for line in takewhile(lambda line: line.startswith("# "), lines)]
    words = [line for line in comments if not line.startswith(("@package", "prefixbank "))]
    values = [line for line in lines if line and not line.startswith("#")]
    return " ".join(words) or f"`{', '.join(values)}`" if words or values else "the defaults"


def exit_codes() -> str:
    """Return every exit code, with the errors that end in it."""
    from prefixbank import errors
    from prefixbank.cli.console import INTERRUPTED

    meant = {
        1: "it could not be done, though it was asked rightly",
        2: "it was asked wrongly: a flag, a setting, a name, or data that cannot be used",
        3: "an artifact of the store is not what was published",
    }
    found: dict[int, list[str]] = {code: [] for code in meant}
    for name, error in inspect.getmembers(errors, inspect.isclass):
        if issubclass(error, errors.PrefixbankError) and name != "Faults":
            found[error.exit_code].append(f"`{name}`")
    rows = [[str(code), meant[code], ", ".join(names)] for code, names in found.items()]
    ends = [["0", "done", ""], *rows, [str(INTERRUPTED), "interrupted with Ctrl-C", ""]]
    return table(["code", "meaning", "exceptions in Python"], ends)


def python_api() -> str:
    """Return a mkdocstrings directive for each function and class that `__all__` lists."""
    import prefixbank

    public = [getattr(prefixbank, name) for name in prefixbank.__all__]
    shown = [one for one in public if inspect.isclass(one) or inspect.isfunction(one)]
    shown.sort(key=inspect.isclass)  # functions first
    return "\n\n".join(f"::: {one.__module__}.{one.__qualname__}" for one in shown)
