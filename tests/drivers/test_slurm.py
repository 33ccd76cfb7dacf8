"""Slurm's job arrays through submitit.

With processes of this machine in Slurm's place, and as far as the script that Slurm is given.
"""

from __future__ import annotations

import builtins
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import submitit.core.core

from prefixbank.config.running import RunConfig, SlurmConfig
from prefixbank.drivers.slurm import MAX_TASKS, SlurmDriver
from prefixbank.errors import DeviceError, UsageError
from tests.drivers.work import work


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let workers find the tests' own function."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[SlurmDriver]:
    made = SlurmDriver(
        RunConfig(workers=2, slurm=SlurmConfig(cluster="local", folder=str(tmp_path / "jobs"))),
        work,
    )
    yield made
    made.close()


def test_jobs_are_done_by_processes_and_one_that_is_killed_is_told_apart(
    driver, tmp_path, monkeypatch
):
    # On a shared file system a result may come later than the end of its job; here it does not.
    monkeypatch.setattr(submitit.core.core.Job, "_results_timeout_s", 0.5)
    outcomes = dict(driver.outcomes([{"n": 0}, {"n": 1, "mark": str(tmp_path / "mark")}]))
    assert outcomes[0]["n"] == 0 and outcomes[0]["pid"] != os.getpid()
    assert set(outcomes[1]) == {"died"} and str(tmp_path / "jobs") in outcomes[1]["died"]


def test_width_is_what_is_asked_for_or_what_an_array_holds(monkeypatch, tmp_path):
    fake_slurm(monkeypatch, tmp_path)
    folder = str(tmp_path / "jobs")
    widths = [
        SlurmDriver(RunConfig(workers=workers, slurm=SlurmConfig(folder=folder)), work).num_workers
        for workers in (0, 7)
    ]
    assert widths == [MAX_TASKS, 7]


def fake_slurm(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """Put commands in the place of Slurm's: `sbatch` keeps the script that it is given."""
    tools, script = folder / "bin", folder / "script.sh"
    tools.mkdir()
    for name, text in {
        "sbatch": f'cp "$1" {script}; echo Submitted batch job 17',
        "srun": "",
        "sacct": "",
        "scancel": "",
    }.items():
        (tools / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    return script


def test_slurm_is_asked_for_what_the_settings_say(monkeypatch, tmp_path):
    script = fake_slurm(monkeypatch, tmp_path)
    asked = SlurmConfig(
        folder=str(tmp_path / "jobs"), partition="long", minutes=90, cpus=6, gpus=1, memory_gb=32
    )
    driver = SlurmDriver(RunConfig(workers=2, slurm=asked), work)
    with driver._executor.batch():
        for number in range(5):
            driver._executor.submit(work, {"n": number})
    lines = dict(
        re.findall(
            r"^#SBATCH --([\w-]+)=(.*)$", script.read_text(encoding="utf-8"), flags=re.MULTILINE
        )
    )
    expected = {
        "array": "0-4%2",
        "cpus-per-task": "6",
        "gpus-per-node": "1",
        "job-name": "prefixbank",
        "mem": "32GB",
        "partition": "long",
        "time": "90",
    }
    assert {name: lines[name] for name in expected} == expected


def test_job_that_slurm_does_not_take_is_an_error_with_its_reason(monkeypatch, tmp_path):
    fake_slurm(monkeypatch, tmp_path)
    (tmp_path / "bin" / "sbatch").write_text(
        "#!/bin/sh\necho 'sbatch: error: invalid partition specified: long' >&2; exit 1\n",
        encoding="utf-8",
    )
    driver = SlurmDriver(
        RunConfig(slurm=SlurmConfig(folder=str(tmp_path / "jobs"), partition="long")), work
    )
    with pytest.raises(DeviceError, match="invalid partition specified: long"):
        next(driver.outcomes([{"n": 0}]))


def test_machine_without_slurm_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match="no sbatch") as caught:
        SlurmDriver(RunConfig(slurm=SlurmConfig(folder=str(tmp_path / "jobs"))), work)
    assert "run.slurm.cluster=local" in caught.value.fix and not (tmp_path / "jobs").exists()


def test_missing_package_is_named(monkeypatch, tmp_path):
    load = builtins.__import__

    def refuse(name: str, *args: Any) -> Any:
        if name == "submitit":
            raise ImportError(name)
        return load(name, *args)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(UsageError, match="submitit, which is not installed") as caught:
        SlurmDriver(RunConfig(), work)
    assert "prefixbank[slurm]" in caught.value.fix
