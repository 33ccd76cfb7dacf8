"""Workers that are tasks of a Slurm job array, through submitit.

submitit writes each job into the log folder and its outcome beside it, and reads them back. Jobs
and outcomes are plain JSON values; results go into the store, as always.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from prefixbank.config.running import RunConfig
from prefixbank.drivers.driver import DIED, JSON, Work
from prefixbank.errors import DeviceError, UsageError

POLL_S = {"slurm": 5.0, "local": 0.2}

MAX_TASKS = 1000
"""Tasks of one array; Slurm's own limit is 1,001 unless the cluster has another one."""


class SlurmDriver:
    """See `Driver`.

    Every call submits one array; Slurm starts at most `run.workers` of its tasks at a time.
    """

    dispatches_single_units, batches_units = True, True

    def __init__(self, run: RunConfig, work: Work) -> None:
        self._submitit = _submitit()
        self._asked, self._work = run.slurm, work
        here = self._asked.cluster == "local"
        self.num_workers = run.workers or (os.cpu_count() or 1 if here else MAX_TASKS)
        self._threads = run.threads or (
            max(1, (os.cpu_count() or 1) // self.num_workers) if here else self._asked.cpus
        )
        if not here and shutil.which("sbatch") is None:
            raise DeviceError(
                "run.driver=slurm, but this machine has no sbatch",
                expected="a machine that can submit jobs to Slurm",
                fix=(
                    "run it on the cluster's login node    "
                    "or try it out here: run.slurm.cluster=local"
                ),
            )
        self._executor = self._submitit.AutoExecutor(
            folder=Path(self._asked.folder).absolute(), cluster=self._asked.cluster
        )
        self._executor.update_parameters(**self._parameters())
        self._running: dict[int, Any] = {}

    def outcomes(self, jobs: Sequence[JSON]) -> Iterator[tuple[int, JSON]]:
        """See `Driver.outcomes`."""
        refused = (
            self._submitit.core.utils.FailedJobError,
            self._submitit.core.utils.FailedSubmissionError,
        )
        try:
            with self._executor.batch():
                submitted = [
                    self._executor.submit(self._work, {**job, "threads": self._threads})
                    for job in jobs
                ]
        except refused as error:
            raise DeviceError(
                f"Slurm took no job: {_last_line(error)}",
                expected="settings that this cluster accepts",
                fix="run.slurm.partition=NAME and the other run.slurm settings    (see: sinfo)",
            ) from error
        self._running = dict(enumerate(submitted))
        while self._running:
            for number in [number for number, job in self._running.items() if job.done()]:
                yield number, self._outcome(self._running.pop(number))
            time.sleep(POLL_S[self._asked.cluster])

    def close(self) -> None:
        """See `Driver.close`."""
        for job in self._running.values():
            job.cancel(check=False)
        self._running = {}

    def _outcome(self, job: Any) -> JSON:
        """Return what a finished job came to.

        One that ended without a result was killed, timed out, or never ran.
        """
        try:
            outcome: JSON = job.result()
        except self._submitit.core.utils.UncompletedJobError as error:
            return {
                DIED: (
                    f"job {job.job_id} {job.state.lower()}, its log is in {self._asked.folder}: "
                    f"{_last_line(error)}"
                )
            }
        return outcome

    def _parameters(self) -> JSON:
        asked = self._asked
        shared: JSON = {
            "name": "prefixbank",
            "timeout_min": asked.minutes,
            "cpus_per_task": asked.cpus,
            "gpus_per_node": asked.gpus,
            "slurm_array_parallelism": self.num_workers,
        }
        if asked.memory_gb:
            shared["mem_gb"] = asked.memory_gb
        if asked.partition:
            shared["slurm_partition"] = asked.partition
        return shared


def _submitit() -> Any:
    try:
        import submitit
    except ImportError:
        raise UsageError(
            "run.driver=slurm needs the package submitit, which is not installed",
            expected="prefixbank with its extra 'slurm'",
            fix="pip install 'prefixbank[slurm]'    or run.driver=local",
        ) from None
    return submitit


def _last_line(error: Exception) -> str:
    return next(
        (line.strip() for line in reversed(str(error).splitlines()) if line.strip(" -")),
        "no output",
    )
