"""A task as its source hands it over.

Tables of text and labels, read but not yet checked row by row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from prefixbank.choices import Kind, Metric
from prefixbank.config.schema import ColumnNames
from prefixbank.errors import DataError, Faults, PrefixbankError, did_you_mean

MAX_SHOWN = 40
"""Characters of a value that an error quotes."""


@dataclass(frozen=True, kw_only=True)
class RawSplit:
    """One split as read.

    Args:
        where: what errors call it, a file path or a hub split.
        table: the columns named in `columns`, any type; N rows.
        columns: which column holds what; `text_pair` empty for single texts.
        skip_unlabelled: leave out rows whose label is -1, the hub's mark for "not labelled".
    """

    where: str
    table: pa.Table
    columns: ColumnNames
    skip_unlabelled: bool = False


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of one split, and what errors call it.

    Args:
        where: file or hub split.
        name: name of the column.
        values: N values, any type.
        rows: int64 [N] 1-based data row numbers.
    """

    where: str
    name: str
    values: pa.Array
    rows: NDArray[np.int64]

    def fault(self, problem: str, mask: NDArray[np.bool_], *, expected: str, fix: str) -> DataError:
        """Return one fault for all rows where `mask` ([N], at least one True) holds."""
        values = self.values.filter(pa.array(mask)).slice(0, 3).to_pylist()
        return rows_fault(
            self.where,
            f"{problem} in column '{self.name}'",
            self.rows[mask],
            values,
            expected=expected,
            fix=fix,
        )

    def wrong_type(self, *, expected: str, fix: str) -> DataError:
        """Return the fault of a column whose type cannot be used."""
        return DataError(
            f"{self.where}: column '{self.name}' holds {self.values.type}",
            expected=expected,
            fix=fix,
        )


@dataclass(frozen=True, kw_only=True)
class RawTask:
    """A task as read.

    Args:
        name: how errors and results call it.
        kind: classification, multilabel or regression.
        metric: how predictions are scored.
        labels: declared label names; empty: not declared.
        splits: split name ("train", "validation", "test") to its rows; what is absent is split from
            train.
        notes: what to tell the user about the reading.
    """

    name: str
    kind: Kind
    metric: Metric
    labels: tuple[str, ...]
    splits: Mapping[str, RawSplit]
    notes: tuple[str, ...] = ()


@dataclass(kw_only=True)
class FaultList:
    """Collects faults, so that one run reports all of them: `with faults: ...`."""

    found: list[PrefixbankError] = field(default_factory=list)

    def __enter__(self) -> FaultList:
        """Return the list itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> bool:
        """Keep a DataError (or several) and go on; let anything else pass."""
        if isinstance(error, Faults):
            self.found.extend(error.faults)
            return True
        if isinstance(error, DataError):
            self.found.append(error)
            return True
        return False


def wanted_columns(columns: ColumnNames) -> dict[str, str]:
    """Return setting name to column name, for the columns that are in use."""
    wanted = {"text": columns.text, "text_pair": columns.text_pair, "label": columns.label}
    return {setting: name for setting, name in wanted.items() if name}


def missing_columns(where: str, columns: ColumnNames, present: Sequence[str]) -> list[DataError]:
    """Return one fault for each wanted column that is absent or there more than once."""
    faults = []
    for setting, name in wanted_columns(columns).items():
        if name not in present:
            what = f"{where} has no column '{name}'{did_you_mean(name, present)}"
        elif present.count(name) > 1:
            what = f"{where} has {present.count(name)} columns called '{name}'"
        else:
            continue
        called = columns.SETTINGS[setting]
        expected = (
            f"one column for {called}; the columns there are: {', '.join(present) or '(none)'}"
        )
        faults.append(
            DataError(what, expected=expected, fix=f"rename the column, or set {called}=NAME")
        )
    return faults


def rows_fault(
    where: str,
    problem: str,
    rows: NDArray[np.integer],
    values: Iterable[object],
    *,
    expected: str,
    fix: str,
) -> DataError:
    """Return one fault for several rows: how many, and the first three with their values.

    Args:
        where: file or hub split.
        problem: what is wrong with each row, such as "without text".
        rows: 1-based data row numbers, at least one.
        values: the values in these rows; None shows no value.
        expected: what a right row has.
        fix: what to do.
    """
    shown = ", ".join(
        _row_and_value(row, value)
        for row, value in list(zip(rows.tolist(), values, strict=False))[:3]
    )
    count = "1 row" if len(rows) == 1 else f"{len(rows)} rows"
    more = ", ..." if len(rows) > 3 else ""
    return DataError(f"{where}: {count} {problem}: {shown}{more}", expected=expected, fix=fix)


def _row_and_value(row: int, value: object) -> str:
    if value is None:
        return f"row {row}"
    quoted = repr(value)
    return f"row {row} {quoted if len(quoted) <= MAX_SHOWN else quoted[:MAX_SHOWN] + '...'}"


def near_names(folder: Path, name: str) -> str:
    """Return a suggestion and the names in a folder, for an error about a missing name."""
    present = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    listed = ", ".join(present[:20]) + (", ..." if len(present) > 20 else "")
    return f"{listed or '(empty)'}{did_you_mean(name, present)}"
