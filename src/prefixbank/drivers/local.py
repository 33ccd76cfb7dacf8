"""Workers that are processes of this machine: one on each GPU, or several on its cores.

A worker is `python -m prefixbank.worker`. It gets a job as a line of JSON and
answers with a line; nothing is pickled. It ends when the command does, however that ends, because
its standard input is then closed.
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
    """See `Driver`. A process is started when there is a job for it, and kept for the next ones."""

    dispatches_single_units, batches_units = False, False

    def __init__(self, run: RunConfig) -> None:
        gpus = _gpus(run)
        self.num_workers = run.workers or max(1, gpus)
        self._threads = run.threads or max(1, (os.cpu_count() or 1) // self.num_workers)
        self._places: list[int | None] = [
            number % gpus if gpus else None for number in range(self.num_workers)
        ]
        self._processes: list[_Process | None] = [None] * self.num_workers

    def outcomes(self, jobs: Sequence[JSON]) -> Iterator[tuple[int, JSON]]:
        """See `Driver.outcomes`; jobs are begun in their order."""
        waiting = deque(enumerate(jobs))
        busy: dict[int, int] = {}
        while waiting or busy:
            for place in range(self.num_workers):
                if waiting and place not in busy:
                    number, job = waiting.popleft()
                    self._process(place).begin({**job, "threads": self._threads})
                    busy[place] = number
            ready = select.select([self._process(place).answers for place in busy], [], [])[0]
            for place in [place for place in busy if self._process(place).answers in ready]:
                outcome = self._process(place).end()
                if DIED in outcome:
                    self._processes[place] = None
                yield busy.pop(place), outcome

    def close(self) -> None:
        """See `Driver.close`."""
        for process in self._processes:
            if process is not None:
                process.kill()
        self._processes = [None] * self.num_workers

    def _process(self, place: int) -> _Process:
        process = self._processes[place]
        if process is None:
            process = self._processes[place] = _Process(self._places[place])
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
            start_new_session=True,  # Ctrl-C is for the command, which then ends its workers
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._jobs: IO[str] = self._process.stdin
        self.answers: IO[str] = self._process.stdout

    def begin(self, job: JSON) -> None:
        """Hand over a job."""
        try:
            self._jobs.write(json.dumps(job) + "\n")
            self._jobs.flush()
        except BrokenPipeError:
            return  # it is dead, which `end` finds

    def end(self) -> JSON:
        """Return the outcome of the job, once there is one or the process is dead."""
        answer = self.answers.readline()
        if answer:
            outcome: JSON = json.loads(answer)
            return outcome
        return {DIED: _how(self.kill())}

    def kill(self) -> int:
        """End the process and return its exit code; negative: the signal that ended it."""
        self._process.kill()
        code = self._process.wait()
        for pipe in (self._jobs, self.answers):
            try:
                pipe.close()
            except BrokenPipeError:
                continue  # what it had not read is lost with it
        return code


def _how(code: int) -> str:
    """Return in words how a process ended."""
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _gpus(run: RunConfig) -> int:
    """Return the number of GPUs to spread workers over."""
    if run.device in ("cpu", "mps"):
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0
