"""Tasks that train in a moment, and a store that holds what many tests begin with."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet

ROWS = {"train": 40, "validation": 12, "test": 20}
GOOD = (
    "the food was good",
    "what a good room",
    "good staff and a warm bath",
    "a good and quiet place",
)
BAD = ("the food was bad", "what a bad room", "rude staff and a cold bath", "a bad and noisy place")
SMALL = (
    "encoder=tiny",
    "prefix.length=2",
    "optim.epochs=1",
    "optim.batch_size=20",
    "optim.lr=0.03",
)
"""Settings with which a prefix is trained in two steps."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Folders that no test changes: `tasks` alpha, beta, gamma and omega.

    `store` with the prefixes alpha and beta, the bank demo.
    """

    tasks: Path
    store: Path


def rows_of(name: str, split: str) -> dict[str, list[str] | list[int]]:
    """Rows of two labels in turn, no text twice."""
    texts = [
        f"{(BAD, GOOD)[row % 2][row // 2 % 4]} {name} {split} {row}" for row in range(ROWS[split])
    ]
    return {"text": texts, "label": [row % 2 for row in range(ROWS[split])]}


def write_task(folder: Path, name: str | None = None) -> Path:
    """Write a task folder with 40, 12 and 20 rows.

    Tasks of different names hold different texts.
    """
    folder.mkdir(parents=True)
    for split in ROWS:
        parquet.write_table(
            pa.table(rows_of(name or folder.name, split)), folder / f"{split}.parquet"
        )
    header = {"kind": "classification", "labels": ["no", "yes"], "metric": "accuracy"}
    (folder / "task.json").write_text(json.dumps(header), encoding="utf-8")
    return folder


@cache
def prepare(folder: Path) -> Prepared:
    """Write the tasks and fill the store below a folder, once for all tests of a process."""
    from prefixbank.commands.invocation import Invocation
    from tests.commands import call

    root = folder / "prepared"
    options = Invocation(store=root / "store")
    for name in ("alpha", "beta", "gamma", "omega"):
        write_task(root / "tasks" / name)
    for name in ("alpha", "beta"):
        call(
            "train-prefix",
            "task=folder",
            f"task.path={root / 'tasks' / name}",
            *SMALL,
            invocation=options,
        )
    call("combine", "prefixes=[alpha,beta]", "name=demo", invocation=options)
    return Prepared(tasks=root / "tasks", store=root / "store")


def copy_store(source: Path, target: Path) -> Path:
    """Copy a store; the tiny encoder, the only large thing in it, is linked, since no test changes
    it.
    """
    shutil.copytree(source, target, copy_function=_link_or_copy)
    return target


def _link_or_copy(source: str, target: str) -> None:
    if Path(source).parent.parent.name == "tiny_encoder":
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def contents(store: Path) -> dict[str, str]:
    """Hash of every file of the entries and refs, by path; what is half made lies elsewhere."""
    files = (
        path
        for folder in ("entries", "refs")
        for path in (store / folder).rglob("*")
        if path.is_file()
    )
    return {
        path.relative_to(store).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def half_made(store: Path) -> list[str]:
    """What a maker left behind that is not a checkpoint."""
    return [path.name for path in (store / "tmp").glob("*") if not path.name.endswith(".work")]
