"""Faults in the rows of a file: counted by kind, the first few shown, reported together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from prefixbank.config.schema import ColumnNames
from prefixbank.errors import DataError, did_you_mean

MAX_SHOWN = 40
"""Characters of a value that an error quotes."""

ENOUGH = 10_000
"""Faulty rows after which reading stops."""


@dataclass(kw_only=True)
class _Problem:
    """What several rows have in common."""

    expected: str
    fix: str
    rows: list[int] = field(default_factory=list)
    values: list[object] = field(default_factory=list)


class RowFaults:
    """Collects the faulty rows of one file."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._problems: dict[str, _Problem] = {}
        self.count = 0

    @property
    def enough(self) -> bool:
        """Whether there are so many that reading can stop."""
        return self.count >= ENOUGH

    def add(self, row: int, problem: str, value: object, *, expected: str, fix: str) -> None:
        """Add a faulty row.

        Args:
            row: 1-based number.
            problem: what is wrong, as in "3 rows <problem>".
            value: what the row holds instead; None shows nothing.
            expected: what a right row has.
            fix: what to do.
        """
        listed = self._problems.setdefault(problem, _Problem(expected=expected, fix=fix))
        listed.rows.append(row)
        listed.values.append(value)
        self.count += 1

    def clear(self) -> None:
        """Forget all faults."""
        self._problems.clear()
        self.count = 0

    def faults(self) -> list[DataError]:
        """Return one fault for each kind of problem, in the order of their first rows."""
        stopped = f" (reading stopped at {ENOUGH} faulty rows)" if self.enough else ""
        return [
            rows_fault(
                self._where,
                problem + stopped,
                listed.rows,
                listed.values,
                expected=listed.expected,
                fix=listed.fix,
            )
            for problem, listed in self._problems.items()
        ]


def rows_fault(
    where: str,
    problem: str,
    rows: Sequence[int],
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
        _row_and_value(row, value) for row, value in list(zip(rows, values, strict=False))[:3]
    )
    count = "1 row" if len(rows) == 1 else f"{len(rows)} rows"
    more = ", ..." if len(rows) > 3 else ""
    return DataError(f"{where}: {count} {problem}: {shown}{more}", expected=expected, fix=fix)


def _row_and_value(row: int, value: object) -> str:
    if value is None:
        return f"row {row}"
    quoted = repr(value)
    return f"row {row} {quoted if len(quoted) <= MAX_SHOWN else quoted[:MAX_SHOWN] + '...'}"


def columns_in_use(columns: ColumnNames) -> dict[str, str]:
    """Return setting name to column name, for the columns that are in use."""
    of_label = {f"labels.{index}": name for index, name in enumerate(columns.labels)}
    names = {"text": columns.text, "text_pair": columns.text_pair}
    names |= of_label or {"label": columns.label}
    return {setting: name for setting, name in names.items() if name}


def missing_columns(where: str, columns: ColumnNames, present: Sequence[str]) -> list[DataError]:
    """Return one fault for each column in use that is absent or there more than once."""
    faults = []
    for setting, name in columns_in_use(columns).items():
        if name not in present:
            what = f"{where} has no column '{name}'{did_you_mean(name, present)}"
        elif present.count(name) > 1:
            what = f"{where} has {present.count(name)} columns called '{name}'"
        else:
            continue
        called = columns.SETTINGS[setting.partition(".")[0]]
        expected = (
            f"one column for {called}; the columns there are: {', '.join(present) or '(none)'}"
        )
        faults.append(
            DataError(what, expected=expected, fix=f"rename the column, or set {called}=NAME")
        )
    return faults
