"""How the rows of a file are written: by its ending, unless settings say otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from prefixbank.choices import RowsFormat
from prefixbank.config.schema import FileSettings
from prefixbank.errors import DataError, UsageError

ENDINGS: Mapping[str, RowsFormat] = MappingProxyType(
    {
        ".parquet": "parquet",
        ".csv": "csv",
        ".tsv": "tsv",
        ".jsonl": "jsonl",
        ".ndjson": "jsonl",
        ".json": "json",
    }
)
"""Endings of files with columns; also the order in which a name without ending is tried."""

LINES: Mapping[str, RowsFormat] = MappingProxyType({".txt": "txt"})
PACKED = ".gz"


@dataclass(frozen=True, kw_only=True)
class FileFormat:
    """How the rows of one file are written.

    Args:
        rows: its format.
        separator: between the fields of CSV and TSV.
        quoted: whether fields of these may be in double quotes, as in RFC 4180.
        packed: whether gzip packs it.
        group: the group of settings that change this, `task` or `corpus`.
    """

    rows: RowsFormat
    separator: str
    quoted: bool
    packed: bool
    group: str

    @property
    def has_columns(self) -> bool:
        """Whether rows have named columns; else each is one text."""
        return self.rows != "txt"


def format_of(path: Path, settings: FileSettings, group: str, *, lines: bool = False) -> FileFormat:
    """Return how an existing file is written.

    Args:
        path: the file.
        settings: what the user says of it.
        group: the group that these settings belong to.
        lines: whether a file of lines, each a text, can be used.

    Raises:
        DataError: the ending does not tell the format, and no setting does.
        UsageError: settings that do not fit the format.
    """
    endings = {**(LINES if lines else {}), **ENDINGS}
    packed = path.suffix.lower() == PACKED
    inner = path.with_suffix("").suffix.lower() if packed else path.suffix.lower()
    rows = endings.get(inner) if settings.format == "by_ending" else settings.format
    if rows is None or (rows == "txt" and not lines) or (rows == "parquet" and packed):
        raise _unknown(path, endings, group)
    for name, value, default in (
        ("separator", settings.separator, ""),
        ("quoting", settings.quoting, "by_format"),
    ):
        if value != default and rows not in ("csv", "tsv"):
            raise UsageError(
                f"{group}.{name}={value} with '{path}', which is read as {rows}",
                expected="a separator and quotes for CSV and TSV only",
                fix=f"leave {group}.{name} out    or {group}.format=csv",
            )
    if len(settings.separator) > 1 or settings.separator in ('"', "\n", "\r"):
        raise UsageError(
            f"{group}.separator={settings.separator!r}",
            expected="one character, neither a quotation mark nor the end of a line",
            fix=f"{group}.separator=';'",
        )
    by_format = rows == "csv"
    return FileFormat(
        rows=rows,
        separator=settings.separator or ("\t" if rows == "tsv" else ","),
        quoted=by_format if settings.quoting == "by_format" else settings.quoting == "double",
        packed=packed,
        group=group,
    )


def stem_of(path: str) -> str:
    """Return the name of a file without the endings that tell its format."""
    file = Path(path)
    packed = file.suffix.lower() == PACKED
    return (file.with_suffix("") if packed else file).stem


def names_to_try(name: str) -> list[str]:
    """Return the file names that a name without a known ending may stand for."""
    known = Path(name.removesuffix(PACKED)).suffix.lower() in ENDINGS
    endings = [ending + packed for packed in ("", PACKED) for ending in ENDINGS]
    return [name] if known else [name + ending for ending in endings]


def listed(endings: Iterable[str] = ENDINGS) -> str:
    """Return endings in words."""
    return f"{', '.join(endings)}, or such a file packed as {PACKED}"


def _unknown(path: Path, endings: Iterable[str], group: str) -> DataError:
    """Return the error for an existing file whose format is not known."""
    match path.suffix.lower():
        case ".gz":
            fix = f"gunzip -k '{path}'    and name the file that was in it"
        case ".bz2" | ".xz" | ".zip" | ".zst":
            fix = "unpack it, and name the file that was in it"
        case ".xlsx" | ".xls" | ".ods":
            fix = f"save the sheet as CSV in UTF-8: '{path.with_suffix('.csv').name}'"
        case _:
            guess = "txt" if ".txt" in endings else "csv"
            fix = f"{group}.format={guess}    or the format that it has"
    return DataError(
        f"'{path}' has an ending that does not tell its format",
        expected=f"a file that ends in {listed(endings)}",
        fix=fix,
    )
