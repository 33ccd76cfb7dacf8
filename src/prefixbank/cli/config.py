"""`prefixbank config`: which settings there are, their values, and whether YAML files are valid."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from prefixbank.cli import options as flag
from prefixbank.cli.console import Format, chosen_format, print_rows, reported
from prefixbank.commands.table import COMMANDS, command_named, split_command
from prefixbank.errors import UsageError
from prefixbank.project import conf_folder, read_project

config = typer.Typer(
    help="Settings: show, list, check.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@config.command(epilog="Example: prefixbank config show train-prefix task=polarity optim.lr=0.01")
def show(
    command: Annotated[
        str, typer.Argument(help=f"One of {', '.join(command.name for command in COMMANDS)}.")
    ],
    overrides: flag.Overrides = None,
    conf_dir: flag.ConfDir = None,
    help_settings: Annotated[
        bool,
        typer.Option("--help-settings", help="Show what each setting means instead of its value."),
    ] = False,
    form: Annotated[Format | None, flag.FORMAT] = None,
    debug: flag.Debug = False,
) -> None:
    """Show all settings of a command as YAML, with the values that it would run with.

    A command of two words needs no quotes: transfer map.
    """
    with reported(debug=debug):
        name, settings_given = split_command([command, *(overrides or ())])
        settings = command_named(name).settings
        if help_settings:
            from prefixbank.config.descriptions import settings_of

            described = settings_of(settings)
            print_rows([asdict(setting) for setting in described], chosen_format(form))
            return
        from prefixbank.config import compose

        project, folder = read_project(), conf_folder(conf_dir)
        shown = compose.show(settings, settings_given, folder.path, project.defaults)
        if folder.path is not None:
            typer.echo(f"# YAML files of {folder.path} ({folder.origin})")
        for name, value in project.defaults.items():
            typer.echo(f"# default {name}={value} ({project.file})")
        typer.echo(shown, nl=False)


@config.command(epilog="Example: prefixbank config groups")
def groups(
    conf_dir: flag.ConfDir = None,
    form: Annotated[Format | None, flag.FORMAT] = None,
    debug: flag.Debug = False,
) -> None:
    """List the groups (task, encoder, ...) and the choices in each."""
    with reported(debug=debug):
        from prefixbank.config import compose

        rows = [
            {"group": group, "choices": choices}
            for group, choices in compose.groups(conf_folder(conf_dir).path).items()
        ]
        print_rows(rows, chosen_format(form))


@config.command(epilog="Example: prefixbank config check --conf-dir conf")
def check(conf_dir: flag.ConfDir = None, debug: flag.Debug = False) -> None:
    """Compose and validate every choice of every group, offline."""
    with reported(debug=debug):
        from prefixbank.config import checking

        folder = conf_folder(conf_dir).path
        checked = checking.check([command.settings for command in COMMANDS], folder)
        bad = [composed for composed in checked if composed.error is not None]
        for composed in bad:
            typer.echo(f"{composed.what}\n{composed.error}", err=True)
        typer.echo(f"{len(checked) - len(bad)} good, {len(bad)} bad")
        if bad:
            raise typer.Exit(UsageError.exit_code)
