"""Tasks from rows in memory: lists, pandas data frames, tables of datasets or pyarrow.

They are checked and split as tasks from files are, so the same rows make the same keys.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, get_args

import pyarrow as pa

from prefixbank.choices import IncompleteRows, Kind, Metric
from prefixbank.config.schema import ColumnNames, TaskConfig
from prefixbank.data.columns import as_list, refuse_surrogates
from prefixbank.data.row_faults import missing_columns
from prefixbank.data.tasks import task
from prefixbank.data.tasks.load import build_task
from prefixbank.data.tasks.raw import FaultList, RawSplit, RawTask
from prefixbank.errors import DataError, did_you_mean, raise_faults


class Rows(NamedTuple):
    """The rows of one split.

    Attributes:
        texts: N texts.
        labels: N labels; see `Task.from_rows`.
        text_pairs: N second texts, or None for single texts.
    """

    texts: Sequence[str]
    labels: Sequence[Any]
    text_pairs: Sequence[str] | None = None


class _Arguments(ColumnNames):
    """Columns of a table, called as the arguments of `Task.from_table` in errors."""

    SETTINGS: ClassVar[dict[str, str]] = {name: name for name in ("text", "text_pair", "label")}


class Task(task.Task):
    """A task in memory: three checked splits, and what their labels mean.

    Made by `from_rows` or `from_table`. Use it wherever a function takes the name of a task.
    """

    @classmethod
    def from_rows(
        cls,
        texts: Sequence[str],
        labels: Sequence[Any],
        text_pairs: Sequence[str] | None = None,
        *,
        name: str = "task",
        kind: Kind = "classification",
        metric: Metric = "accuracy",
        label_names: Sequence[str] = (),
        validation: Rows | None = None,
        test: Rows | None = None,
        missing: IncompleteRows = "error",
    ) -> Task:
        """Return a task from its train rows.

        Args:
            texts: N texts.
            labels: N labels: names or whole numbers (classification), lists of these (multilabel),
                or numbers (regression).
            text_pairs: N second texts, for a task of text pairs.
            name: name of the task. Its prefix gets the ref `prefix/<name>`.
            kind: what a label is.
            metric: how predictions are scored.
            label_names: label names in order, so that a label 0 is the first of them. Empty: the
                labels of the train rows, sorted.
            validation: rows to choose epochs and settings by. None: 10 % of the train rows, seeded
                and stratified.
            test: rows to score once. None: 20 % of the train rows, in the same way.
            missing: refuse rows without text, second text or label, or `drop` them; `Task.notes`
                says how many.

        Raises:
            DataError: rows without text or label, labels that are not listed, a metric that does
                not fit, too few rows.
            Faults: several of these.
        """
        splits = {"train": Rows(texts, labels, text_pairs), "validation": validation, "test": test}
        paired = text_pairs is not None
        columns = _Arguments(text_pair="text_pair" if paired else "")
        faults, tables = FaultList(), {}
        for split, rows in splits.items():
            if rows is not None:
                with faults:
                    tables[split] = _table_of_rows(rows, f"{split} rows", paired=paired)
        raise_faults(faults.collected)
        config = _config(name, kind, metric, tuple(label_names), missing)
        return cls._of(tables, "rows", columns, config)

    @classmethod
    def from_table(
        cls,
        table: Any,
        *,
        text: str = "text",
        label: str = "label",
        text_pair: str = "",
        name: str = "task",
        kind: Kind = "classification",
        metric: Metric = "accuracy",
        label_names: Sequence[str] = (),
        validation: Any = None,
        test: Any = None,
        missing: IncompleteRows = "error",
    ) -> Task:
        """Return a task from a table of train rows.

        Args:
            table: a pandas data frame, a `datasets.Dataset`, a pyarrow table, or a dict of columns.
            text: name of the column with the texts.
            label: name of the column with the labels.
            text_pair: name of the column with the second texts; empty: single texts.
            name: name of the task. Its prefix gets the ref `prefix/<name>`.
            kind: what a label is.
            metric: how predictions are scored.
            label_names: as in `from_rows`. Empty: those that a `datasets.ClassLabel` declares, else
                the labels of the train rows, sorted.
            validation: a table of validation rows; None: as in `from_rows`.
            test: a table of test rows; None: as in `from_rows`.
            missing: as in `from_rows`.

        Raises:
            DataError: as `from_rows`, and a column that does not exist.
            Faults: several of these.
        """
        columns = _Arguments(text=text, text_pair=text_pair, label=label)
        splits = {"train": table, "validation": validation, "test": test}
        faults, tables = FaultList(), {}
        for split, given in splits.items():
            if given is not None or split == "train":
                with faults:
                    tables[split] = _table_of_columns(given, f"{split} table", columns)
        raise_faults(faults.collected)
        names = tuple(label_names) or _declared_names(table, label)
        config = _config(name, kind, metric, names, missing)
        return cls._of(tables, "table", columns, config)

    @classmethod
    def _of(
        cls,
        tables: Mapping[str, pa.Table],
        noun: str,
        columns: ColumnNames,
        config: TaskConfig,
    ) -> Task:
        splits = {
            split: RawSplit(where=f"{split} {noun}", table=table, columns=columns)
            for split, table in tables.items()
        }
        raw = RawTask(
            name=config.name,
            kind=config.kind,
            metric=config.metric,
            labels=config.labels,
            splits=splits,
        )
        built = build_task(raw, config)
        values = {field.name: getattr(built, field.name) for field in dataclasses.fields(built)}
        return cls(**{**values, "origin": None})


def _config(
    name: str, kind: Kind, metric: Metric, labels: tuple[str, ...], missing: IncompleteRows
) -> TaskConfig:
    """Return the arguments as settings; raise the faults of all that are none of the choices."""
    raise_faults(
        [
            *_unknown_choice("kind", kind, get_args(Kind)),
            *_unknown_choice("metric", metric, get_args(Metric)),
            *_unknown_choice("missing", missing, get_args(IncompleteRows)),
        ]
    )
    return TaskConfig(name=name, kind=kind, metric=metric, labels=labels, missing=missing)


def _table_of_rows(rows: Rows, where: str, *, paired: bool) -> pa.Table:
    if not isinstance(rows, list | tuple) or not 2 <= len(rows) <= 3:
        raise DataError(
            f"{where}: a {type(rows).__name__} instead of texts and labels",
            expected="pb.Rows, or a tuple of texts, labels and, for pairs, second texts",
            fix="pb.Rows(texts, labels)",
        )
    texts, labels, pairs = Rows(*rows)
    if isinstance(texts, str) or isinstance(pairs, str):
        raise DataError(
            f"{where}: one text instead of a list of texts",
            expected="a list of texts",
            fix="put the text in a list: [text]",
        )
    if (pairs is not None) != paired:
        raise DataError(
            f"{where}: {'no second texts' if paired else 'second texts'}, unlike the train rows",
            expected="second texts in every split, or in none",
            fix="give text_pairs for every split, or for none",
        )
    if isinstance(texts, list | tuple) and any(isinstance(text, list | tuple) for text in texts):
        raise DataError(
            f"{where}: a list in place of a text",
            expected="one text in each row; second texts in a list of their own",
            fix="text_pairs=[second for first, second in texts]",
        )
    columns = {"text": texts, "label": labels, **({} if pairs is None else {"text_pair": pairs})}
    return _table(columns, where)


def _table_of_columns(given: Any, where: str, columns: ColumnNames) -> pa.Table:
    named = getattr(given, "column_names", None)
    if named is None:
        named = getattr(given, "columns", given if isinstance(given, Mapping) else None)
    if named is None or isinstance(named, Mapping) and named is not given:
        if named is not None:  # of a datasets.DatasetDict
            fix = 'pb.Task.from_table(data["train"], test=data["test"])'
        elif isinstance(given, str):
            fix = "pb.Task.from_table(pandas.read_csv(path))"
        else:
            fix = "pb.Task.from_table(pandas.DataFrame(rows))"
        raise DataError(
            f"{where}: a {type(given).__name__} instead of a table",
            expected="a pandas data frame, a datasets.Dataset, a pyarrow table, or a dict",
            fix=fix,
        )
    present = [str(name) for name in named]
    raise_faults(missing_columns(where, columns, present))
    wanted = [name for name in (columns.text, columns.text_pair, columns.label) if name]
    return _table({name: given[name] for name in wanted}, where)


def _table(columns: Mapping[str, Any], where: str) -> pa.Table:
    """Return columns as a pyarrow table; NaN counts as a missing value, as in pandas."""
    collected = FaultList()
    lists: dict[str, list[Any]] = {}
    for name, values in columns.items():
        with collected:
            lists[name] = as_list(values, f"{where}, column '{name}'")
    raise_faults(collected.collected)
    lengths = {name: len(values) for name, values in lists.items()}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{name} {count}" for name, count in lengths.items())
        raise DataError(
            f"{where}: columns of different lengths: {counts}",
            expected="as many texts as labels and second texts",
            fix="take all of them from the same rows",
        )
    arrays: dict[str, pa.Array] = {}
    for name, values in lists.items():
        with collected:
            arrays[name] = _array(values, name, where)
    raise_faults(collected.collected)
    table = pa.table(arrays)
    if table.num_rows == 0:
        raise DataError(f"{where}: no rows", expected="one row or more", fix="add rows")
    return table


def _array(values: list[Any], name: str, where: str) -> pa.Array:
    refuse_surrogates(values, f"{where}, column '{name}'")
    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise DataError(
            f"{where}: column '{name}' holds values of several types: {error}",
            expected="values of one type in a column",
            fix="convert all of them, for example to str",
        ) from error


def _unknown_choice(argument: str, given: Any, choices: Sequence[str]) -> list[DataError]:
    """Return the fault of an argument that is none of its choices; empty if there is none."""
    if given in choices:
        return []
    return [
        DataError(
            f"{argument}={given!r}{did_you_mean(str(given), choices)}",
            expected=f"one of {', '.join(choices)}",
            fix=f'{argument}="{choices[0]}"',
        )
    ]


def _declared_names(table: Any, label: str) -> tuple[str, ...]:
    """Return the label names that a `datasets.Dataset` declares, if it does."""
    features = getattr(table, "features", None)
    if not isinstance(features, Mapping):
        return ()
    feature = features.get(label)
    feature = getattr(feature, "feature", feature)  # the items of a list of labels
    return tuple(getattr(feature, "names", None) or ())
