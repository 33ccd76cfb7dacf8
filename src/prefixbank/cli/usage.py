"""Wrong commands and flags, which Typer finds, in three lines like every other error."""

from __future__ import annotations

import sys
from typing import Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from prefixbank.errors import UsageError


class CommandGroup(TyperGroup):
    """All commands."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command that was typed, and exit with its code."""
        reports = options.get("standalone_mode", True)
        options["standalone_mode"] = False
        try:
            code = super().main(*args, **options)
        except TyperException as error:
            if not reports:
                raise
            typer.echo(_text_of(error), err=True)
            sys.exit(error.exit_code)
        except typer.Abort:
            if not reports:
                raise
            typer.echo("aborted", err=True)  # at a question
            sys.exit(1)
        if not reports:
            return code
        sys.exit(code if isinstance(code, int) else 0)


def _text_of(error: TyperException) -> str:
    """Return the three lines of an error; the help of a command that was typed without any."""
    message = error.format_message()
    if "\n" in message:
        return message
    what = message.replace("Value error, ", "").removesuffix(".")
    context = getattr(error, "ctx", None)  # what ends in the middle of a flag has none
    usage = "a value behind it" if context is None else context.get_usage().removeprefix("Usage:")
    command = "prefixbank" if context is None else context.command_path
    return str(
        UsageError(
            what[:1].lower() + what[1:],
            expected=" ".join(usage.split()),
            fix=f"{command} -h    lists what there is",
        )
    )
