"""Where YAML files are looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefixbank.config import folders
from prefixbank.config.checking import check
from prefixbank.config.commands import (
    CombineCommandConfig,
    EmbedConfig,
    ProbeCommandConfig,
    RunExperimentConfig,
    TrainPrefixConfig,
    TransferMapConfig,
)
from prefixbank.config.compose import compose, conf_root, groups
from prefixbank.errors import Faults, PrefixbankError, UsageError
from tests.config.conftest import Write


def test_groups_lists_options_of_both_folders(conf_dir: Path):
    tasks = groups(conf_dir)["task"]
    assert tasks == sorted({*groups()["task"], "sample"})


def test_groups_are_the_folders():
    assert list(groups()) == [
        "combine",
        "encoder",
        "experiment",
        "optim",
        "pooling",
        "prefix",
        "probe",
        "run",
        "task",
    ]


def test_user_option_is_used(write: Write, conf_dir: Path):
    write("optim/mine", "lr: 0.5\n")
    assert (
        compose(TrainPrefixConfig, ["task=sample", "optim=mine"], conf_dir=conf_dir).optim.lr == 0.5
    )


def test_user_file_of_a_name_that_exists_is_refused_with_both_names(write: Write, conf_dir: Path):
    file = write("encoder/minilm", "name: other\n")
    with pytest.raises(UsageError) as caught:
        compose(CombineCommandConfig, [], conf_dir=conf_dir)
    assert (
        caught.value.what
        == f"{file} and {conf_root() / 'encoder' / 'minilm.yaml'} have the same name"
    )


def test_user_primary_is_refused(write: Write, conf_dir: Path):
    file = write("train_prefix", "seed: 1\n")
    with pytest.raises(UsageError, match="have the same name") as caught:
        groups(conf_dir)
    assert str(file) in caught.value.what


def test_all_faults_of_a_folder_are_reported_at_once(write: Write, conf_dir: Path):
    write("encoder/minilm", "name: other\n")
    write("optim/late", "# mine\n# @package _global_\nseed: 1\n")
    (conf_dir / "task" / "old.yml").write_text("name: old\n", encoding="utf-8")
    with pytest.raises(Faults) as caught:
        groups(conf_dir)
    assert [fault.expected for fault in caught.value.faults] == [
        "each option in one place",
        "it is the first line",
        "names that end in .yaml",
    ]


def test_folder_that_is_missing_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="is not a folder"):
        groups(tmp_path / "nowhere")


def test_folder_without_groups_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="has none of the group folders"):
        groups(tmp_path)


def test_folder_may_have_a_difficult_name(tmp_path: Path):
    folder = tmp_path / "my conf, (é) it's [1] {2} $x"
    (folder / "task").mkdir(parents=True)
    (folder / "task" / "my task, 'x'.yaml").write_text("name: difficult\n", encoding="utf-8")
    assert (
        compose(TrainPrefixConfig, ["task=\"my task, 'x'\""], conf_dir=folder).task.name
        == "difficult"
    )


def test_relative_folder_is_looked_up_from_here(conf_dir: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(conf_dir.parent)
    assert compose(TrainPrefixConfig, ["task=sample"], conf_dir=Path("conf")).task.name == "sample"


def test_conf_root_is_the_packaged_copy_when_there_is_no_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    package = tmp_path / "site-packages" / "prefixbank"
    (package / "conf").mkdir(parents=True)
    monkeypatch.setattr(folders, "__file__", str(package / "config" / "folders.py"))
    monkeypatch.setattr(folders.resources, "files", lambda name: tmp_path / "site-packages" / name)
    assert conf_root() == package / "conf"


def test_conf_root_tells_when_the_installation_is_incomplete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(
        folders,
        "__file__",
        str(tmp_path / "site-packages" / "prefixbank" / "config" / "folders.py"),
    )
    monkeypatch.setattr(folders.resources, "files", lambda name: tmp_path / "site-packages" / name)
    with pytest.raises(PrefixbankError, match="YAML files are not at"):
        conf_root()


@pytest.fixture
def small_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """prefixbank's own folder with one option in each group, so that `check` is quick."""
    root = tmp_path / "own" / "conf"
    keep = {
        "encoder/bank",
        "encoder/minilm",
        "experiment/smoke",
        "task/polarity",
        "combine/auto",
        "pooling/auto",
    }
    for file in sorted(conf_root().rglob("*.yaml")):
        option = file.relative_to(conf_root()).with_suffix("").as_posix()
        if "/" not in option or option in keep or option.endswith("/default"):
            (root / option).parent.mkdir(parents=True, exist_ok=True)
            (root / option).with_suffix(".yaml").write_text(
                file.read_text(encoding="utf-8"), encoding="utf-8"
            )
    monkeypatch.setattr(folders, "conf_root", lambda: root)
    return root


@pytest.mark.usefixtures("small_root")
def test_check_composes_each_command_with_every_option(write: Write, conf_dir: Path):
    write("optim/mine", "lr: 0.5\n")
    commands = [TrainPrefixConfig, RunExperimentConfig, ProbeCommandConfig, EmbedConfig]
    found = {finding.what for finding in check(commands, conf_dir)}
    assert {
        "train-prefix optim=mine",
        "run optim=mine",
        "train-prefix task=sample",
        "probe task=sample",
        "embed encoder=bank",
    } <= found


@pytest.mark.usefixtures("small_root")
def test_check_tells_each_fault_where_it_is(write: Write, conf_dir: Path):
    write("optim/mine", "lr: abc\n")
    write("experiment/mine", "sources: [nothing]\n")
    commands = [TrainPrefixConfig, RunExperimentConfig, TransferMapConfig]
    wrong = {
        finding.what: finding.error.what for finding in check(commands, conf_dir) if finding.error
    }
    file = conf_dir / "optim" / "mine.yaml"
    assert {what: error for what, error in wrong.items() if "=mine" in what} == {
        "train-prefix optim=mine": f"optim.lr = 'abc' in {file}",
        "run optim=mine": f"optim.lr = 'abc' in {file}",
        "transfer map optim=mine": f"optim.lr = 'abc' in {file}",
        "run experiment=mine": "task has no option 'nothing'",
        "transfer map experiment=mine": "task has no option 'nothing'",
    }


@pytest.mark.usefixtures("small_root")
def test_check_looks_up_the_tasks_of_a_mixture(write: Write, conf_dir: Path):
    write("task/several", "mixture: [sample, nothing]\n")
    found = check([TrainPrefixConfig], conf_dir)
    wrong = {finding.what: finding.error for finding in found if finding.error}
    fault = wrong["train-prefix task=several"]
    assert fault.what == "task has no option 'nothing'" and fault.fix.endswith(
        " in place of nothing"
    )
