"""`prefixbank transfer`: from which source prefix a task can start."""

from __future__ import annotations

from typing import Annotated

import typer

from prefixbank.cli import options as flag
from prefixbank.cli.console import Format, Steps, chosen_format, print_rows, reported

SIMILAR = """Rank source prefixes by their similarity to a task, after a short run on it.

\b
Examples:
  prefixbank transfer similar task=emotion
  prefixbank transfer similar task=emotion 'sources=[polarity,topic]' measure=per_token
"""

transfer = typer.Typer(
    help="Prompt transfer: from which source prefix a task can start.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@transfer.callback()
def about() -> None:
    """Prompt transfer: from which source prefix a task can start."""


@transfer.command("similar", help=SIMILAR)
def similar(
    overrides: flag.Overrides = None,
    store: flag.StoreFlag = None,
    conf_dir: flag.ConfDir = None,
    quiet: flag.Quiet = False,
    form: Annotated[Format | None, flag.FORMAT] = None,
    debug: flag.Debug = False,
) -> None:
    """Print one row for each source."""
    with reported(debug=debug), Steps(quiet=quiet) as steps:
        from prefixbank import api

        rows = api.transfer_similar(*(overrides or ()), options=api.Options(store=store, conf_dir=conf_dir, emit=steps))
        print_rows(rows, chosen_format(form))
