"""Run a command for each combination of its settings, print the results, and copy them out."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from prefixbank.cli.console import Format, Row, chosen_format, print_rows, report, reported
from prefixbank.commands.invocation import Invocation
from prefixbank.commands.progress import StepLines
from prefixbank.commands.table import Command
from prefixbank.errors import PrefixbankError, UsageError
from prefixbank.names import check_utf8
from prefixbank.runtime.events import silent
from prefixbank.store.artifact import read_entry


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
            typer.echo("\n\n".join(_report_text(row) for row in rows))
        elif rows and command.name == "predict" and _pipes(overrides, flags):
            from prefixbank.artifacts.predictions import printed_lines

            for row in rows:
                for line in printed_lines(Path(row["path"])):
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
    return "corpus.path=-" in overrides and flags.out is None and flags.form is None


def _run_all(
    command: Command[Any], overrides: list[str], flags: Flags
) -> tuple[list[Row], list[tuple[list[str], PrefixbankError]]]:
    """Run one combination after another. In a sweep, one that fails does not stop the others."""
    from prefixbank.commands.run import run_sweep
    from prefixbank.config.compose import expand_sweep

    combinations = expand_sweep(overrides) if flags.sweep else [overrides]
    if flags.out is not None and len(combinations) > 1:
        raise UsageError(
            "--out with a sweep of several runs",
            expected="one result to copy",
            fix="drop --out, or run the combinations one by one",
        )
    check_out(flags.out)
    rows: list[Row] = []
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
                rows += _run_one(command, settings, flags, lines, is_made=index in by_workers)
            except PrefixbankError as error:
                if not flags.sweep:
                    raise
                failed.append((settings, error))
    return rows, failed


def _run_one(
    command: Command[Any], settings: list[str], flags: Flags, lines: StepLines, *, is_made: bool
) -> list[Row]:
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
        copy_out(result.artifact.path, list(result.artifact.files), flags.out)
    return list(result.rows)


def _report_text(row: Row) -> str:
    """Return an experiment's report as text for a terminal."""
    path = Path(row["path"])
    text = (path / "report.md").read_text(encoding="utf-8").split("\n![", maxsplit=1)[0].rstrip()
    charts = "".join(f"\nchart:  {chart}" for chart in sorted(path.glob("*.png")))
    return f"{text}\n\nreport: {path / 'report.md'}\npage:   {path / 'report.html'}{charts}"


def check_out(out: Path | None) -> None:
    """Refuse a target that exists and is not empty, before any work is done."""
    if out is None:
        return
    check_utf8("--out", str(out))
    above = next(folder for folder in out.absolute().parents if folder.exists())
    if not above.is_dir():
        raise UsageError(
            f"--out {out} lies below {above}, which is not a folder",
            expected="a path below a folder",
            fix=f"--out {above}-out",
        )
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise UsageError(
            f"--out {out} exists already",
            expected="a path that does not exist, or an empty folder",
            fix=f"--out {out}-2    or remove it first",
        )


def copy_out(source: Path, names: list[str], out: Path) -> None:
    """Copy an artifact's files into the folder `out`, or its only Parquet file to that path.

    Embeddings of a bank of blocks are copied as whole vectors.
    """
    if any(name.endswith(".parquet") for name in names) and _copy_blocks(source, out):
        return
    shards = sorted(name for name in names if name.endswith(".parquet"))
    if out.suffix == ".parquet":
        _check_single(out, len(shards))
        shutil.copyfile(source / shards[0], out)
        return
    for name in [*names, "entry.json"]:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, out / name)


def _copy_blocks(source: Path, out: Path) -> bool:
    """Copy embeddings of a bank of blocks; return whether they are."""
    from prefixbank.artifacts import whole_vectors

    entry = read_entry(source)
    if not whole_vectors.is_in_blocks(entry):
        return False
    if out.suffix != ".parquet":
        whole_vectors.copy_whole(entry, out)
        return True
    stems = whole_vectors.parts_of(entry)
    _check_single(out, len(stems))
    whole_vectors.copy_whole_part(entry, stems[0], out)
    return True


def _check_single(out: Path, files: int) -> None:
    """Refuse to copy several files to one path, and make the folder that it is in."""
    if files != 1:
        raise UsageError(
            f"--out {out} names one file, the result has {files} Parquet files",
            expected="a folder",
            fix=f"--out {out.with_suffix('')}",
        )
    out.parent.mkdir(parents=True, exist_ok=True)
