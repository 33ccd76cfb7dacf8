"""Run a command for each combination of its settings, print the results, and copy them out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from prefixbank.cli import out as out_flag
from prefixbank.cli.console import Format, Row, chosen_format, print_rows, report, reported
from prefixbank.cli.study import print_report
from prefixbank.commands.invocation import Invocation
from prefixbank.commands.progress import StepLines
from prefixbank.commands.table import Command
from prefixbank.errors import PrefixbankError, UsageError
from prefixbank.runtime.events import silent
from prefixbank.store.artifact import read_entry
from prefixbank.store.store import Store

if TYPE_CHECKING:
    from prefixbank.api import CommandResult

STDIN = "corpus.path=-"
"""The setting that reads texts from standard input, which can be read once."""


@dataclass(frozen=True, kw_only=True)
class Flags:
    """The flags of a command, as given."""

    store: str | None
    conf_dir: Path | None
    quiet: bool
    form: Format | None
    debug: bool
    dry_run: bool = False
    force: bool = False
    out: Path | None = None
    sweep: bool = False


def list_rows(command: Command[Any], overrides: list[str], flags: Flags) -> None:
    """Run a command that makes nothing, and print its rows."""
    with reported(debug=flags.debug), StepLines(quiet=flags.quiet) as lines:
        from prefixbank import api

        result = api.run(
            command.name,
            *overrides,
            store=flags.store,
            conf_dir=flags.conf_dir,
            on_event=lines,
        )
        print_rows(result.rows, chosen_format(flags.form))


def run_command(command: Command[Any], overrides: list[str], flags: Flags) -> None:
    """Run a command for each combination of settings and print the results.

    Args:
        command: a command that makes an artifact.
        overrides: `KEY=VALUE` settings.
        flags: as given.
    """
    with reported(debug=flags.debug):
        rows, failed = _run_all(command, overrides, flags)
        form = chosen_format(flags.form)
        if rows and command.makes == "report" and form == "table":
            copied = None if flags.dry_run else flags.out
            for row in rows:
                print_report(copied or Path(row["path"]))
        elif rows and command.name == "predict" and _pipes(overrides, flags):
            from prefixbank.artifacts.predictions import parts_of, printed_lines

            for row in rows:
                for line in printed_lines(parts_of(read_entry(Path(row["path"])))):
                    typer.echo(line)
        elif rows:
            from prefixbank.artifacts.summary import flat_rows

            shown = [line for row in rows for line in flat_rows(row)] if form == "csv" else rows
            print_rows(shown, form, single=not flags.sweep)
        if failed:
            typer.echo(f"{len(failed)} of {len(failed) + len(rows)} runs failed:", err=True)
            for settings, error in failed:
                typer.echo(" ".join(settings), err=True)
                report(error, debug=flags.debug)
            raise typer.Exit(max(error.exit_code for _, error in failed))


def _pipes(overrides: list[str], flags: Flags) -> bool:
    """Whether predictions go to standard output, as their texts came from standard input."""
    return STDIN in overrides and flags.out is None and flags.form is None


def _run_all(
    command: Command[Any], overrides: list[str], flags: Flags
) -> tuple[list[Row], list[tuple[list[str], PrefixbankError]]]:
    """Run one combination after another. In a sweep, one that fails does not stop the others."""
    from prefixbank.commands.run import run_sweep
    from prefixbank.commands.sweep import SweepRun, keep_best
    from prefixbank.config.compose import expand_sweep

    combinations = expand_sweep(overrides) if flags.sweep else [overrides]
    if flags.out is not None and len(combinations) > 1:
        raise UsageError(
            "--out with a sweep of several runs",
            expected="one result to copy",
            fix="drop --out, or run the combinations one by one",
        )
    if len(combinations) > 1 and any(STDIN in settings for settings in combinations):
        raise UsageError(
            f"{STDIN} with a sweep of {len(combinations)} runs, of which only the first could read "
            "it",
            expected="texts in a file, which every run can read",
            fix="write them to a file: corpus.path=texts.txt",
        )
    is_there = flags.out is not None and _is_there(command, combinations[0], flags, flags.out)
    flags = replace(flags, out=None) if is_there else flags
    rows: list[Row] = []
    made: list[SweepRun] = []
    failed: list[tuple[list[str], PrefixbankError]] = []
    with StepLines(quiet=flags.quiet) as lines:
        invocation = Invocation(
            store=flags.store,
            conf_dir=flags.conf_dir,
            dry_run=flags.dry_run,
            force=flags.force,
            emit=lines,
        )
        by_workers = run_sweep(command, combinations, invocation)
        for index, settings in enumerate(combinations):
            try:
                if (error := by_workers.get(index)) is not None:
                    raise error
                result = _run_one(command, settings, flags, lines, is_made=index in by_workers)
            except PrefixbankError as error:
                if not flags.sweep:
                    raise
                failed.append((settings, error))
                continue
            rows += result.rows
            if result.artifact is not None:
                made.append(SweepRun(settings, result.artifact))
        if len(made) > 1 and not flags.dry_run:
            for event in keep_best(Store.open(flags.store), made):
                lines(event)
    return rows, failed


def _run_one(
    command: Command[Any], settings: list[str], flags: Flags, lines: StepLines, *, is_made: bool
) -> CommandResult:
    """Run one combination. A dry run that is no hit has no row.

    Args:
        command: which one.
        settings: `KEY=VALUE` each.
        flags: as given.
        lines: prints events.
        is_made: workers have made it and printed its events, so it is a hit without a line.
    """
    from prefixbank import api

    result = api.run(
        command.name,
        *settings,
        store=flags.store,
        conf_dir=flags.conf_dir,
        dry_run=flags.dry_run,
        force=flags.force and not is_made,
        on_event=silent if is_made else lines,
    )
    if result.artifact is not None and flags.out is not None and not flags.dry_run:
        out_flag.copy_out(result.artifact.path, flags.out, result.report)
    return result


def _is_there(command: Command[Any], settings: list[str], flags: Flags, out: Path) -> bool:
    """Whether `--out` holds the result already. Refuse anything else there before any work.

    Raises:
        UsageError: there is something else, or the target cannot be written.
    """
    if not out_flag.is_taken(out):
        out_flag.check_out(out, command.name, settings)
        return False
    from prefixbank import api

    if flags.force or STDIN in settings:
        raise out_flag.taken(out)
    planned = api.run(
        command.name, *settings, store=flags.store, conf_dir=flags.conf_dir, dry_run=True
    )
    made = planned.artifact
    if made is None or not out_flag.is_copy(made.path, out, planned.report):
        raise out_flag.taken(out)
    return True
