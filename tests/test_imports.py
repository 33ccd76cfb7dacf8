"""What a quick command may load. Each command runs in a fresh interpreter."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {
    "accelerate",
    "datasets",
    "hydra",
    "matplotlib",
    "omegaconf",
    "pyarrow",
    "sklearn",
    "torch",
    "transformers",
}

PROBE = """
import json, sys
from typer.testing import CliRunner
from prefixbank.cli.app import app
result = CliRunner().invoke(app, sys.argv[1:])
if result.exception is not None and not isinstance(result.exception, SystemExit):
    raise result.exception
modules = sorted(name for name in sys.modules if "." not in name)
print(json.dumps({"exit_code": result.exit_code, "output": result.output, "modules": modules}))
"""


@pytest.mark.parametrize(
    "arguments", [["--help"], ["cache", "ls"], ["train-prefix", "--help"]], ids=" ".join
)
def test_command_loads_no_heavy_library(arguments: list[str]):
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["exit_code"], HEAVY.intersection(result["modules"])) == (0, set()), result[
        "output"
    ]


def test_package_import_loads_no_heavy_library():
    code = (
        "import json, sys, prefixbank; print(json.dumps(sorted(m for m in sys.modules if '.' not "
        "in m)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True
    )
    assert not HEAVY.intersection(json.loads(done.stdout))
