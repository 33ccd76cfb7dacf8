"""Check the rows of a split and turn them into `Examples`; all faults are raised together."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from prefixbank.choices import IncompleteRows, Kind
from prefixbank.data.tasks.labels import (
    DROP,
    is_text,
    missing_labels,
    read_labels,
    unlabelled_rows,
)
from prefixbank.data.tasks.raw import Column, FaultList, RawSplit
from prefixbank.data.tasks.task import Examples
from prefixbank.errors import DataError, raise_faults


@dataclass(frozen=True, kw_only=True)
class KeptRows:
    """The rows of a split that are used, as they were read.

    Args:
        raw: the split with these rows alone, N of them.
        rows: int64 [N], their numbers in what was read, from 1.
        notes: one for each reason for which rows were left out.
    """

    raw: RawSplit
    rows: NDArray[np.int64]
    notes: tuple[str, ...]

    def column(self, name: str) -> Column:
        """Return one column of them."""
        return Column(
            where=self.raw.where, name=name, values=plain(self.raw.table[name]), rows=self.rows
        )


def build_examples(kept: KeptRows, kind: Kind, labels: tuple[str, ...]) -> Examples:
    """Check texts and labels of a split.

    Args:
        kept: its rows.
        kind: kind of the labels.
        labels: label names in order; empty for a regression.

    Raises:
        DataError: a row lacks its text, pair or label, a value has the wrong type, or a label is
            not listed.
        Faults: several of these.
    """
    columns = kept.raw.columns
    texts: tuple[str, ...] = ()
    pairs: tuple[str, ...] | None = None
    targets: NDArray[np.generic] = np.empty(0)
    faults = FaultList()
    with faults:
        texts = _texts(kept.column(columns.text))
    with faults:
        pairs = _texts(kept.column(columns.text_pair)) if columns.text_pair else None
    with faults:
        targets = read_labels(kept.column(columns.label), kind, labels)
    raise_faults(faults.collected)
    return Examples(texts=texts, pairs=pairs, labels=targets)


def plain(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array, without dictionary encoding (categoricals) and views."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string_view(column.type):
        column = column.cast(pa.large_string())
    joined = column.combine_chunks()
    return pa.concat_arrays(joined.chunks) if isinstance(joined, pa.ChunkedArray) else joined


def kept_rows(
    raw: RawSplit, kind: Kind, declared: tuple[str, ...], missing: IncompleteRows
) -> KeptRows:
    """Return the rows of a split to use.

    Args:
        raw: the split as it was read.
        kind: kind of the labels.
        declared: label names that are known before any row is read.
        missing: what to do with rows that lack something.

    Raises:
        DataError: there is none.
    """
    table, rows, notes = raw.table, np.arange(1, raw.table.num_rows + 1), []

    def leave_out(mask: NDArray[np.bool_], what: str) -> None:
        nonlocal table, rows
        if mask.any():
            notes.append(f"{mask.sum()} rows {what} left out of {len(rows)}")
            table, rows = table.filter(pa.array(~mask)), rows[~mask]

    if raw.skip_unlabelled:
        unlabelled = unlabelled_rows(plain(table[raw.columns.label]), kind)
        if unlabelled.all():
            raise DataError(
                f"{raw.where}: all {len(rows)} rows are marked as not labelled (-1)",
                expected="a split with labels; benchmarks hide the labels of their test split",
                fix=(
                    "task.splits.test=''    to take test rows from train, or name a labelled split "
                    "such as validation"
                ),
            )
        leave_out(unlabelled, "without label (-1)")
    if missing == "drop":
        without_text = np.zeros(len(rows), dtype=bool)
        for name in filter(None, (raw.columns.text, raw.columns.text_pair)):
            values = plain(table[name])
            if is_text(values.type):
                refuse_undecodable(Column(where=raw.where, name=name, values=values, rows=rows))
                without_text |= _empty(values)
        leave_out(without_text, "without text")
        leave_out(missing_labels(plain(table[raw.columns.label]), kind, declared), "without label")
        if not len(rows):
            raise DataError(
                f"{raw.where}: no row has both text and label",
                expected="at least one row that is complete",
                fix="name the columns that hold them: task.columns.text, task.columns.label",
            )
    return KeptRows(raw=dataclasses.replace(raw, table=table), rows=rows, notes=tuple(notes))


def _empty(texts: pa.Array) -> NDArray[np.bool_]:
    """Return bool [N], whether a text is missing or has no visible character."""
    length = pc.utf8_length(pc.utf8_trim_whitespace(texts))
    empty = pc.equal(length, 0).fill_null(True)
    return np.asarray(empty.to_numpy(zero_copy_only=False), dtype=bool)


def _texts(column: Column) -> tuple[str, ...]:
    if not is_text(column.values.type):
        fix = (
            "name the column that holds the text: task.columns.text=NAME (second text: "
            "task.columns.text_pair=NAME)"
        )
        raise column.wrong_type(expected="a column of texts", fix=fix)
    refuse_undecodable(column)
    empty = _empty(column.values)
    if empty.any():
        expected = "a text with at least one visible character in every row"
        raise column.fault(
            "without text", empty, expected=expected, fix=f"{DROP}    or fill in the text"
        )
    return tuple(column.values.to_pylist())


def refuse_undecodable(column: Column) -> None:
    """Raise DataError for texts that are not UTF-8."""
    try:
        column.values.validate(full=True)
    except pa.ArrowInvalid as error:
        raw = column.values.cast(pa.large_binary())
        bad = np.array([not _is_utf8(value) for value in raw.to_pylist()], dtype=bool)
        fix = "write the file again from texts in UTF-8"
        raise dataclasses.replace(column, values=raw).fault(
            "not UTF-8", bad, expected="texts in UTF-8", fix=fix
        ) from error


def _is_utf8(value: bytes | None) -> bool:
    try:
        (value or b"").decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
