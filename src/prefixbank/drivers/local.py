"""Workers as processes of this machine: one on each GPU, or several on the CPU.

A worker is `python -m prefixbank.worker`. It reads a job as a line of JSON and answers with a line;
nothing is pickled. It ends with the command, however that ends, because its standard input is then
closed.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from typing import IO

from prefixbank.config.running import RunConfig
from prefixbank.drivers.driver import DIED, JSON
from prefixbank.env import environment_with, gpu_name

COMMAND = (sys.executable, "-P", "-m", "prefixbank.worker")


class LocalDriver:
    """See `Driver`. A process is started for its first job and kept for later ones."""

    dispatches_single_units, batches_units = False, False

    def __init__(self, run: RunConfig) -> None:
        gpus = _gpus(run)
        self.num_workers = run.workers or max(1, gpus)
        self._threads = run.threads or max(1, (os.cpu_count() or 1) // self.num_workers)
        self._gpus: list[int | None] = [
            number % gpus if gpus else None for number in range(self.num_workers)
        ]
        self._processes: list[_Process | None] = [None] * self.num_workers

    def outcomes(self, jobs: Sequence[JSON]) -> Iterator[tuple[int, JSON]]:
        """See `Driver.outcomes`; jobs are started in their order."""
        waiting = deque(enumerate(jobs))
        busy: dict[int, int] = {}
        while waiting or busy:
            for slot in range(self.num_workers):
                if waiting and slot not in busy:
                    index, job = waiting.popleft()
                    self._process(slot).send({**job, "threads": self._threads})
                    busy[slot] = index
            ready = select.select([self._process(slot).answers for slot in busy], [], [])[0]
            for slot in [slot for slot in busy if self._process(slot).answers in ready]:
                outcome = self._process(slot).receive()
                if DIED in outcome:
                    self._processes[slot] = None
                yield busy.pop(slot), outcome

    def close(self) -> None:
        """See `Driver.close`."""
        for process in self._processes:
            if process is not None:
                process.kill()
        self._processes = [None] * self.num_workers

    def _process(self, slot: int) -> _Process:
        process = self._processes[slot]
        if process is None:
            process = self._processes[slot] = _Process(self._gpus[slot])
        return process


class _Process:
    """One worker."""

    def __init__(self, gpu: int | None) -> None:
        variables = {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu_name(gpu)}
        self._process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env=environment_with(variables),
            start_new_session=True,  # Ctrl-C goes to the command, which then stops its workers
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._jobs: IO[str] = self._process.stdin
        self.answers: IO[str] = self._process.stdout

    def send(self, job: JSON) -> None:
        """Send a job."""
        try:
            self._jobs.write(json.dumps(job) + "\n")
            self._jobs.flush()
        except BrokenPipeError:
            return  # the process is dead; `receive` reports that

    def receive(self) -> JSON:
        """Wait for the outcome of the job, or for the death of the process."""
        answer = self.answers.readline()
        if answer:
            outcome: JSON = json.loads(answer)
            return outcome
        return {DIED: _describe_exit(self.kill())}

    def kill(self) -> int:
        """Kill the process and return its exit code; negative: the signal that ended it."""
        self._process.kill()
        code = self._process.wait()
        for pipe in (self._jobs, self.answers):
            try:
                pipe.close()
            except BrokenPipeError:
                continue  # the process died before reading all of its input
        return code


def _describe_exit(code: int) -> str:
    """Describe how a process ended."""
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _gpus(run: RunConfig) -> int:
    """Return the number of GPUs for workers."""
    if run.device in ("cpu", "mps"):
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0
