"""A command line with a prepared store, and data for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.command import CommandLine
from tests.prepared import Prepared, copy_store, prepare


@pytest.fixture(autouse=True)
def quick_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for the disk: no test here pulls the plug."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(tmp_path_factory.getbasetemp())


@pytest.fixture
def cli(prepared: Prepared, user_store: Path) -> CommandLine:
    """The command line; its default store is a copy of the prepared one."""
    return CommandLine(store=copy_store(prepared.store, user_store), tasks=prepared.tasks)


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """Three texts, one in each line."""
    path = tmp_path / "lines.txt"
    path.write_text("the food was good\na bad and noisy place\nwarm\n", encoding="utf-8")
    return path
