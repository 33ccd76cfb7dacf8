"""Columns of values in memory: lists, arrays, and columns of any table library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prefixbank.data.row_faults import rows_fault
from prefixbank.errors import DataError


def as_list(values: Any, where: str) -> list[Any]:
    """Return a column of any library as a list of plain values.

    Raises:
        DataError: it is not a column, or its rows have no order.
    """
    for method in ("to_pylist", "tolist"):
        if hasattr(values, method):
            listed = getattr(values, method)()
            if isinstance(listed, list):
                return listed
    ordered = hasattr(values, "__len__") and hasattr(values, "__getitem__")
    if not ordered or isinstance(values, str | bytes | Mapping) or hasattr(values, "columns"):
        raise DataError(
            f"{where}: a {type(values).__name__} instead of a list",
            expected="a list, an array or one column of a table, in the order of the rows",
            fix="list(...)    or, of a table, the column: table[NAME]",
        )
    return list(values)


def refuse_other_texts(texts: Sequence[Any], where: str) -> None:
    """Refuse values that are not texts, and texts without a visible character or UTF-8 form.

    Raises:
        DataError: some row is refused; the first of them are shown.
    """
    others = [row for row, text in enumerate(texts) if not isinstance(text, str)]
    if others:
        raise rows_fault(
            where,
            "not a text",
            [row + 1 for row in others],
            [texts[row] for row in others],
            expected="a str in every row",
            fix="remove these rows, or convert them with str(...)",
        )
    refuse_surrogates(texts, where)
    empty = [row for row, text in enumerate(texts) if not text.strip()]
    if empty:
        raise rows_fault(
            where,
            "without text",
            [row + 1 for row in empty],
            [texts[row] for row in empty],
            expected="a text with at least one visible character in every row",
            fix="remove these rows, or fill in the text",
        )


def refuse_surrogates(values: Sequence[Any], where: str) -> None:
    """Refuse texts with half of a surrogate pair, which UTF-8 cannot write.

    Raises:
        DataError: some row has one.
    """
    bad = [row for row, value in enumerate(values) if isinstance(value, str) and _is_bad(value)]
    if bad:
        raise rows_fault(
            where,
            "with half of a surrogate pair, which UTF-8 cannot write",
            [row + 1 for row in bad],
            [values[row] for row in bad],
            expected="texts of whole characters",
            fix='text.encode("utf-8", "replace").decode("utf-8")',
        )


def _is_bad(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False
