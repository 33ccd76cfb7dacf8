"""What a worker keeps between jobs: loaded tasks and encoders, and its position in a corpus."""

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
    """Return the context of a job. Jobs of the same command share what is loaded."""
    context = _context(
        job.store,
        job.read_stores,
        replace(run, threads=job.threads or run.threads),
        job.command,
        job.overrides,
        job.force,
    )
    return context.restricted_to(job.only, emit)


@lru_cache(maxsize=1)
def _context(
    store: str,
    read: tuple[str, ...],
    run: RunConfig,
    command: str,
    overrides: tuple[str, ...],
    force: bool,
) -> Context:
    return Context(Store(Path(store), map(Path, read)), run, force=force)


@lru_cache(maxsize=1)
def worker_shards(config: CorpusConfig, folder: str) -> Shards:
    """Return the reader of a corpus's shards, where the last job in the same folder left it."""
    return shards_of(config)


@contextlib.contextmanager
def working_folder(job: Job) -> Iterator[None]:
    """Change to the folder that the command was run in, so that relative paths mean the same.

    Raises:
        UsageError: this machine has no such folder.
    """
    if not Path(job.folder).is_dir():
        raise UsageError(
            f"a worker's machine has no folder {job.folder}",
            expected="the command's working folder, under the same path on every machine",
            fix="run the command in a folder on a file system that all machines share",
        )
    with contextlib.chdir(job.folder):
        yield
