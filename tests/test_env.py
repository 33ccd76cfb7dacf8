"""What the package sets in the environment for the libraries that it loads."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from prefixbank.env import OPENMP_WAITING


def run(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter in which nobody has said how threads wait."""
    inherited = {name: value for name, value in os.environ.items() if name not in OPENMP_WAITING}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**inherited, **variables},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )


@pytest.mark.parametrize(
    "module", ["prefixbank.cli.app", "prefixbank.worker", "prefixbank.commands.run"]
)
def test_idle_threads_sleep_in_commands_and_workers_before_torch_is_loaded(module: str):
    code = f"import os, sys, {module}; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    assert run(code).stdout.split() == ["PASSIVE", "False"]


@pytest.mark.parametrize(
    ("variable", "value"),
    [("OMP_WAIT_POLICY", "ACTIVE"), ("GOMP_SPINCOUNT", "1000"), ("KMP_BLOCKTIME", "200")],
)
def test_way_to_wait_that_the_user_chose_stays(variable: str, value: str):
    code = (
        f"import os, prefixbank; print({{n: os.environ[n] for n in {OPENMP_WAITING} "
        "if n in os.environ})"
    )
    assert run(code, **{variable: value}).stdout.strip() == str({variable: value})


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere torch brings another OpenMP")
def test_openmp_of_torch_obeys():
    shown = run("import prefixbank.api, torch", OMP_DISPLAY_ENV="TRUE").stderr
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in shown
