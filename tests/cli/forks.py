"""Commands in processes of their own, forked from one that has imported torch already.

Each takes moments instead of seconds.

A way tells what befalls the command: it may be killed or interrupted at a certain point, or wait
there until a file appears.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

FORKS = multiprocessing.get_context("forkserver")
PRELOADED = [
    "prefixbank.api",
    "prefixbank.cli.app",
    "prefixbank.data.encoders.encoder",
    "prefixbank.steps.train_prefix.make",
    "prefixbank.steps.embed.rows",
    "transformers.models.bert.modeling_bert",
]
CHECKPOINT = 7
"""At which checkpoint a training is ended."""
CHANGES = 70
"""Among how many changes to the store the one is before which a command is killed."""
PART = 1
"""In which shard of a corpus an embedding is ended."""
LIMIT_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Child:
    """A command in a process of its own; its output is in files."""

    process: BaseProcess
    folder: Path

    @property
    def err(self) -> str:
        """What it has said so far."""
        return (
            (self.folder / "err").read_text(encoding="utf-8")
            if (self.folder / "err").exists()
            else ""
        )

    @property
    def out(self) -> str:
        """What it has put on stdout so far."""
        return (self.folder / "out").read_text(encoding="utf-8")

    def end(self) -> int:
        """Wait for its end and return the exit code; negative: the signal that ended it."""
        self.process.join(LIMIT_S)
        assert self.process.exitcode is not None, f"it did not end: {self.err}"
        return self.process.exitcode

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so, while it runs."""
        limit = time.monotonic() + LIMIT_S
        while not condition():
            assert time.monotonic() < limit and self.process.is_alive(), self.err
            time.sleep(0.01)


def start(folder: Path, store: Path, way: str, *args: str) -> Child:
    """Start a command with a store and a folder for its output, in one of the `WAYS`."""
    folder.mkdir()
    FORKS.set_forkserver_preload(PRELOADED)
    process = FORKS.Process(target=run_command, args=(folder, store, way, args), daemon=True)
    process.start()
    return Child(process=process, folder=folder)


def run_command(folder: Path, store: Path, way: str, args: tuple[str, ...]) -> None:
    """In the new process: run the command and end with its exit code."""
    from prefixbank.cli.app import app

    os.environ["PREFIXBANK_STORE"] = str(store)
    os.fsync = lambda descriptor: None
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdout, sys.stderr = (
        (folder / name).open("w", encoding="utf-8", buffering=1) for name in ("out", "err")
    )
    WAYS[way](folder)
    app(list(args))


def to_its_end(folder: Path) -> None:
    """Let the command run."""


def interrupted_in_training(folder: Path) -> None:
    """Press Ctrl-C after a checkpoint."""
    after_checkpoint(CHECKPOINT, signal.SIGINT)


def killed_in_training(folder: Path) -> None:
    """Kill it after a checkpoint."""
    after_checkpoint(CHECKPOINT, signal.SIGKILL)


def killed_in_a_checkpoint(folder: Path) -> None:
    """Kill it when a checkpoint is written and not yet in place."""
    before_rename("training.new", CHECKPOINT)


def killed_in_publishing(folder: Path) -> None:
    """Kill it when the artifact is complete and not yet in place."""
    rename = Path.rename

    def die_or_rename(path: Path, target: Path) -> Path:
        if path.name.endswith(".out"):
            os.kill(os.getpid(), signal.SIGKILL)
        return rename(path, target)

    Path.rename = die_or_rename  # type: ignore[method-assign]  # in a process that is about to end


def killed_in_embedding(folder: Path) -> None:
    """Kill it when the second shard is written and not yet in place."""
    before_rename(f"part-{PART:05d}.new", 1)


def killed_at_random(folder: Path) -> None:
    """Kill it before one of its first changes to the store, which one follows from the folder's
    name.
    """
    left = random.Random(folder.name).randint(1, CHANGES)

    def count(event: str, arguments: object) -> None:
        nonlocal left
        if event in ("os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir"):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def waiting_in_training(folder: Path) -> None:
    """Say `started` after the first checkpoint, and wait for `go`."""
    from prefixbank.runtime.checkpoint import FolderCheckpoint

    save = FolderCheckpoint.save

    def save_and_wait(self: FolderCheckpoint, state: Any) -> None:
        save(self, state)
        (folder / "started").touch()
        while not (folder / "go").exists():
            time.sleep(0.01)

    # In a process that is about to end.
    FolderCheckpoint.save = save_and_wait  # type: ignore[method-assign]


def after_checkpoint(number: int, ending: signal.Signals) -> None:
    """Send a signal when the checkpoint of this number is in place."""
    from prefixbank.runtime.checkpoint import FolderCheckpoint

    save, saved = FolderCheckpoint.save, iter(range(1, 1000))

    def save_and_end(self: FolderCheckpoint, state: Any) -> None:
        save(self, state)
        if next(saved) == number:
            os.kill(os.getpid(), ending)

    # In a process that is about to end.
    FolderCheckpoint.save = save_and_end  # type: ignore[method-assign]


def before_rename(name: str, number: int) -> None:
    """Kill it before a file of this name is put in place for the given time."""
    replace, seen = Path.replace, iter(range(1, 1000))

    def die_or_replace(path: Path, target: Path) -> Path:
        if path.name == name and next(seen) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(path, target)

    # In a process that is about to end.
    Path.replace = die_or_replace  # type: ignore[method-assign]


WAYS: dict[str, Callable[[Path], None]] = {
    way.__name__: way
    for way in (
        to_its_end,
        interrupted_in_training,
        killed_at_random,
        killed_in_a_checkpoint,
        killed_in_embedding,
        killed_in_publishing,
        killed_in_training,
        waiting_in_training,
    )
}
