"""Write predictions in the format that was asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import assert_never

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as parquet

from prefixbank.choices import PredictionsFormat

JOINED = "|"
"""Stands between the labels of a row in CSV."""


def write_rows(table: pa.Table, path: Path, form: PredictionsFormat) -> None:
    """Write a table of predictions; lists are joined by `|` in CSV."""
    match form:
        case "parquet":
            parquet.write_table(table, path, compression="zstd")
        case "csv":
            csv.write_csv(_flat(table), path)
        case "jsonl":
            with path.open("w", encoding="utf-8") as file:
                file.writelines(
                    json.dumps(row, ensure_ascii=False) + "\n" for row in table.to_pylist()
                )
        case _:
            assert_never(form)


def json_lines(folder: Path) -> Iterator[str]:
    """Yield each row of an artifact of step `predict` as one line of JSON, in order."""
    for path in sorted(folder.glob("part-*")):
        if path.suffix == ".jsonl":
            yield from path.read_text(encoding="utf-8").splitlines()
            continue
        table = csv.read_csv(path) if path.suffix == ".csv" else parquet.read_table(path)
        for row in table.to_pylist():
            yield json.dumps(row, ensure_ascii=False)


def _flat(table: pa.Table) -> pa.Table:
    columns = {
        name: pa.array([JOINED.join(map(str, one)) for one in column.to_pylist()], pa.string())
        if pa.types.is_list(column.type)
        else column
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
    return pa.table(columns)
