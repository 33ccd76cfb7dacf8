"""Commands whose units real workers make, one of which is killed in the middle.

The results are those of a single process.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import prefixbank
from prefixbank.commands import run
from prefixbank.drivers import local
from prefixbank.store.store import Store
from tests.cli.dying import work
from tests.prepared import SMALL, copy_store

STUDY = (
    "run",
    "experiment=smoke",
    "experiment.sources=[alpha,beta]",
    "experiment.targets=[gamma]",
    "probe.bootstrap_samples=50",
    *SMALL,
    "optim.epochs=3",
    "run.checkpoint_every_s=0",
)
WORKER = (
    "import tests.cli.dying; from prefixbank import worker; from prefixbank.commands import run; "
    "run.work = tests.cli.dying.work; worker.main()"
)


@pytest.fixture(autouse=True)
def dying_workers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Workers that die once, at a checkpoint or a finished part.

    Return the file that tells that one did.
    """
    mark = tmp_path / "died"
    roots = [str(Path(__file__).parents[2]), str(Path(prefixbank.__file__).parents[1])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(roots))
    monkeypatch.setenv("PREFIXBANK_TEST_DIED", str(mark))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setattr(run, "work", work)
    monkeypatch.setattr(local, "COMMAND", (sys.executable, "-c", WORKER))
    return mark


def digests(store: Path) -> dict[str, str]:
    return {entry.key: entry.digest for entry in Store(store).entries()}


@pytest.fixture
def study(cli) -> tuple[str, ...]:
    return (*STUDY, f"run.data_root={cli.tasks}")


@pytest.fixture
def corpus(tmp_path: Path) -> tuple[str, ...]:
    path = tmp_path / "corpus.txt"
    path.write_text("".join(f"text number {number}\n" for number in range(40)), encoding="utf-8")
    return ("embed", "bank=demo", f"corpus.path={path}", "corpus.shard_rows=8")


def expect_same(
    cli, tmp_path: Path, dying_workers: Path, args: tuple[str, ...], *settings: str
) -> None:
    """Run a command in this process and, with another store, by workers.

    Compare all that they made.
    """
    other = copy_store(cli.store, tmp_path / "other")
    cli.done(*args, "--store", str(other))
    assert not dying_workers.exists()
    ran = cli.done(*args, *settings)
    assert dying_workers.exists() and digests(cli.store) == digests(other)
    # Ray replaces an actor in silence.
    assert "a worker died" in ran.err or "run.driver=ray" in settings


@pytest.mark.slow
def test_study_by_processes_of_this_machine_is_the_same(cli, study, tmp_path, dying_workers):
    expect_same(cli, tmp_path, dying_workers, study, "run.workers=2")


@pytest.mark.slow
def test_corpus_by_an_array_of_jobs_is_the_same(cli, corpus, tmp_path, dying_workers):
    settings = (
        "run.driver=slurm",
        "run.slurm.cluster=local",
        f"run.slurm.folder={tmp_path / 'jobs'}",
        "run.workers=2",
    )
    expect_same(cli, tmp_path, dying_workers, corpus, *settings)


@pytest.mark.slow
def test_study_by_an_array_of_jobs_is_the_same(cli, study, tmp_path, dying_workers):
    settings = (
        "run.driver=slurm",
        "run.slurm.cluster=local",
        f"run.slurm.folder={tmp_path / 'jobs'}",
        "run.workers=2",
    )
    expect_same(cli, tmp_path, dying_workers, study, *settings)


@pytest.mark.slow
def test_corpus_by_processes_of_this_machine_is_the_same(cli, corpus, tmp_path, dying_workers):
    expect_same(
        cli,
        tmp_path,
        dying_workers,
        (*corpus, "vectors=int8", "calibration_rows=8"),
        "run.workers=2",
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
@pytest.mark.parametrize("command", ["study", "corpus"])
def test_a_ray_cluster_gives_the_same(cli, request, tmp_path, dying_workers, command):
    pytest.importorskip("ray")
    expect_same(
        cli,
        tmp_path,
        dying_workers,
        request.getfixturevalue(command),
        "run.driver=ray",
        "run.workers=2",
    )


@pytest.mark.slow
def test_sweep_is_made_by_workers_and_one_that_fails_stops_no_other(cli, tmp_path):
    args = (
        "train-prefix",
        "--sweep",
        "task=folder",
        f"task.path={cli.tasks / 'gamma'}",
        *SMALL,
        "seed=1,2",
        "optim.precision=fp32,fp16",
    )
    other = copy_store(cli.store, tmp_path / "other")
    expected = cli(*args, "--store", str(other))
    ran = cli(*args, "run.workers=2")
    assert (ran.code, digests(cli.store)) == (expected.code, digests(other)) and expected.code != 0
    assert (
        ran.err.count(" done ") == 2
        and "2 of 4 runs failed" in ran.err
        and ran.err.count("error: optim.precision=fp16") == 2
    )
    assert [row["key"] for row in ran.result] == [row["key"] for row in expected.result]
