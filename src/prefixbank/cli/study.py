"""The report of an experiment on stdout: its first section, and where all of it is."""

from __future__ import annotations

import sys
from pathlib import Path

import typer
from rich.console import Console
from rich.markdown import Markdown


def print_report(folder: Path) -> None:
    """Print what a report says first, rendered on a terminal, and name its files.

    Args:
        folder: of the artifact, or of its copy.
    """
    text = first_section((folder / "report.md").read_text(encoding="utf-8"))
    if sys.stdout.isatty():
        Console(highlight=False).print(Markdown(text))
    else:
        typer.echo(text)
    files = [("report", folder / "report.md"), ("page", folder / "report.html")]
    files += [("chart", path) for path in sorted(folder.glob("*.png"))]
    typer.echo("\n" + "\n".join(f"{what + ':':<8}{path}" for what, path in files))


def first_section(text: str) -> str:
    """Return Markdown up to the second heading of level two, without pictures."""
    lines = text.splitlines()
    headings = [number for number, line in enumerate(lines) if line.startswith("## ")]
    end = headings[1] if len(headings) > 1 else len(lines)
    return "\n".join(line for line in lines[:end] if not line.startswith("![")).strip()
