"""Check the rows of a split and turn them into `Examples`; all faults are raised together."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from prefixbank.choices import Kind
from prefixbank.data.tasks.labels import is_text, read_labels, unlabelled_rows
from prefixbank.data.tasks.raw import Column, FaultList, RawSplit
from prefixbank.data.tasks.task import Examples
from prefixbank.errors import DataError, raise_faults


def build_examples(raw: RawSplit, kind: Kind, labels: tuple[str, ...]) -> tuple[Examples, int]:
    """Check texts and labels of a split.

    Args:
        raw: the split as it was read.
        kind: kind of the labels.
        labels: label names in order; empty for a regression.

    Returns:
        The checked rows, and the number of rows that are marked as unlabelled and left out.

    Raises:
        DataError: a row lacks its text, pair or label, a value has the wrong type, or a label is
            not listed.
        Faults: several of these.
    """
    table, rows, dropped = _labelled(raw, kind)

    def column(name: str) -> Column:
        return Column(where=raw.where, name=name, values=plain(table[name]), rows=rows)

    texts: tuple[str, ...] = ()
    pairs: tuple[str, ...] | None = None
    targets: NDArray[np.generic] = np.empty(0)
    faults = FaultList()
    with faults:
        texts = _texts(column(raw.columns.text))
    with faults:
        pairs = _texts(column(raw.columns.text_pair)) if raw.columns.text_pair else None
    with faults:
        targets = read_labels(column(raw.columns.label), kind, labels)
    raise_faults(faults.collected)
    return Examples(texts=texts, pairs=pairs, labels=targets), dropped


def plain(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array, without dictionary encoding (categoricals) and views."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string_view(column.type):
        column = column.cast(pa.large_string())
    joined = column.combine_chunks()
    return pa.concat_arrays(joined.chunks) if isinstance(joined, pa.ChunkedArray) else joined


def _labelled(raw: RawSplit, kind: Kind) -> tuple[pa.Table, NDArray[np.int64], int]:
    rows = np.arange(1, raw.table.num_rows + 1)
    if not raw.skip_unlabelled:
        return raw.table, rows, 0
    kept = ~unlabelled_rows(plain(raw.table[raw.columns.label]), kind)
    if not kept.any():
        raise DataError(
            f"{raw.where}: all {len(rows)} rows are marked as not labelled (-1)",
            expected="a split with labels; benchmarks hide the labels of their test split",
            fix=(
                "task.splits.test=''    to take test rows from train, or name a labelled split "
                "such as validation"
            ),
        )
    return raw.table.filter(pa.array(kept)), rows[kept], int((~kept).sum())


def _texts(column: Column) -> tuple[str, ...]:
    if not is_text(column.values.type):
        fix = (
            "name the column that holds the text: task.columns.text=NAME (second text: "
            "task.columns.text_pair=NAME)"
        )
        raise column.wrong_type(expected="a column of texts", fix=fix)
    _refuse_undecodable(column)
    trimmed = pc.utf8_length(pc.utf8_trim_whitespace(column.values))
    empty = pc.equal(trimmed, 0).fill_null(True).to_numpy(zero_copy_only=False)
    if empty.any():
        expected = "a text with at least one visible character in every row"
        raise column.fault(
            "without text", empty, expected=expected, fix="remove these rows, or fill in the text"
        )
    return tuple(column.values.to_pylist())


def _refuse_undecodable(column: Column) -> None:
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
