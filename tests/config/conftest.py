"""A user's folder of YAML files with one task that prefixbank does not have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Write = Callable[[str, str], Path]


@pytest.fixture
def conf_dir(tmp_path: Path) -> Path:
    """`--conf-dir` with the task `sample`."""
    folder = tmp_path / "conf"
    (folder / "task").mkdir(parents=True)
    (folder / "task" / "sample.yaml").write_text(
        "# prefixbank train-prefix task=sample\nname: sample\npath: data\n", encoding="utf-8"
    )
    return folder


@pytest.fixture
def write(conf_dir: Path) -> Write:
    """Write a file into `conf_dir`: `write("optim/mine", "lr: 1")`."""

    def write_yaml(option: str, text: str) -> Path:
        file = conf_dir / f"{option}.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    return write_yaml
