"""Run a command by its name and settings, and get the handle of its artifact."""

from __future__ import annotations

from typing import Any

from prefixbank.commands.invocation import Invocation
from prefixbank.commands.run import run_command
from prefixbank.commands.table import command_named


def call(command: str, *settings: str, invocation: Invocation | None = None) -> Any:
    """Run a command as it is typed.

    Returns a `Planned`, or the rows of a command that lists something.
    """
    return run_command(command_named(command), settings, invocation or Invocation())
