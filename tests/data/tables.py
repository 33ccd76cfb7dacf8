"""Small tasks on disk, for the tests of loading."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

HEADER = {"kind": "classification", "labels": ["no", "yes"], "metric": "accuracy"}


def rows(labels: list[Any], *, word: str = "text", **columns: list[Any]) -> dict[str, list[Any]]:
    """Columns of as many different texts as there are labels."""
    return {"text": [f"{word} {row}" for row in range(len(labels))], **columns, "label": labels}


def write_folder(
    folder: Path,
    header: dict[str, Any] | str | None = None,
    **splits: dict[str, list[Any]] | pa.Table,
) -> Path:
    """Write a task folder; `header` None is a two-class task, a text is written as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    text = header if isinstance(header, str) else json.dumps(HEADER if header is None else header)
    folder.joinpath("task.json").write_text(text, encoding="utf-8")
    for name, columns in splits.items():
        parquet.write_table(
            columns if isinstance(columns, pa.Table) else pa.table(columns),
            folder / f"{name}.parquet",
        )
    return folder


def write_lines(path: Path, *lines: str) -> Path:
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path
