"""Labels of a multilabel task as people write them: text, lists as text, a column for each label.

Each becomes a column of lists, which `labels.py` turns into numbers.
"""

from __future__ import annotations

import ast
import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from prefixbank.data.tasks.check import plain, refuse_undecodable
from prefixbank.data.tasks.labels import MISSING, is_missing, is_text
from prefixbank.data.tasks.raw import Column, FaultList, RawSplit
from prefixbank.errors import DataError, raise_faults

FLAGS = {
    **dict.fromkeys(("1", "1.0", "true"), 1),
    **dict.fromkeys(("0", "0.0", "false"), 0),
}
"""What a column for one label may hold, as lower-case text."""

ODD = (",", ";", "|", "[", "]")
"""Characters of label names that were probably meant as lists."""


def with_label_lists(split: RawSplit, separator: str, declared: Sequence[str]) -> RawSplit:
    """Return a split of a multilabel task with one column of lists as its label.

    Args:
        split: the split as it was read. Its label column holds lists already, which stay; text; or
            there is a column for each label.
        separator: stands between the label names of one row.
        declared: label names that are known; empty: those of the rows.

    Raises:
        DataError: some row holds no labels, or something that looks like a list in another form.
        Faults: several of these.
    """
    if names := split.columns.labels:
        lists, label = _from_columns(split, names), ", ".join(names)
    else:
        label = split.columns.label
        values = plain(split.table[label])
        if not is_text(values.type):
            return split
        rows = np.arange(1, len(values) + 1)
        column = Column(where=split.where, name=label, values=values, rows=rows)
        refuse_undecodable(column)
        lists = _from_texts(column, separator, frozenset(declared))
    kept = [name for name in split.table.column_names if name not in (*names, label)]
    table = split.table.select(kept).append_column(label, lists)
    return dataclasses.replace(
        split, table=table, columns=dataclasses.replace(split.columns, label=label, labels=())
    )


def _from_columns(split: RawSplit, names: Sequence[str]) -> pa.Array:
    """Return for each row the names of the columns that hold a one."""
    count = split.table.num_rows
    faults, chosen = FaultList(), np.zeros((count, len(names)), dtype=np.int8)
    for index, name in enumerate(names):
        with faults:
            chosen[:, index] = _flags(
                Column(
                    where=split.where,
                    name=name,
                    values=plain(split.table[name]),
                    rows=np.arange(1, count + 1),
                )
            )
    raise_faults(faults.collected)
    return _array(
        [
            [names[index] for index in np.flatnonzero(row).tolist()] if row.min() >= 0 else None
            for row in chosen
        ]
    )


def _flags(column: Column) -> NDArray[np.int8]:
    """Return int8 [N]: 1 where a row has the label, 0 where it has not, `MISSING`."""
    found = [
        MISSING if is_missing(value) else FLAGS.get(str(value).strip().lower())
        for value in column.values.to_pylist()
    ]
    wrong = np.array([flag is None for flag in found], dtype=bool)
    if wrong.any():
        raise column.fault(
            "with a value that is neither 0 nor 1",
            wrong,
            expected="0 or 1, false or true, in each column of task.columns.labels",
            fix="fill in or correct these values, or leave the column out of task.columns.labels",
        )
    return np.array(found, dtype=np.int8)


def _from_texts(column: Column, separator: str, declared: frozenset[str]) -> pa.Array:
    """Return the labels in each text; a missing text stays missing."""
    texts = column.values.to_pylist()
    parsed = {text: _names_in(text, separator, declared) for text in set(texts) - {None}}
    wrong = np.array([text is not None and parsed[text] is None for text in texts], dtype=bool)
    if wrong.any():
        raise column.fault(
            "with a list that cannot be read",
            wrong,
            expected=f'label names: a{separator}b, ["a", "b"] or an empty text',
            fix=f"write the names with '{separator}' between them",
        )
    lists = [None if text is None else parsed[text] for text in texts]
    odd = np.array([not declared and any(map(_is_odd, row or ())) for row in lists], dtype=bool)
    if odd.any():
        first = next(name for row in lists for name in row or () if _is_odd(name))
        other = next((one for one in ODD[:3] if one in first and one != separator), "")
        raise column.fault(
            "with a label that looks like several",
            odd,
            expected=f"label names with '{separator}' between them",
            fix=(f"task.label_separator='{other}'    or, " if other else "")
            + "if these are names, list all: task.labels='[...]'",
        )
    return _array(lists)


def _is_odd(name: str) -> bool:
    return any(character in name for character in ODD)


def _names_in(text: str, separator: str, declared: frozenset[str]) -> list[str] | None:
    """Return the label names in a text, or None if it is a list that cannot be read."""
    trimmed = text.strip()
    if not trimmed or trimmed in declared:
        return [trimmed] if trimmed else []
    if not (trimmed.startswith("[") and trimmed.endswith("]")):
        return [part.strip() for part in trimmed.split(separator)]
    items = _list_in(trimmed)
    plain_items = items is not None and all(type(item) in (str, int) for item in items)
    return [str(item) for item in items or ()] if plain_items else None


def _list_in(text: str) -> list[Any] | None:
    """Return a list that was written as JSON or by Python's `str`, or None."""
    try:
        return list(json.loads(text))
    except ValueError:
        pass
    try:
        items = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    # Arrays of numpy are written without commas, and Python joins texts that stand side by side.
    return items if isinstance(items, list) and str(items) == text else None


def _array(lists: Sequence[Sequence[str] | None]) -> pa.Array:
    return pa.array(lists, pa.list_(pa.large_string()))


def refuse_columns(kind: str, names: Sequence[str], labels: Sequence[str]) -> None:
    """Refuse a column for each label where there is one label, or where names are listed twice.

    Raises:
        DataError: see above.
    """
    if names and kind != "multilabel":
        raise DataError(
            f"task.columns.labels with task.kind={kind}",
            expected="a column for each label only where a row may have several labels",
            fix="task.kind=multilabel task.metric=macro_f1    or task.columns.label=NAME",
        )
    if names and labels:
        raise DataError(
            "both task.columns.labels and task.labels",
            expected="the label names from one of them; a column for each label has its name",
            fix="leave task.labels out, or rename the columns",
        )
