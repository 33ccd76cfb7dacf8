"""Turn a label column of indices, names, sets of labels or values into numbers.

Whether a value is an index or a name depends on the declared label names only, never on other rows:

* if a label name is a whole number ("1", "2"), whole numbers are names;
* otherwise whole numbers (3, 3.0, "3") are indices from 0, and every other text is a name.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection
from typing import Any, Final, assert_never

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from prefixbank.choices import Kind
from prefixbank.data.tasks.raw import Column
from prefixbank.errors import DataError, PrefixbankError, did_you_mean, raise_faults

WHOLE: Final = re.compile(r"-?(0|[1-9]\d{0,17})", re.ASCII)
NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)

MISSING, UNKNOWN = -1, -2
DROP: Final = "remove these rows (task.missing=drop leaves them out)"
"""How a user has rows left out that lack something."""
NAN: Final = "nan"
"""How programs write a missing value as text, in any case."""


def read_labels(column: Column, kind: Kind, labels: tuple[str, ...]) -> NDArray[np.generic]:
    """Turn a label column into numbers.

    Args:
        column: N values: whole numbers, names or truth values (classification); lists of these
            (multilabel); numbers or text that is one (regression).
        kind: kind of the labels.
        labels: label names in order; empty for a regression.

    Returns:
        int64 [N], uint8 [N, C] or float64 [N].

    Raises:
        DataError: values of the wrong type, missing, or not listed.
        Faults: several of these.
    """
    match kind:
        case "classification":
            _refuse_nested(column)
            codes = _codes(column.values, labels)
            if_missing = "a label in every row", f"{DROP}    or fill in the label"
            raise_faults(_label_faults(column, codes, labels, if_missing))
            return codes
        case "multilabel":
            return _sets(column, labels)
        case "regression":
            return _numbers(column)
    assert_never(kind)


def discover_labels(column: Column, kind: Kind) -> tuple[str, ...]:
    """Return the label names in a column, numbers in numerical and names in alphabetical order.

    Raises:
        DataError: labels of a classification are fractions, or values have the wrong type.
    """
    if kind == "classification":
        _refuse_nested(column)
    single = _flatten(column)[0] if kind == "multilabel" else column.values
    values = [value for value in single.unique().to_pylist() if not is_missing(value)]
    fractions = [value for value in values if isinstance(value, float) and not value.is_integer()]
    if fractions:
        raise DataError(
            f"{column.where}: column '{column.name}' holds fractions such as {fractions[0]}",
            expected="whole numbers or names as labels of a classification",
            fix=(
                "task.kind=regression task.metric=spearman    "
                "or name another column: task.columns.label=NAME"
            ),
        )
    names = {_name(value) for value in values}
    if all(WHOLE.fullmatch(label) for label in names):
        return tuple(sorted(names, key=int))
    return tuple(sorted(names))


def is_text(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds texts."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def unlabelled_rows(values: pa.Array, kind: Kind) -> NDArray[np.bool_]:
    """Return bool [N], whether a row is unlabelled by the hub's convention.

    These are integer labels of -1 in a classification. In a regression, they are all rows if every
    label is -1; in a multilabel task there are none.

    Args:
        values: N labels.
        kind: kind of the labels.
    """
    none = np.zeros(len(values), dtype=bool)
    if not (
        pa.types.is_integer(values.type)
        or (kind == "regression" and pa.types.is_floating(values.type))
    ):
        return none
    marked = np.asarray(
        pc.equal(values, -1).fill_null(False).to_numpy(zero_copy_only=False), dtype=bool
    )
    return marked if kind == "classification" or (kind == "regression" and marked.all()) else none


def missing_labels(
    values: pa.Array, kind: Kind, declared: Collection[str] = ()
) -> NDArray[np.bool_]:
    """Return bool [N], whether a row has no label.

    Args:
        values: N labels; lists of a multilabel task may be empty.
        kind: kind of the labels.
        declared: label names that are known.
    """
    if kind == "multilabel":
        return np.asarray(values.is_null().to_numpy(zero_copy_only=False), dtype=bool)
    return np.array([is_missing(value, declared) for value in values.to_pylist()], dtype=bool)


def is_missing(value: Any, declared: Collection[str] = ()) -> bool:
    """Whether a label is missing: null, NaN, blank, or the text `nan` unless that is a name."""
    if isinstance(value, str):
        text = value.strip()
        return not text or (text.lower() == NAN and not {text, value} & set(declared))
    return value is None or value != value


def _name(value: Any) -> str:
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value)) if whole else str(value).strip()


def _code(value: Any, index_of: dict[str, int], whole_are_names: bool) -> int:
    """Return the class index of one value, `MISSING` or `UNKNOWN`."""
    if is_missing(value, index_of):
        return MISSING
    if isinstance(value, str) and value in index_of:
        return index_of[value]
    if isinstance(value, bool):
        named = index_of.get(str(value), int(value))
        return named if named < len(index_of) else UNKNOWN
    text = _name(value)
    if text in index_of:
        return index_of[text]
    if whole_are_names or not WHOLE.fullmatch(text):
        return UNKNOWN
    return int(text) if 0 <= int(text) < len(index_of) else UNKNOWN


def _codes(column: pa.Array, labels: tuple[str, ...]) -> NDArray[np.int64]:
    index_of = {label: index for index, label in enumerate(labels)}
    whole_are_names = any(WHOLE.fullmatch(label) for label in labels)
    encoded = column.dictionary_encode()
    codes = [_code(value, index_of, whole_are_names) for value in encoded.dictionary.to_pylist()]
    indices = encoded.indices.fill_null(len(codes)).to_numpy(zero_copy_only=False)
    return np.asarray(np.array([*codes, MISSING], dtype=np.int64)[indices])


def _label_faults(
    column: Column, codes: NDArray[np.int64], labels: tuple[str, ...], if_missing: tuple[str, str]
) -> list[PrefixbankError]:
    """Return the faults of labels; `if_missing` is what was expected of missing ones, and a fix."""
    faults: list[PrefixbankError] = []
    missing, unknown = codes == MISSING, codes == UNKNOWN
    if missing.any():
        expected, fix = if_missing
        without = column.values.filter(pa.array(missing)).to_pylist()
        if any(isinstance(value, str) and value.strip() for value in without):
            fix += f"    or, if {NAN} is a name, list all names: task.labels='[...]'"
        faults.append(column.fault("without label", missing, expected=expected, fix=fix))
    if unknown.any():
        first = column.values.filter(pa.array(unknown))[0].as_py()
        listed = ", ".join(labels[:20]) + (", ..." if len(labels) > 20 else "")
        expected = (
            f"one of {len(labels)} labels: {listed} (or its index, 0 to "
            f"{len(labels) - 1}){did_you_mean(str(first), labels)}"
        )
        fix = "correct the label, or list every label in order: task.labels='[...]'"
        faults.append(
            column.fault("with a label that is not listed", unknown, expected=expected, fix=fix)
        )
    return faults


def _refuse_nested(column: Column) -> None:
    kind = column.values.type
    if pa.types.is_nested(kind) or pa.types.is_temporal(kind) or pa.types.is_binary(kind):
        fix = (
            "task.kind=multilabel    if a row may have several labels, or name another column: "
            "task.columns.label=NAME"
        )
        raise column.wrong_type(expected="one whole number or one name in each row", fix=fix)


def _flatten(column: Column) -> tuple[pa.Array, NDArray[np.int64]]:
    """Return the labels of all rows in one array, and the row index of each label."""
    lists = column.values
    if not (
        pa.types.is_list(lists.type)
        or pa.types.is_large_list(lists.type)
        or pa.types.is_fixed_size_list(lists.type)
    ):
        raise column.wrong_type(
            expected="a list of labels in each row, or text such as a|b",
            fix="task.kind=classification    if every row has exactly one label",
        )
    values = pc.list_flatten(lists)
    values = pc.utf8_trim_whitespace(values) if is_text(values.type) else values
    return values, pc.list_parent_indices(lists).to_numpy(zero_copy_only=False).astype(np.int64)


def _sets(column: Column, labels: tuple[str, ...]) -> NDArray[np.uint8]:
    values, parents = _flatten(column)
    codes = _codes(values, labels)
    items = dataclasses.replace(column, values=values, rows=column.rows[parents])
    if_missing = "a name in each item of a list", "leave the item out of the list"
    faults = _label_faults(items, codes, labels, if_missing)
    absent = missing_labels(column.values, "multilabel")
    if absent.any():
        expected, fix = (
            "labels in every row: a list, empty for none, or 0 or 1 for each label",
            f"write an empty list, or zeros    or {DROP}",
        )
        faults.append(column.fault("without label", absent, expected=expected, fix=fix))
    raise_faults(faults)
    counts = np.zeros((len(column.values), len(labels)), dtype=np.int64)
    np.add.at(counts, (parents, codes), 1)
    repeated = np.asarray((counts > 1).any(axis=1), dtype=bool)
    if repeated.any():
        expected = (
            "lists of labels or of their indices, each at most once; not vectors of zeros and ones"
        )
        fix = "write the list of the labels that a row has: [0, 3], [] for none"
        raise column.fault("with a label twice", repeated, expected=expected, fix=fix)
    return counts.astype(np.uint8)


def _numbers(column: Column) -> NDArray[np.float64]:
    kind = column.values.type
    if not (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_null(kind)
        or is_text(kind)
    ):
        fix = "task.kind=classification    or name another column: task.columns.label=NAME"
        raise column.wrong_type(expected="a number in every row of a regression", fix=fix)
    values = column.values.to_pylist()
    numbers = np.array([_number(value) for value in values], dtype=np.float64)
    missing = missing_labels(column.values, "regression")
    wrong = ~missing & ~np.isfinite(numbers)
    faults: list[PrefixbankError] = []
    if missing.any():
        expected, fix = "a number in every row", f"{DROP}    or fill in the number"
        faults.append(column.fault("without label", missing, expected=expected, fix=fix))
    if wrong.any():
        expected, fix = (
            "a finite number such as 3.5 in every row",
            "write a point, not a comma; for names, task.kind=classification",
        )
        faults.append(
            column.fault("with a label that is not a number", wrong, expected=expected, fix=fix)
        )
    raise_faults(faults)
    return numbers


def _number(value: Any) -> float:
    """Return a value as a number, or NaN if it is none."""
    if isinstance(value, str):
        return float(value) if NUMBER.fullmatch(value.strip()) else np.nan
    return np.nan if value is None else float(value)
