"""`task.mixture`: what composing refuses, and how the tasks of a mixture are found."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefixbank.commands.table import COMMANDS
from prefixbank.config import checking
from prefixbank.config import compose as compose_module
from prefixbank.config.checking import check
from prefixbank.config.commands import TrainPrefixConfig
from prefixbank.config.compose import compose
from prefixbank.config.mixture import tasks_of
from prefixbank.config.schema import TaskConfig
from prefixbank.config.settings import names_at
from prefixbank.errors import Faults, UsageError


def test_mixture_needs_no_task():
    task = compose(TrainPrefixConfig, ["task.mixture=[polarity,topic]"]).task
    assert task == TaskConfig(mixture=("polarity", "topic")) and task.size_cap == 2**19


def test_all_faults_are_reported_at_once():
    with pytest.raises(Faults) as caught:
        compose(TrainPrefixConfig, ["task=polarity", "task.mixture=[a,b,a]", "optim.epochs=1"])
    assert [fault.what for fault in caught.value.faults] == [
        "task.mixture=[a,b,a] beside a data set of its own (task.name, task.source)",
        "task.mixture names a twice",
    ]


def test_limits_of_a_mixture_are_those_of_each_task():
    mixture = TaskConfig(mixture=("a", "b"), max_rows=5)
    found = tasks_of(mixture, lambda name: TaskConfig(name=name, max_rows=9, max_validation_rows=3))
    assert found == [TaskConfig(name=name, max_rows=5, max_validation_rows=3) for name in "ab"]


def test_tasks_that_are_not_there_are_reported_together():
    def find(name: str) -> TaskConfig:
        raise UsageError(f"no {name}", expected="x", fix="x")

    with pytest.raises(Faults) as caught:
        tasks_of(TaskConfig(mixture=("a", "b")), find)
    assert [fault.what for fault in caught.value.faults] == ["no a", "no b"]


def test_file_of_a_mixture_passes_the_check(conf_dir: Path, monkeypatch: pytest.MonkeyPatch):
    (conf_dir / "task" / "both.yaml").write_text("mixture: [polarity, topic]\n", encoding="utf-8")
    for module in (compose_module, checking):
        monkeypatch.setattr(
            module, "groups", lambda conf_dir=None: {"task": ["both", "polarity", "topic"]}
        )
    commands = [command for command in COMMANDS if "task" in names_at(command.settings, ())]
    checked = check([command.settings for command in COMMANDS], conf_dir)
    found = {one.what: one.error for one in checked if one.what.endswith("task=both")}
    assert found == {f"{command.name} task=both": None for command in commands} != {}


def test_cap_without_a_mixture_is_refused():
    with pytest.raises(UsageError) as caught:
        compose(TrainPrefixConfig, ["task=polarity", "task.size_cap=5"])
    assert caught.value.what == "task.size_cap=5 without task.mixture"
