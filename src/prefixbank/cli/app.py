"""The command line: commands and their flags."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from prefixbank import __version__
from prefixbank.cli import options as flag
from prefixbank.cli.cache import cache
from prefixbank.cli.config import config
from prefixbank.cli.console import Format
from prefixbank.cli.doctor import doctor
from prefixbank.cli.run import Flags, list_rows, run_command
from prefixbank.cli.usage import CommandGroup
from prefixbank.commands.table import COMMANDS, Command

app = typer.Typer(
    name="prefixbank",
    cls=CommandGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
transfer = typer.Typer(
    help="Prompt transfer: which source prefixes help a task.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(show: bool) -> None:
    if show:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def prefixbank(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Many predictions from one pass over a text.

    Independent prefixes of one frozen encoder, combined into a bank.
    """


def _add_producing(group: typer.Typer, name: str, command: Command[Any]) -> None:
    """Add a command that makes an artifact. All of them take the same flags."""

    @group.command(name, help=command.help)
    def producing(
        overrides: flag.Overrides = None,
        store: flag.StoreFlag = None,
        conf_dir: flag.ConfDir = None,
        dry_run: flag.DryRun = False,
        force: flag.Force = False,
        quiet: flag.Quiet = False,
        form: Annotated[Format | None, flag.FORMAT] = None,
        out: flag.Out = None,
        sweep: flag.Sweep = False,
        debug: flag.Debug = False,
    ) -> None:
        flags = Flags(
            store=store,
            conf_dir=conf_dir,
            dry_run=dry_run,
            force=force,
            quiet=quiet,
            form=form,
            out=None if out is None else out.expanduser(),
            sweep=sweep,
            debug=debug,
        )
        run_command(command, list(overrides or ()), flags)


def _add_listing(group: typer.Typer, name: str, command: Command[Any]) -> None:
    """Add a command that prints rows."""

    def listing(
        overrides: flag.Overrides = None,
        store: flag.StoreFlag = None,
        conf_dir: flag.ConfDir = None,
        quiet: flag.Quiet = False,
        form: Annotated[Format | None, flag.FORMAT] = None,
        debug: flag.Debug = False,
    ) -> None:
        flags = Flags(store=store, conf_dir=conf_dir, quiet=quiet, form=form, debug=debug)
        list_rows(command, list(overrides or ()), flags)

    if command.takes_texts:
        listing.__annotations__["overrides"] = flag.TextsAndOverrides
    group.command(name, help=command.help)(listing)


for _command in COMMANDS:
    _group, _, _name = _command.name.rpartition(" ")
    _add = _add_listing if _command.makes == "rows" else _add_producing
    _add(transfer if _group else app, _name, _command)
app.add_typer(transfer, name="transfer")
app.add_typer(cache, name="cache")
app.add_typer(config, name="config")
app.command(name="doctor", epilog="Example: prefixbank doctor --format table")(doctor)


def main() -> None:
    """Start the command line."""
    _open_closed_streams()
    app()


def _open_closed_streams() -> None:
    """Discard what goes to a stream that the process was started without, as by `>&-`.

    Its number would otherwise go to the next file that is opened, which then got the output.
    """
    while (opened := os.open(os.devnull, os.O_RDWR)) < 3:
        os.set_inheritable(opened, True)
    os.close(opened)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8")
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8")
