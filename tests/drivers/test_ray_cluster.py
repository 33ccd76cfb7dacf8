"""A Ray cluster on this machine."""

from __future__ import annotations

import builtins
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prefixbank.config.running import RayConfig, RunConfig
from prefixbank.drivers.ray_cluster import RayDriver
from prefixbank.errors import DeviceError, UsageError
from tests.drivers.work import work


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Iterator[RayDriver]:
    pytest.importorskip("ray")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    made = RayDriver(RunConfig(workers=2), work)
    yield made
    made.close()


@pytest.mark.slow
@pytest.mark.parametrize("shards", [{}, {"0": "d"}], ids=["tasks", "actors"])
@pytest.mark.filterwarnings("ignore")  # Ray's own, of many kinds
def test_every_job_has_its_outcome_and_comes_from_another_process(driver, shards):
    outcomes = dict(driver.outcomes([{"n": number, "shards": shards} for number in range(5)]))
    assert {place: outcome["n"] for place, outcome in outcomes.items()} == {
        number: number for number in range(5)
    }
    assert os.getpid() not in {outcome["pid"] for outcome in outcomes.values()}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_killed_task_is_told_and_killed_actor_is_replaced(driver, tmp_path):
    jobs = [{"n": 0, "shards": {}}, {"n": 1, "shards": {}, "mark": str(tmp_path / "task")}]
    outcomes = dict(driver.outcomes(jobs))
    assert outcomes[0]["n"] == 0 and set(outcomes[1]) == {"died"}
    jobs = [
        {"n": number, "shards": {"0": "d"}, "mark": str(tmp_path / "actor")} for number in range(3)
    ]
    assert sorted(outcome["n"] for _, outcome in driver.outcomes(jobs)) == [0, 1, 2]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_worker_that_no_machine_can_hold_is_refused():
    pytest.importorskip("ray")
    driver = RayDriver(RunConfig(ray=RayConfig(cpus=10_000)), work)
    try:
        with pytest.raises(DeviceError, match="a worker of 10000 CPUs and 0 GPUs"):
            next(driver.outcomes([{"n": 0, "shards": {}}]))
    finally:
        driver.close()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_address_without_a_cluster_is_refused():
    pytest.importorskip("ray")
    with pytest.raises(DeviceError, match="run.ray.address=auto"):
        RayDriver(RunConfig(ray=RayConfig(address="auto")), work)


def test_missing_package_is_named(monkeypatch):
    load = builtins.__import__

    def refuse(name: str, *args: Any) -> Any:
        if name == "ray":
            raise ImportError(name)
        return load(name, *args)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(UsageError, match="ray, which is not installed") as caught:
        RayDriver(RunConfig(), work)
    assert "prefixbank[ray]" in caught.value.fix
