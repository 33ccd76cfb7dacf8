r"""A task in memory: checked texts and labels, and their digests.

`Examples.digest` is the SHA-256 of these bytes, with integers in little-endian order:

    b"prefixbank.examples.1\n"
    column of texts, column of pairs     a column: b"\x00" if there is none, else b"\x01", N as
                                         uint64, N byte lengths as uint64, then the N texts as
                                         UTF-8, end to end
    labels                               numpy dtype string (b"<i8", b"<f8" or b"|u1"), number of
                                         axes as uint8, size of each axis as uint64, then the values
                                         in C order, -0.0 written as 0.0

Lengths come before bytes, so different splits never have the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from prefixbank.choices import Kind, Metric
from prefixbank.config.schema import TaskConfig
from prefixbank.errors import DataError, UsageError, did_you_mean
from prefixbank.store.reasons import Described

SPLITS: Final = ("train", "validation", "test")
"""Names of the three splits of every task, in order."""

READING: Final = (
    "hub_id",
    "hub_config",
    "revision",
    "kind",
    "labels",
    "label_separator",
    "splits",
    "columns",
    "missing",
    "max_rows",
    "max_validation_rows",
    "format",
    "separator",
    "quoting",
)
"""Settings of a task that say which rows are read, beside its name and path."""

LABEL_TYPES: Final = {(np.dtype(np.int64), 1), (np.dtype(np.float64), 1), (np.dtype(np.uint8), 2)}


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """The rows of one split.

    Args:
        texts: N texts.
        pairs: N second texts, or None for a task of single texts.
        labels: int64 [N] class indices, float64 [N] targets of a regression, or uint8 [N, C] zeros
            and ones of a multilabel task.

    Raises:
        DataError: the columns differ in length, or the labels have another type or shape.
    """

    texts: tuple[str, ...]
    pairs: tuple[str, ...] | None
    labels: NDArray[np.generic]

    def __post_init__(self) -> None:
        """Check that the columns have the same length, and the labels a known type."""
        lengths = {
            "texts": len(self.texts),
            "pairs": len(self.pairs or self.texts),
            "labels": len(self.labels),
        }
        if self.pairs is not None:
            lengths["pairs"] = len(self.pairs)
        if len(set(lengths.values())) > 1:
            raise DataError(
                f"examples have {lengths['texts']} texts, {lengths['pairs']} pairs and "
                f"{lengths['labels']} labels",
                expected="the same number of texts, pairs and labels",
                fix="make all three from the same rows",
            )
        if (self.labels.dtype, self.labels.ndim) not in LABEL_TYPES:
            raise DataError(
                f"labels are {self.labels.dtype} with shape {self.labels.shape}",
                expected=(
                    "int64 [N] for classes, float64 [N] for a regression, uint8 [N, C] for a "
                    "multilabel task"
                ),
                fix="convert with labels.astype(...)",
            )

    def __len__(self) -> int:
        """Return N, the number of rows."""
        return len(self.texts)

    def __repr__(self) -> str:
        """Return the number of rows; all of them would fill the screen."""
        return f"Examples({len(self)} rows)"

    def take(self, rows: NDArray[np.integer]) -> Examples:
        """Return the rows with these indices, in this order.

        Args:
            rows: int [M] row indices from 0.
        """
        picked = rows.tolist()
        pairs = None if self.pairs is None else tuple(self.pairs[row] for row in picked)
        return Examples(
            texts=tuple(self.texts[row] for row in picked), pairs=pairs, labels=self.labels[rows]
        )

    def digest(self) -> str:
        """Return the SHA-256 (64 hexadecimal digits) of the rows; see the module's docstring."""
        sha = hashlib.sha256(b"prefixbank.examples.1\n")
        for column in (self.texts, self.pairs):
            for part in _column_bytes(column):
                sha.update(part)
        for part in _label_bytes(self.labels):
            sha.update(part)
        return sha.hexdigest()


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """One task: three splits and what their labels mean.

    Args:
        name: the user's name for it; not part of the digest.
        kind: classification, multilabel or regression.
        metric: how predictions are scored.
        labels: label names in the order of class indices; empty for a regression.
        train: rows to train on.
        validation: rows to choose settings and epochs by.
        test: rows to report scores of.
        notes: notes for the user on how the splits were made, a sentence each; not part of the
            digest.
        origin: the configuration that it was loaded from, to load it again; not part of the digest.
    """

    name: str
    kind: Kind
    metric: Metric
    labels: tuple[str, ...]
    train: Examples
    validation: Examples
    test: Examples
    notes: tuple[str, ...] = ()
    origin: TaskConfig | None = None

    @property
    def num_outputs(self) -> int:
        """Return C, the number of labels, or 1 for a regression."""
        return 1 if self.kind == "regression" else len(self.labels)

    def split(self, name: str) -> Examples:
        """Return the split `train`, `validation` or `test`.

        Raises:
            UsageError: there is no such split.
        """
        match name:
            case "train":
                return self.train
            case "validation":
                return self.validation
            case "test":
                return self.test
        raise UsageError(
            f"unknown split '{name}'{did_you_mean(name, SPLITS)}",
            expected="one of " + ", ".join(SPLITS),
            fix="name one of these splits",
        )

    def digest(self, *splits: str) -> str:
        """Return the SHA-256 of kind, metric, labels and the digests of some splits.

        The name and notes are not part of it: the same rows under another name are the same task.

        Args:
            splits: split names in any order; without any, all three.

        Raises:
            UsageError: there is no split of that name.
        """
        document = {
            "kind": self.kind,
            "labels": list(self.labels),
            "metric": self.metric,
            "splits": {name: self.split(name).digest() for name in splits or SPLITS},
        }
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    def words(self, *splits: str) -> Described:
        """Return the task in words, for the reasons of misses.

        Args:
            splits: those that an artifact reads; without any, all three. All rows are counted.
        """
        settings = asdict(self.origin or TaskConfig())
        path = Path(settings["path"])
        is_file = bool(settings["path"]) and path.is_file()
        rows = [self.split(name).digest() for name in splits or SPLITS]
        return Described(
            kind="task",
            name=path.name if is_file else self.name,
            is_file=is_file,
            rows=sum(len(self.split(name)) for name in SPLITS),
            facts={"metric": self.metric, "kind": self.kind, "labels": list(self.labels)},
            origin={name: settings[name] for name in READING},
            content=hashlib.sha256("".join(rows).encode("ascii")).hexdigest(),
        )


def _column_bytes(column: Sequence[str] | None) -> tuple[bytes, ...]:
    if column is None:
        return (b"\x00",)
    encoded = [text.encode("utf-8") for text in column]
    lengths = np.fromiter((len(text) for text in encoded), dtype="<u8", count=len(encoded))
    return (b"\x01", len(encoded).to_bytes(8, "little"), lengths.tobytes(), b"".join(encoded))


def _label_bytes(labels: NDArray[np.generic]) -> tuple[bytes, ...]:
    little = labels.astype(labels.dtype.newbyteorder("<"), order="C")
    if little.dtype.kind == "f":
        little = little + 0.0
    axes = bytes([little.ndim]) + np.array(little.shape, dtype="<u8").tobytes()
    return (little.dtype.str.encode("ascii"), axes, little.tobytes())
