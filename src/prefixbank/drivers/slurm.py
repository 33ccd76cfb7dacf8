"""Workers as tasks of a Slurm job array, through submitit.

submitit pickles each job and its outcome into the log folder. Both are plain JSON values; artifacts
go into the store, as always.
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
"""Tasks of one array. Slurm's default limit is 1,001."""


class SlurmDriver:
    """See `Driver`.

    Every call submits one array, of which at most `run.workers` tasks run at a time.
    """

    dispatches_single_units, batches_units = True, True

    def __init__(self, run: RunConfig, work: Work) -> None:
        self._submitit = _submitit()
        self._config, self._work = run.slurm, work
        is_local = self._config.cluster == "local"
        self.num_workers = run.workers or (os.cpu_count() or 1 if is_local else MAX_TASKS)
        self._threads = run.threads or (
            max(1, (os.cpu_count() or 1) // self.num_workers) if is_local else self._config.cpus
        )
        if not is_local and shutil.which("sbatch") is None:
            raise DeviceError(
                "run.driver=slurm, but this machine has no sbatch",
                expected="a machine from which jobs can be submitted to Slurm",
                fix=(
                    "run it on the cluster's login node    "
                    "or try it out here: run.slurm.cluster=local"
                ),
            )
        self._executor = self._submitit.AutoExecutor(
            folder=Path(self._config.folder).expanduser().absolute(), cluster=self._config.cluster
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
                f"Slurm refused the jobs: {_last_line(error)}",
                expected="settings that this cluster accepts",
                fix="run.slurm.partition=NAME and the other run.slurm settings    (see: sinfo)",
            ) from error
        self._running = dict(enumerate(submitted))
        while self._running:
            for index in [index for index, job in self._running.items() if job.done()]:
                yield index, self._outcome(self._running.pop(index))
            time.sleep(POLL_S[self._config.cluster])

    def close(self) -> None:
        """See `Driver.close`."""
        for job in self._running.values():
            job.cancel(check=False)
        self._running = {}

    def _outcome(self, job: Any) -> JSON:
        """Return the outcome of a finished job.

        A job without a result was killed, timed out, or never ran.
        """
        try:
            outcome: JSON = job.result()
        except self._submitit.core.utils.UncompletedJobError as error:
            return {
                DIED: (
                    f"job {job.job_id} {job.state.lower()}, its log is in {self._config.folder}: "
                    f"{_last_line(error)}"
                )
            }
        return outcome

    def _parameters(self) -> JSON:
        config = self._config
        parameters: JSON = {
            "name": "prefixbank",
            "timeout_min": config.minutes,
            "cpus_per_task": config.cpus,
            "gpus_per_node": config.gpus,
            "slurm_array_parallelism": self.num_workers,
        }
        if config.memory_gb:
            parameters["mem_gb"] = config.memory_gb
        if config.partition:
            parameters["slurm_partition"] = config.partition
        return parameters


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
