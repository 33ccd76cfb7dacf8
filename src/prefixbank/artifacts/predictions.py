"""Predictions artifacts: tables of what heads say of texts, and facts about them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import assert_never

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as parquet

from prefixbank.choices import PredictionsFormat
from prefixbank.store.artifact import Entry

STEP, FACTS = "predict", "predictions.json"
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


def parts_of(entry: Entry) -> list[Path]:
    """Return the files with the rows of predictions, in order, each after a check."""
    return [entry.file(name) for name in sorted(entry.files) if name.startswith("part-")]


def printed_lines(parts: Iterable[Path]) -> Iterator[str]:
    """Yield the rows of predictions in order: lines of CSV, or else of JSON."""
    for number, path in enumerate(parts):
        if path.suffix == ".parquet":
            for row in parquet.read_table(path).to_pylist():
                yield json.dumps(row, ensure_ascii=False)
            continue
        # Only a line feed ends a row; texts may hold other ends of lines.
        with path.open(encoding="utf-8", newline="\n") as file:
            skipped = int(path.suffix == ".csv" and number > 0)
            yield from (line.removesuffix("\n") for line in islice(file, skipped, None))


def _flat(table: pa.Table) -> pa.Table:
    columns = {
        name: pa.array([JOINED.join(map(str, one)) for one in column.to_pylist()], pa.string())
        if pa.types.is_list(column.type)
        else column
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
    return pa.table(columns)
