"""Artifacts without an encoder, and a prepared store with one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prefixbank.artifacts.json_files import write_json
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON, document
from prefixbank.store.store import Store
from tests.prepared import Prepared, prepare


@pytest.fixture(autouse=True)
def quick_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for the disk: no test here pulls the plug."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(tmp_path_factory.getbasetemp())


@pytest.fixture
def put(store: Store) -> Callable[..., Entry]:
    """Publish an artifact: JSON files by name, or a function that writes files of any kind."""

    def build(
        step: str,
        files: dict[str, Any] | Callable[[Path], None],
        *,
        config: JSON | None = None,
        inputs: JSON | None = None,
        **info: Any,
    ) -> Entry:
        def make(out: Path, work: Path) -> JSON:
            if callable(files):
                files(out)
            else:
                for name, value in files.items():
                    write_json(out / name, value)
            return info

        return store.build(
            document(step=step, version=1, config=config or {}, inputs=inputs or {}), make
        )[0]

    return build
