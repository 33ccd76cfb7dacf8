"""One invocation of a command: what stands beside its settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from prefixbank.config.running import RunConfig
from prefixbank.names import check_utf8
from prefixbank.project import conf_dir, read_project
from prefixbank.runtime.events import Emit, silent

if TYPE_CHECKING:
    from prefixbank.runtime.context import Context
    from prefixbank.runtime.jobs import Job
    from prefixbank.runtime.workers import WorkerPool


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """Where a command runs, who listens, and whether workers help.

    Args:
        store: folder of the store; None: that of the command line.
        conf_dir: a folder of further YAML files.
        defaults: settings by name that come before what is built in.
        dry_run: plan only.
        force: make artifacts again that the store has.
        emit: gets every event.
        texts: texts that stood among the settings, in place of those of standard input.
        open_workers: returns the workers that can make units of the command; None: this process
            makes all of them.
        job: the share of the command that this process makes as a worker; None: all of it.
    """

    store: str | Path | None = None
    conf_dir: Path | None = None
    defaults: Mapping[str, str] = field(default_factory=dict)
    dry_run: bool = False
    force: bool = False
    emit: Emit = silent
    texts: tuple[str, ...] = ()
    open_workers: Callable[[RunConfig], WorkerPool] | None = None
    job: Job | None = None

    def with_defaults(self) -> Invocation:
        """Return the invocation with what variables and the project file of this folder say.

        A worker gets both with its job.
        """
        if self.job is not None:
            return self
        folder, defaults = conf_dir(self.conf_dir), read_project().defaults
        return replace(self, conf_dir=folder, defaults=defaults)

    def context(self, run: RunConfig) -> Context:
        """Return the context that the steps of one command share; close it by `with`."""
        from prefixbank.runtime.context import Context
        from prefixbank.store.store import Store

        if self.job is not None:
            from prefixbank.runtime.worker import worker_context

            return worker_context(self.job, run, self.emit)
        check_utf8("the current folder", str(Path.cwd()))
        workers = None if self.open_workers is None or self.dry_run else self.open_workers(run)
        return Context(
            Store.open(self.store),
            run,
            emit=self.emit,
            dry_run=self.dry_run,
            force=self.force,
            workers=workers,
        )
