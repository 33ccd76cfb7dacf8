"""The flags that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prefixbank.cli.completion import complete_settings

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...",
        help="Settings; list them with: prefixbank config show COMMAND",
        show_default=False,
        autocompletion=complete_settings,
    ),
]
TextsAndOverrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[TEXT]... [KEY=VALUE]...",
        help="Texts, by default those on standard input, and settings; list these with: "
        "prefixbank config show COMMAND",
        show_default=False,
        autocompletion=complete_settings,
    ),
]
StoreFlag = Annotated[
    str | None,
    typer.Option(
        "--store", help="Folder of the store [env: PREFIXBANK_STORE].", show_default=False
    ),
]
ConfDir = Annotated[
    Path | None,
    typer.Option(
        "--conf-dir",
        help="A folder with your own YAML files (task/, encoder/, experiment/ ...) "
        "[env: PREFIXBANK_CONF_DIR].",
        show_default=False,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Show what is a hit, and why the rest is a miss. Make nothing."),
]
Force = Annotated[bool, typer.Option("--force", help="Make artifacts again that the store has.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print no steps and no progress on stderr.")]
FORMAT = typer.Option(
    "--format",
    help="Format of the result on stdout; default: table on a terminal, else json.",
    show_default=False,
)
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="Copy the result there: to a folder; or embeddings and predictions to one file, by "
        "its ending.",
        show_default=False,
    ),
]
Sweep = Annotated[
    bool,
    typer.Option(
        "--sweep",
        help="Allow lists of values (seed=1,2,3) and run every combination. Of trainings or probes "
        "of one name, the best on validation rows keeps it.",
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
