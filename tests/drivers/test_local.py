"""Workers that are processes of this machine; for the first tests one that is quickly started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from prefixbank import worker
from prefixbank.config.running import RunConfig
from prefixbank.drivers import local
from prefixbank.drivers.local import LocalDriver
from prefixbank.errors import PrefixbankError
from prefixbank.runtime.jobs import Job, error_in, failure

QUICK = """
import json, os, signal, sys, time
for line in sys.stdin:
    job = json.loads(line)
    if job.get("kill"):
        os.kill(os.getpid(), signal.SIGKILL)
    if job.get("exit"):
        sys.exit(job["exit"])
    time.sleep(job.get("sleep", 0))
    gpu = os.environ.get("CUDA_VISIBLE_DEVICES")
    answer = {"n": job["n"], "pid": os.getpid(), "gpu": gpu, "threads": job["threads"]}
    print(json.dumps(answer), flush=True)
"""
COMMAND = local.COMMAND
LIMIT_S = 100.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "COMMAND", (sys.executable, "-c", QUICK))


@pytest.fixture
def driver() -> Iterator[LocalDriver]:
    made = LocalDriver(RunConfig(device="cpu", workers=2))
    yield made
    made.close()


def wait_until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether a process runs.

    One that has ended and that nobody has asked for its exit code does not.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").split(") ")[1][0] != "Z"
    except FileNotFoundError:
        return False


def test_workers_are_the_module_that_there_is():
    assert COMMAND[-2:] == ("-m", worker.__name__)


def test_every_job_has_its_outcome(driver):
    outcomes = dict(driver.outcomes([{"n": number} for number in range(7)]))
    assert {place: outcome["n"] for place, outcome in outcomes.items()} == {
        number: number for number in range(7)
    }


def test_so_many_processes_as_workers_do_the_jobs(driver):
    outcomes = dict(driver.outcomes([{"n": number, "sleep": 0.2} for number in range(6)]))
    pids = {outcome["pid"] for outcome in outcomes.values()}
    assert len(pids) == 2 and os.getpid() not in pids


def test_processes_are_kept_for_the_next_jobs(driver):
    first, second = (
        {outcome["pid"] for _, outcome in driver.outcomes([{"n": 0, "sleep": 0.2}] * 2)}
        for _ in range(2)
    )
    assert first == second


@pytest.mark.parametrize(
    ("way", "how"), [({"kill": True}, "killed by SIGKILL"), ({"exit": 3}, "ended with exit code 3")]
)
def test_worker_that_dies_costs_its_job_only(driver, way, how):
    outcomes = dict(driver.outcomes([{"n": 0}, {"n": 1, **way}, {"n": 2}, {"n": 3}]))
    assert outcomes.pop(1) == {"died": how}
    assert {place: outcome["n"] for place, outcome in outcomes.items()} == {0: 0, 2: 2, 3: 3}


def test_close_ends_workers_in_the_middle_of_a_job(driver):
    outcomes = driver.outcomes([{"n": 0}, {"n": 1, "sleep": 600}])
    next(outcomes)
    busy = next(
        process
        for process in driver._processes
        if process is not None and process._process.poll() is None
    )
    pids = [process._process.pid for process in driver._processes if process is not None]
    driver.close()
    assert busy._process.returncode == -signal.SIGKILL and not any(map(is_alive, pids))


def test_cores_are_shared_out(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    driver = LocalDriver(RunConfig(device="cpu", workers=4))
    threads = {outcome["threads"] for _, outcome in driver.outcomes([{"n": 0}])}
    driver.close()
    assert threads == {3}


def test_threads_asked_for_are_each_workers(driver):
    driver = LocalDriver(RunConfig(device="cpu", workers=2, threads=5))
    threads = {outcome["threads"] for _, outcome in driver.outcomes([{"n": 0}])}
    driver.close()
    assert threads == {5}


@pytest.mark.parametrize(
    ("run", "gpus", "width"),
    [
        (RunConfig(), 0, 1),
        (RunConfig(), 4, 4),
        (RunConfig(device="cpu"), 4, 1),
        (RunConfig(workers=3), 0, 3),
        (RunConfig(workers=3), 2, 3),
    ],
)
def test_there_is_a_worker_for_each_gpu_unless_another_number_is_asked_for(
    monkeypatch, run, gpus, width
):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert LocalDriver(run).num_workers == width


def test_workers_see_one_gpu_each_of_those_that_the_command_sees(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, 7")
    driver = LocalDriver(RunConfig(workers=4))
    seen = sorted(
        outcome["gpu"]
        for _, outcome in driver.outcomes([{"n": number, "sleep": 0.5} for number in range(4)])
    )
    driver.close()
    assert seen == ["5", "5", "7", "7"]


STUB = """
import pathlib, subprocess, sys, time
from prefixbank import worker
from prefixbank.commands import run

def work(job):
    print("a library says something")
    subprocess.run(["echo", "and so does a program"])
    pathlib.Path(job["mark"]).touch()
    time.sleep(job["sleep"])
    return {"n": 1}

run.work = work
worker.main()
"""


def python(*args: str) -> subprocess.Popen[str]:
    """Start Python with pipes to talk to it."""
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, *args], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
    )


def test_worker_ends_in_the_middle_of_a_job_when_its_command_is_gone(tmp_path):
    with python("-c", STUB) as process:
        process.stdin.write(json.dumps({"mark": str(tmp_path / "begun"), "sleep": 600}) + "\n")
        process.stdin.flush()
        wait_until((tmp_path / "begun").exists)
        process.stdin.close()
        assert (process.wait(LIMIT_S), process.stdout.read()) == (0, "")


def test_what_is_printed_in_a_worker_is_no_answer(tmp_path):
    with python("-c", STUB) as process:
        process.stdin.write(json.dumps({"mark": str(tmp_path / "begun"), "sleep": 0}) + "\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline()) == {"n": 1}
        process.stdin.close()


def ask_worker(*jobs: dict) -> list[dict]:
    """Give jobs to a worker as it is, and return its answers."""
    lines = "".join(json.dumps(job) + "\n" for job in jobs)
    with python("-P", "-m", "prefixbank.worker") as process:
        process.stdin.write(lines)
        process.stdin.flush()
        answers = [json.loads(process.stdout.readline()) for _ in jobs]
        process.stdin.close()
        return answers


def test_worker_answers_errors_and_goes_on(tmp_path):
    job = Job(
        command="embed",
        overrides=("bank=nosuch", "corpus.path=x.txt"),
        store=str(tmp_path / "store"),
        folder=str(tmp_path),
    )
    workers = Job(
        command="embed",
        overrides=(),
        store=str(tmp_path / "store"),
        folder=str(tmp_path / "nosuch"),
    )
    errors = [error_in(answer) for answer in ask_worker(job.to_json(), workers.to_json())]
    assert [error.what for error in errors if error is not None] == [
        f"no bank or key 'nosuch' in the store at {tmp_path / 'store'}",
        f"a worker's machine has no folder {tmp_path / 'nosuch'}",
    ]


def test_error_as_an_outcome_is_the_same_error():
    error = error_in(failure(PrefixbankError("a", expected="b", fix="c")))
    assert (type(error), str(error)) == (PrefixbankError, "error: a\nexpected: b\nfix: c")
