"""A store in a temporary folder, and short ways to fill and age it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import prefixbank
from prefixbank.store.artifact import Entry
from prefixbank.store.key import document
from prefixbank.store.store import Store

NOW = datetime.now(UTC) + timedelta(days=1)
SCRIPT = Path(__file__).parent / "making_process.py"


@pytest.fixture
def now() -> datetime:
    """A fixed time, a day ahead of the clock; `age` counts back from it."""
    return NOW


@pytest.fixture(autouse=True)
def quick_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for the disk: no test here pulls the plug."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def workdir(store: Store) -> Callable[[str], Path]:
    """The folder where a maker of this key keeps checkpoints."""
    return lambda key: store.root / "tmp" / f"{key}.work"


@pytest.fixture
def doc() -> Callable[..., dict[str, Any]]:
    """A small document; `lr` and the inputs vary."""

    def make(
        step: str = "train_prefix", *, lr: float = 0.01, version: int = 1, **inputs: Any
    ) -> dict[str, Any]:
        return document(step=step, version=version, config={"optim": {"lr": lr}}, inputs=inputs)

    return make


@pytest.fixture
def put(store: Store) -> Callable[..., Entry]:
    """Publish an entry that holds the given files."""

    def build(
        document: dict[str, Any],
        files: dict[str, bytes] | None = None,
        *,
        force: bool = False,
        **info: Any,
    ) -> Entry:
        def make(out: Path, work: Path) -> dict[str, Any]:
            for name, data in ({"prefix.bin": b"0123456789"} if files is None else files).items():
                (out / name).parent.mkdir(parents=True, exist_ok=True)
                (out / name).write_bytes(data)
            return info

        return store.build(document, make, force=force)[0]

    return build


@pytest.fixture
def age() -> Callable[[Path, float], None]:
    """Let everything in a tree be last changed some days before `now`."""

    def set_times(path: Path, days: float) -> None:
        time_s = NOW.timestamp() - days * 86_400
        for item in [*path.rglob("*"), path]:
            os.utime(item, (time_s, time_s), follow_symlinks=False)

    return set_times


@pytest.fixture
def start(store: Store) -> Callable[..., subprocess.Popen[str]]:
    """Start another process that builds in the store in one of the ways of making_process.py."""

    def run(way: str, *, text: str = "made") -> subprocess.Popen[str]:
        source = str(Path(prefixbank.__file__).parents[1])
        command = [sys.executable, str(SCRIPT), str(store.root), way, text]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": source}
        )

    return run
