"""What the producing commands do.

Run each combination of settings, print results, copy them out.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from prefixbank.cli.console import Format, Row, Steps, chosen_format, print_rows, report, reported
from prefixbank.cli.sweep import after, make_ahead
from prefixbank.errors import PrefixbankError, UsageError

if TYPE_CHECKING:
    from prefixbank.api import Options
    from prefixbank.runtime.unit import Planned


@dataclass(frozen=True, kw_only=True)
class Flags:
    """The flags of one producing command, as given."""

    store: str | None
    conf_dir: Path | None
    dry_run: bool
    force: bool
    quiet: bool
    form: Format | None
    out: Path | None
    sweep: bool
    debug: bool


def run_command(
    command: str,
    overrides: list[str] | None,
    flags: Flags,
    *,
    text: Callable[[Row], str] | None = None,
) -> None:
    """Run `prefixbank.api.<command>` for each combination of settings and print the results.

    Args:
        command: name of the API function.
        overrides: `KEY=VALUE` settings.
        flags: as given.
        text: how to show a single result as text instead of a one-row table.
    """
    with reported(debug=flags.debug):
        rows, failed = _run_all(command, list(overrides or ()), flags)
        form = chosen_format(flags.form)
        if rows and text is not None and form == "table":
            typer.echo("\n\n".join(text(row) for row in rows))
        elif rows:
            from prefixbank.artifacts.summary import flat_rows

            shown = [line for row in rows for line in flat_rows(row)] if form == "csv" else rows
            print_rows(shown, form, single=not flags.sweep)
        if failed:
            typer.echo(f"{len(failed)} of {len(failed) + len(rows)} units failed:", err=True)
            for settings, error in failed:
                typer.echo(" ".join(settings), err=True)
                report(error, debug=flags.debug)
            raise typer.Exit(max(error.exit_code for _, error in failed))


def _run_all(
    command: str, overrides: list[str], flags: Flags
) -> tuple[list[Row], list[tuple[list[str], PrefixbankError]]]:
    """Run one unit after another; in a sweep a failing one does not stop the others."""
    from prefixbank.config.compose import expand_sweep

    rows: list[Row] = []
    failed: list[tuple[list[str], PrefixbankError]] = []
    combinations = expand_sweep(overrides) if flags.sweep else [overrides]
    if flags.out is not None and len(combinations) > 1:
        raise UsageError(
            "--out with a sweep of several units",
            expected="one result to copy",
            fix="drop --out, or run the units one by one",
        )
    check_out(flags.out)
    with Steps(quiet=flags.quiet) as steps:
        from prefixbank import api

        options = api.Options(
            store=flags.store,
            conf_dir=flags.conf_dir,
            dry_run=flags.dry_run,
            force=flags.force,
            emit=steps,
        )
        made = make_ahead(command, combinations, options)
        for place, settings in enumerate(combinations):
            try:
                rows += _run_one(
                    command,
                    settings,
                    flags,
                    after(options) if place in made else options,
                    made.get(place),
                )
            except PrefixbankError as error:
                if not flags.sweep:
                    raise
                failed.append((settings, error))
    return rows, failed


def _run_one(
    command: str, settings: list[str], flags: Flags, options: Options, error: PrefixbankError | None
) -> list[Row]:
    """Run one unit, unless a worker has and met an error; no row for a dry run that is no hit."""
    from prefixbank import api
    from prefixbank.artifacts.summary import summary

    if error is not None:
        raise error
    planned: Planned = getattr(api, command)(*settings, options=options)
    if not planned.is_made:
        return []
    entry = planned.entry
    if flags.out is not None and not flags.dry_run:
        copy_out(entry.path, list(entry.files), flags.out)
    return [summary(entry)]


def check_out(out: Path | None) -> None:
    """Refuse a target that holds something, before any work is done."""
    if out is None:
        return
    above = next(folder for folder in out.absolute().parents if folder.exists())
    if not above.is_dir():
        raise UsageError(
            f"--out {out} lies below {above}, which is no folder",
            expected="a path below a folder",
            fix=f"--out {above}-out",
        )
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise UsageError(
            f"--out {out} is there already",
            expected="a path that does not exist, or an empty folder",
            fix=f"--out {out}-2    or remove it first",
        )


def copy_out(source: Path, names: list[str], out: Path) -> None:
    """Copy an artifact's files into the folder `out`; one Parquet file may be named itself."""
    shards = sorted(name for name in names if name.endswith(".parquet"))
    if out.suffix == ".parquet":
        if len(shards) != 1:
            raise UsageError(
                f"--out {out} names one file, the result has {len(shards)} Parquet files",
                expected="a folder",
                fix=f"--out {out.with_suffix('')}",
            )
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / shards[0], out)
        return
    for name in [*names, "entry.json"]:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, out / name)
