"""A user's task or experiment is named like its file."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefixbank.config.commands import ProbeCommandConfig, RunExperimentConfig, TrainPrefixConfig
from prefixbank.config.compose import compose, compose_task
from prefixbank.data.tasks.load import load_task
from tests.config.conftest import Write


def named(conf_dir: Path, *overrides: str) -> str:
    return compose(ProbeCommandConfig, ["bank=none", *overrides], conf_dir=conf_dir).task.name


def test_tasks_over_one_file_have_the_names_of_their_own_files(write: Write, conf_dir: Path):
    for name in ("urgent", "queue"):
        write(f"task/{name}", f"path: data.csv\ncolumns: {{label: {name}}}\n")
    assert [named(conf_dir, f"task={name}") for name in ("urgent", "queue")] == ["urgent", "queue"]
    assert compose_task("urgent", conf_dir=conf_dir).name == "urgent"


def test_explicit_names_win(write: Write, conf_dir: Path):
    write("task/file", "name: other\npath: data.csv\n")
    assert named(conf_dir, "task=file") == "other"
    assert named(conf_dir, "task=file", "task.name=typed") == "typed"


@pytest.mark.parametrize("option", ["folder", "files"])
def test_options_of_prefixbank_name_nothing(conf_dir: Path, option: str):
    assert named(conf_dir, f"task={option}", "task.path=data") == ""


def test_task_that_extends_another_keeps_the_name_by_which_its_rows_are_found(
    write: Write, conf_dir: Path
):
    write("task/few", "defaults: [polarity, _self_]\nmax_rows: 9\n")
    assert named(conf_dir, "task=few") == "polarity"


def test_file_name_that_no_ref_can_have_becomes_one_like_it(write: Write, conf_dir: Path):
    write("task/mein täsk", "path: data.csv\n")
    assert compose_task("mein täsk", conf_dir=conf_dir).name == "mein-t-sk"


def test_mixture_has_no_name(write: Write, conf_dir: Path):
    write("task/both", "mixture: [polarity, topic]\n")
    config = compose(TrainPrefixConfig, ["task=both"], conf_dir=conf_dir)
    assert (config.task.name, config.task.mixture) == ("", ("polarity", "topic"))


def test_name_leaves_the_digest_as_it_was(write: Write, conf_dir: Path, tmp_path: Path):
    rows = tmp_path / "data.csv"
    lines = [f"text {row},{row % 2}\n" for row in range(40)]
    rows.write_text("text,label\n" + "".join(lines), encoding="utf-8")
    write("task/mine", f"path: {rows}\n")
    before = load_task(compose(TrainPrefixConfig, [f"task.path={rows}"]).task)
    now = load_task(compose_task("mine", conf_dir=conf_dir))
    assert (before.name, now.name) == ("data", "mine") and now.digest() == before.digest()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("sources: [polarity]\n", "study"),
        ("name: own\nsources: [polarity]\n", "own"),
        ("# @package _global_\nexperiment: {sources: [polarity]}\n", "study"),
        ("# @package _global_\nexperiment: {name: own}\n", "own"),
        ("# @package _global_\ndefaults: [starter, _self_]\nseed: 3\n", "study"),
    ],
    ids=["plain", "named", "global", "global-named", "extends"],
)
def test_experiment_is_named_like_its_file(write: Write, conf_dir: Path, text: str, name: str):
    write("experiment/study", text)
    config = compose(RunExperimentConfig, ["experiment=study"], conf_dir=conf_dir)
    assert config.experiment.name == name
    typed = compose(
        RunExperimentConfig, ["experiment=study", "experiment.name=typed"], conf_dir=conf_dir
    )
    assert typed.experiment.name == "typed"


def test_experiment_of_prefixbank_keeps_its_name(conf_dir: Path):
    config = compose(RunExperimentConfig, ["experiment=starter"], conf_dir=conf_dir)
    assert config.experiment.name == "starter"
