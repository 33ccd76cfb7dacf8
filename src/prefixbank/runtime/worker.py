"""What a worker keeps from one job to the next.

Loaded tasks and encoders, and its place in a corpus.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from prefixbank.config.commands import CorpusConfig
from prefixbank.config.running import RunConfig
from prefixbank.data.corpus.corpus import Shards, shards_of
from prefixbank.errors import UsageError
from prefixbank.runtime.context import Context
from prefixbank.runtime.events import Emit
from prefixbank.runtime.jobs import Job
from prefixbank.store.store import Store


def worker_context(job: Job, run: RunConfig, emit: Emit) -> Context:
    """Return the context of a job; jobs of the same command share what is loaded."""
    warm = _context(
        job.store,
        replace(run, threads=job.threads or run.threads),
        job.command,
        job.overrides,
        job.force,
    )
    return warm.restricted_to(job.only, emit)


@lru_cache(maxsize=1)
def _context(
    store: str, run: RunConfig, command: str, overrides: tuple[str, ...], force: bool
) -> Context:
    return Context(Store(Path(store)), run, force=force)


@lru_cache(maxsize=1)
def worker_shards(config: CorpusConfig, folder: str) -> Shards:
    """Return what reads shards of a corpus, for a job in a folder, where the last job left it."""
    return shards_of(config)


@contextlib.contextmanager
def working_folder(job: Job) -> Iterator[None]:
    """Work in the folder that the command was given in, so that relative paths lead where they did.

    Raises:
        UsageError: this machine has no such folder.
    """
    if not Path(job.folder).is_dir():
        raise UsageError(
            f"a worker's machine has no folder {job.folder}",
            expected="the folder that the command is run in, under the same path on every machine",
            fix="run it in a folder on a file system that all machines share",
        )
    with contextlib.chdir(job.folder):
        yield
