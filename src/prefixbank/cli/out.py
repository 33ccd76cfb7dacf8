"""`--out`: where a copy of the result goes, checked before any work, and the copy itself."""

from __future__ import annotations

import filecmp
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

from prefixbank.config.schema import PredictConfig
from prefixbank.errors import PrefixbankError, UsageError
from prefixbank.names import check_utf8
from prefixbank.store.artifact import ENTRY_FILE, Entry, read_entry

TABLES = (".parquet", ".csv", ".jsonl")
"""Endings of `--out` that ask for one file with all rows instead of a folder."""
FORMAT = "predict.format="
Report = Callable[[Path], None]
"""Writes files about an artifact for people into a folder."""


def check_out(out: Path, command: str, overrides: Sequence[str]) -> None:
    """Refuse a target that cannot be written, or that the result does not fit.

    Args:
        out: the target.
        command: name of the command.
        overrides: its `KEY=VALUE` settings.

    Raises:
        UsageError: it lies below a file, cannot be written, or its ending names another format.
    """
    check_utf8("--out", str(out))
    above = next(folder for folder in out.absolute().parents if folder.exists())
    if not above.is_dir():
        raise UsageError(
            f"--out {out} lies below {above}, which is not a folder",
            expected="a path below a folder",
            fix=f"--out {above}-out",
        )
    _check_ending(out, command, overrides)
    folder = out if out.is_dir() else above
    try:
        TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UsageError(
            f"--out {out} cannot be written ({error.strerror}: {folder})",
            expected="a folder that this user may write to",
            fix=f"--out {Path.home() / out.name}",
        ) from error


def is_taken(out: Path) -> bool:
    """Whether there is something at a target that a copy would replace."""
    return out.is_file() or (out.is_dir() and any(out.iterdir()))


def taken(out: Path) -> PrefixbankError:
    """Return the error for a target at which there is something else."""
    return UsageError(
        f"--out {out} exists already",
        expected="a path that does not exist, an empty folder, or a copy of this very result",
        fix=f"--out {out.with_stem(f'{out.stem}-2')}    or remove it first",
    )


def copy_out(source: Path, out: Path, report: Report | None = None) -> None:
    """Copy the artifact in folder `source` to the folder `out`, or its rows to that file.

    Embeddings of a bank of blocks are copied as whole vectors. The files of a report stand beside
    those of the artifact. The target is there when all of it is.

    Raises:
        DamagedError: a file of the artifact is not what was stored.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent, prefix=".prefixbank-") as scratch:
        made, whole = Path(scratch) / "made", Path(scratch) / "whole"
        for target, file in _files(read_entry(source), out, made, report).items():
            copy = whole / target.relative_to(out.parent)
            copy.parent.mkdir(parents=True, exist_ok=True)
            if file.is_relative_to(made):
                file.replace(copy)
            else:
                shutil.copyfile(file, copy)
        try:
            (whole / out.name).replace(out)
        except OSError:  # a mounted folder, or the one that the command runs in, stays in place
            shutil.copytree(whole / out.name, out, dirs_exist_ok=True)


def is_copy(source: Path, out: Path, report: Report | None = None) -> bool:
    """Whether a target holds what `copy_out` would write, and nothing else."""
    present = {path for path in out.rglob("*") if path.is_file()} if out.is_dir() else {out}
    with TemporaryDirectory() as scratch:
        try:
            files = _files(read_entry(source), out, Path(scratch), report)
        except UsageError:
            return False
        return present == files.keys() and all(
            _is_same(file, target) for target, file in files.items()
        )


def _is_same(file: Path, other: Path) -> bool:
    """Whether two files have the same bytes; of descriptions of artifacts, key and digest count."""
    if file.name == ENTRY_FILE:
        try:
            described = [json.loads(path.read_text(encoding="utf-8")) for path in (file, other)]
            first, second = ((one["key"], one["digest"]) for one in described)
        except (ValueError, TypeError, KeyError):
            return False
        return first == second
    return filecmp.cmp(file, other, shallow=False)


def _check_ending(out: Path, command: str, overrides: Sequence[str]) -> None:
    """Refuse the ending of a file where the result is a folder, or is written otherwise."""
    ending = out.suffix.lower()
    if ending not in TABLES or out.is_dir():
        return
    given = [line.removeprefix(FORMAT) for line in overrides if line.startswith(FORMAT)]
    written = {"embed": "parquet", "predict": (given or [PredictConfig().format])[-1]}
    if command not in written:
        raise UsageError(
            f"--out {out} names one file, the result is a folder of several",
            expected="a folder",
            fix=f"--out {out.with_suffix('')}",
        )
    if f".{written[command]}" != ending:
        as_format = f"{FORMAT}{ending[1:]}    or " if command == "predict" else ""
        raise UsageError(
            f"--out {out} names a {ending[1:]} file, the result is {written[command]}",
            expected=f"a file that ends in .{written[command]}, or a folder",
            fix=f"{as_format}--out {out.with_suffix(f'.{written[command]}')}",
        )


def _files(entry: Entry, out: Path, scratch: Path, report: Report | None) -> dict[Path, Path]:
    """Return for each file of a copy where its bytes are.

    Files that the artifact does not have are written to `scratch`.
    """
    from prefixbank.artifacts import whole_vectors

    scratch.mkdir(exist_ok=True)
    if out.suffix.lower() in TABLES and not out.is_dir():
        return {out: _table(entry, out, scratch)}
    stored = list(entry.files)
    if whole_vectors.is_in_blocks(entry):
        whole_vectors.copy_whole(entry, scratch)
        stored = []
    else:
        shutil.copyfile(entry.path / ENTRY_FILE, scratch / ENTRY_FILE)
    if report is not None:
        report(scratch)
    made = {out / path.relative_to(scratch): path for path in scratch.rglob("*") if path.is_file()}
    return {out / name: entry.file(name) for name in stored} | made


def _table(entry: Entry, out: Path, scratch: Path) -> Path:
    """Return a file with all rows of embeddings or predictions."""
    from pyarrow.parquet import read_table

    from prefixbank.artifacts import whole_vectors
    from prefixbank.artifacts.embeddings import join_tables
    from prefixbank.artifacts.predictions import printed_lines

    made, ending = scratch / out.name, out.suffix.lower()
    if whole_vectors.is_in_blocks(entry):
        whole_vectors.copy_whole_table(entry, made)
        return made
    parts = [entry.file(name) for name in sorted(entry.files) if name.endswith(ending)]
    if len(parts) == 1:
        return parts[0]
    if ending == ".parquet":
        join_tables(map(read_table, parts), made)
        return made
    with made.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in printed_lines(parts))
    return made
