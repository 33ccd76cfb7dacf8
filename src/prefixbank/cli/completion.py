"""Completion of `KEY=VALUE` words on the shell, as a hook of Typer."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import typer

from prefixbank.commands.table import COMMANDS, Command, split_command
from prefixbank.errors import PrefixbankError
from prefixbank.project import conf_dir

BREAKS = ("=", "@", ":")
"""Characters at which bash cuts words; it gives and takes the piece behind the last one."""


class _Reply(str):
    """An answer to a shell.

    Typer drops answers that do not begin as the word does. What bash takes for the word may be the
    equals sign, which must not be repeated.
    """

    __slots__ = ()

    def startswith(self, *_: object) -> bool:
        """Return True: what does not fit was left out before."""
        return True


def complete_settings(context: typer.Context, incomplete: str) -> list[str]:
    """Return what the last word of a command may become; nothing if something is wrong."""
    from prefixbank.commands.completion import Completion
    from prefixbank.store.store import Store

    parameters = context.params
    given = [str(word) for word in parameters.get("overrides") or ()]
    try:
        command = _command(context, given)
        if command is None:
            return []
        completion = Completion(
            command=command,
            store=Store.open(parameters.get("store")),
            conf_dir=conf_dir(parameters.get("conf_dir")),
        )
        before, word = whole_word(given, incomplete, completion.names())
        return [_Reply(found.removeprefix(before)) for found in completion.words(word)]
    except (PrefixbankError, OSError):
        return []


def whole_word(given: Sequence[str], incomplete: str, names: Collection[str]) -> tuple[str, str]:
    """Return the word that a shell has cut, as what it has cut off and as a whole.

    Args:
        given: the words before, or the pieces of it.
        incomplete: the last word, or the last piece of it. Where that is an equals sign, Typer
            gives an empty one: a setting's name that nothing follows then stands before it.
        names: what settings are called, each with its equals sign.
    """
    pieces, rest = [incomplete], list(given)
    if not incomplete and rest and f"{rest[-1]}=" in names and rest[-2:-1] != ["="]:
        pieces = [f"{rest.pop()}=", ""]
    while rest and (pieces[0] in BREAKS or rest[-1] in BREAKS):
        pieces.insert(0, rest.pop())
    return "".join(pieces[:-1]), "".join(pieces)


def _command(context: typer.Context, given: Sequence[str]) -> Command[Any] | None:
    """Return the command that is typed; that of `config show COMMAND` is its argument."""
    names: list[str] = []
    inner: Any = context
    while inner.parent is not None:
        names.insert(0, inner.info_name)
        inner = inner.parent
    if names == ["config", "show"]:
        names = [split_command([str(context.params.get("command")), *given])[0]]
    name = " ".join(names)
    return next((command for command in COMMANDS if command.name == name), None)
