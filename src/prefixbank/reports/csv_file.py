"""Tables of a report as CSV files."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from prefixbank.store.key import JSON


def write_csv(path: Path, lines: Sequence[JSON]) -> None:
    """Write a line for each dict, below their keys; nothing but an empty file without any."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]) if lines else [], lineterminator="\n")
        if lines:
            writer.writeheader()
        writer.writerows(lines)
