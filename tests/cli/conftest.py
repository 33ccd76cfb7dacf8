"""A command line with a prepared store, and data for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command import CommandLine

# pytest finds fixtures by name.
from tests.fixtures import (  # noqa: F401
    encoders_loaded_once,
    merge_once,
    prepared,
    quick_flush,
    shared_encoders,
    shared_settings,
)
from tests.prepared import Prepared, copy_store


@pytest.fixture
def cli(prepared: Prepared, user_store: Path) -> CommandLine:  # noqa: F811
    """The command line; its default store is a copy of the prepared one."""
    return CommandLine(store=copy_store(prepared.store, user_store), tasks=prepared.tasks)


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """Three texts, one in each line."""
    path = tmp_path / "lines.txt"
    path.write_text("the food was good\na bad and noisy place\nwarm\n", encoding="utf-8")
    return path
