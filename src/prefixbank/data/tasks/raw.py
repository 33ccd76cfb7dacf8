"""A task as it was read: tables of texts and labels, whose rows are not checked yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from prefixbank.choices import Kind, Metric
from prefixbank.config.schema import ColumnNames
from prefixbank.data.row_faults import rows_fault
from prefixbank.errors import DataError, Faults, PrefixbankError, did_you_mean


@dataclass(frozen=True, kw_only=True)
class RawSplit:
    """One split as it was read.

    Args:
        where: its name in errors, a file path or a hub split.
        table: the columns named in `columns`, of any type; N rows.
        columns: which column holds what; `text_pair` is empty for single texts.
        skip_unlabelled: leave out rows with the label -1, which marks unlabelled rows on the hub.
    """

    where: str
    table: pa.Table
    columns: ColumnNames
    skip_unlabelled: bool = False


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a split, and its name in errors.

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
            self.rows[mask].tolist(),
            values,
            expected=expected,
            fix=fix,
        )

    def wrong_type(self, *, expected: str, fix: str) -> DataError:
        """Return the fault of a column of the wrong type."""
        return DataError(
            f"{self.where}: column '{self.name}' holds {self.values.type}",
            expected=expected,
            fix=fix,
        )


@dataclass(frozen=True, kw_only=True)
class RawTask:
    """A task as it was read.

    Args:
        name: its name in errors and results.
        kind: classification, multilabel or regression.
        metric: how predictions are scored.
        labels: declared label names; empty: not declared.
        splits: split name ("train", "validation", "test") to its rows; a missing split is taken
            from train.
        notes: notes for the user about how it was read.
    """

    name: str
    kind: Kind
    metric: Metric
    labels: tuple[str, ...]
    splits: Mapping[str, RawSplit]
    notes: tuple[str, ...] = ()


@dataclass(kw_only=True)
class FaultList:
    """Collects the faults of several blocks `with faults: ...`, to report them together."""

    collected: list[PrefixbankError] = field(default_factory=list)

    def __enter__(self) -> FaultList:
        """Return the list itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> bool:
        """Collect a DataError (or several) and continue; other errors pass."""
        if isinstance(error, Faults):
            self.collected.extend(error.faults)
            return True
        if isinstance(error, DataError):
            self.collected.append(error)
            return True
        return False


def near_names(folder: Path, name: str) -> str:
    """Return the names in a folder and a suggestion, for an error about a missing name."""
    present = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    listed = ", ".join(present[:20]) + (", ..." if len(present) > 20 else "")
    return f"{listed or '(empty)'}{did_you_mean(name, present)}"
