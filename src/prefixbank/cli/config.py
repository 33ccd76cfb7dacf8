"""`prefixbank config`: what can be set, what is set, and whether every YAML file holds together."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from prefixbank.cli import options as flag
from prefixbank.cli.console import Format, chosen_format, print_rows, reported
from prefixbank.errors import UsageError, did_you_mean

config = typer.Typer(
    help="Settings: show, list, check.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
COMMANDS = (
    "train-prefix",
    "train-multitask",
    "combine",
    "embed",
    "search",
    "probe",
    "run",
    "transfer map",
    "transfer retrieve",
    "transfer similar",
)


@config.command(epilog="Example: prefixbank config show train-prefix task=polarity optim.lr=0.01")
def show(
    command: Annotated[str, typer.Argument(help=f"One of {', '.join(COMMANDS)}.")],
    overrides: flag.Overrides = None,
    conf_dir: flag.ConfDir = None,
    help_settings: Annotated[
        bool,
        typer.Option("--help-settings", help="Say what each setting means, in place of its value."),
    ] = False,
    form: Annotated[Format | None, flag.FORMAT] = None,
    debug: flag.Debug = False,
) -> None:
    """Show all settings of a command as YAML, with the values that it would run with."""
    with reported(debug=debug):
        if command not in COMMANDS:
            raise UsageError(
                f"no command '{command}'{did_you_mean(command, COMMANDS)}",
                expected=f"one of {', '.join(COMMANDS)}",
                fix="prefixbank config show train-prefix",
            )
        name = command.replace("-", "_").replace(" ", "_")
        if help_settings:
            from prefixbank.config.descriptions import settings_of
            from prefixbank.config.settings import CONFIGS

            described = settings_of(CONFIGS[name])  # type: ignore[index]  # one of COMMANDS
            print_rows([asdict(one) for one in described], chosen_format(form))
            return
        from prefixbank.config import compose

        # One of COMMANDS.
        typer.echo(compose.show(name, list(overrides or ()), conf_dir), nl=False)  # type: ignore[arg-type]


@config.command(epilog="Example: prefixbank config groups")
def groups(
    conf_dir: flag.ConfDir = None,
    form: Annotated[Format | None, flag.FORMAT] = None,
    debug: flag.Debug = False,
) -> None:
    """List the groups (task, encoder, ...) and the choices in each."""
    with reported(debug=debug):
        from prefixbank.config import compose

        found = compose.groups(conf_dir)
        print_rows(
            [{"group": group, "choices": choices} for group, choices in found.items()],
            chosen_format(form),
        )


@config.command(epilog="Example: prefixbank config check --conf-dir conf")
def check(conf_dir: flag.ConfDir = None, debug: flag.Debug = False) -> None:
    """Compose and validate every choice of every group, offline."""
    with reported(debug=debug):
        from prefixbank.config import checking

        checked = checking.check(conf_dir)
        bad = [one for one in checked if one.error is not None]
        for one in bad:
            typer.echo(f"{one.what}\n{one.error}", err=True)
        typer.echo(f"{len(checked) - len(bad)} good, {len(bad)} bad")
        if bad:
            raise typer.Exit(UsageError.exit_code)
