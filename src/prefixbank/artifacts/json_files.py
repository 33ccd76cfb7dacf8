"""JSON files of artifacts. Apart from tensors, so that a run of hits never imports torch."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefixbank.store.artifact import Entry


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys: equal values give equal bytes."""
    path.write_text(
        json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n",
        encoding="utf-8",
    )


def write_json_lines(path: Path, values: Sequence[Any]) -> None:
    """Write one line of JSON for each value, with sorted keys."""
    path.write_text(
        "\n".join(json.dumps(value, sort_keys=True) for value in values) + "\n", encoding="utf-8"
    )


def number_or_none(value: float) -> float | None:
    """Return a number for JSON; None for NaN."""
    return None if math.isnan(value) else float(value)


def read_json(entry: Entry, name: str) -> Any:
    """Read a JSON file of an artifact, checked against its digest."""
    return json.loads(entry.file(name).read_text(encoding="utf-8"))
