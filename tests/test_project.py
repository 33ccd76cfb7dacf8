"""The project file: where it is looked for, what it may say, and what comes before it."""

from __future__ import annotations

from pathlib import Path

import pytest

import prefixbank as pb
from prefixbank import project
from prefixbank.config.commands import (
    EmbedConfig,
    ProbeCommandConfig,
    RunExperimentConfig,
    TrainPrefixConfig,
)
from prefixbank.config.compose import compose
from prefixbank.errors import Faults, UsageError
from prefixbank.store.store import Store


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder `work/inner`, below a home folder of the test's own."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    inner = tmp_path / "home" / "work" / "inner"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    return inner


def write(folder: Path, text: str) -> Path:
    file = folder / "prefixbank.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_without_a_file_there_are_no_defaults(folder):
    assert project.read_project() == project.Project() and project.Project().defaults == {}


def test_nearest_file_counts(folder):
    outer = write(folder.parent, "encoder: tiny\n")
    assert project.read_project().file == outer
    inner = write(folder, "encoder: minilm\n")
    assert project.read_project().file == inner


def test_search_ends_at_the_home_folder(folder, tmp_path):
    write(tmp_path, "encoder: tiny\n")
    assert project.read_project().file is None
    in_home = write(tmp_path / "home", "encoder: tiny\n")
    assert project.read_project().file == in_home


def test_search_outside_of_the_home_folder_goes_up(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    file = write(tmp_path, "encoder: tiny\n")
    assert project.read_project().file == file


def test_paths_start_from_the_folder_of_the_file(folder, monkeypatch):
    monkeypatch.delenv("PREFIXBANK_STORE")
    outer = folder.parent
    (outer / "yaml").mkdir()
    file = write(outer, "store: kept\nconf_dir: yaml\ndata_root: data\n")
    assert project.store_folder() == project.Chosen(path=outer / "kept", origin=str(file))
    assert project.conf_folder() == project.Chosen(path=outer / "yaml", origin=str(file))
    assert project.read_project().defaults == {"run.data_root": str(outer / "data")}


def test_flag_comes_before_variable_before_file_before_what_is_built_in(folder, monkeypatch):
    for name in ("flag", "variable", "file"):
        (folder / name).mkdir()
    monkeypatch.setenv("PREFIXBANK_STORE", str(folder / "variable"))
    monkeypatch.setenv("PREFIXBANK_CONF_DIR", str(folder / "variable"))
    file = write(folder, "store: file\nconf_dir: file\n")
    found = []
    for flag in (folder / "flag", None):
        found.append((project.store_folder(flag), project.conf_folder(flag)))
    for variable in ("PREFIXBANK_STORE", "PREFIXBANK_CONF_DIR"):
        monkeypatch.delenv(variable)
    found.append((project.store_folder(), project.conf_folder()))
    file.unlink()
    found.append((project.store_folder(), project.conf_folder()))
    assert [(one.origin, other.origin) for one, other in found] == [
        ("--store", "--conf-dir"),
        ("PREFIXBANK_STORE", "PREFIXBANK_CONF_DIR"),
        (str(file), str(file)),
        ("built in", "built in"),
    ]
    names = ["flag", "variable", "file"]
    assert [one.path for one, _ in found[:3]] == [folder / name for name in names]
    assert [other.path for _, other in found] == [*(folder / name for name in names), None]


def test_store_of_the_file_is_the_one_that_is_opened(folder, monkeypatch):
    monkeypatch.delenv("PREFIXBANK_STORE")
    write(folder, "store: kept\n")
    assert Store.open().root == pb.open_store().root == folder / "kept"
    assert Store.open(folder / "flag").root == folder / "flag"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("encodr: tiny\n", "unknown setting 'encodr' in .*did you mean 'encoder'"),
        ("encoder: 3\n", "encoder = 3 in "),
        ("store: ''\n", "store = '' in "),
        ("[tiny]\n", "holds no settings"),
        ("encoder: [\n", "cannot be read"),
    ],
)
def test_file_that_is_wrong_is_refused_with_its_name(folder, text, what):
    file = write(folder, text)
    with pytest.raises(UsageError, match=what) as caught:
        project.read_project()
    assert str(file) in caught.value.what


def test_all_faults_of_the_file_are_reported_together(folder):
    write(folder, "encodr: tiny\nstor: x\n")
    with pytest.raises(Faults) as caught:
        project.read_project()
    assert len(caught.value.faults) == 2


def test_conf_dir_that_is_no_folder_is_refused_with_its_origin(folder, monkeypatch):
    monkeypatch.setenv("PREFIXBANK_CONF_DIR", "/no/such/folder")
    with pytest.raises(UsageError, match="set by PREFIXBANK_CONF_DIR"):
        project.conf_folder()


def encoder_of(settings, *overrides, conf_dir=None):
    defaults = {"encoder": "tiny"}
    return compose(settings, overrides, conf_dir=conf_dir, defaults=defaults).encoder.name


def test_default_encoder_is_used_where_nothing_chooses_one():
    assert encoder_of(TrainPrefixConfig, "task=polarity") == "tiny"
    assert encoder_of(TrainPrefixConfig, "task=polarity", "encoder=minilm") == "minilm"
    assert encoder_of(RunExperimentConfig, "experiment=starter") == "tiny"


def test_default_encoder_is_that_of_no_bank_but_not_of_a_bank():
    assert encoder_of(ProbeCommandConfig, "bank=none", "task=polarity") == "tiny"
    source = compose(EmbedConfig, ["bank=demo"], defaults={"encoder": "tiny"}).encoder.source
    assert source == "bank"


def test_encoder_of_an_experiment_comes_before_the_default():
    assert encoder_of(RunExperimentConfig, "experiment=families_smollm2") == "smollm2"


def test_encoder_that_an_experiment_inherits_comes_before_the_default(tmp_path):
    (tmp_path / "experiment").mkdir()
    file = tmp_path / "experiment" / "mine.yaml"
    file.write_text("# @package _global_\ndefaults: [families_smollm2, _self_]\n", encoding="utf-8")
    assert encoder_of(RunExperimentConfig, "experiment=mine", conf_dir=tmp_path) == "smollm2"


def test_unknown_default_encoder_is_refused():
    with pytest.raises(UsageError, match="did you mean 'minilm'"):
        compose(TrainPrefixConfig, ["task=polarity"], defaults={"encoder": "minilmm"})


def test_default_setting_gives_way_to_a_file_and_to_the_command_line(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.yaml").write_text("data_root: of-file\n", encoding="utf-8")

    def root(*overrides: str) -> str:
        typed = ["task=polarity", *overrides]
        defaults = {"run.data_root": "default"}
        return compose(TrainPrefixConfig, typed, conf_dir=tmp_path, defaults=defaults).run.data_root

    assert root() == "default" and root("run=mine") == "of-file"
    assert root("run=mine", "run.data_root=typed") == "typed"


def test_python_functions_find_tasks_of_the_conf_dir(folder, monkeypatch):
    task = folder / "yaml" / "task"
    task.mkdir(parents=True)
    lines = [f"{'good' if row % 2 else 'bad'} {row},{row % 2}\n" for row in range(40)]
    (folder / "rows.csv").write_text("text,label\n" + "".join(lines), encoding="utf-8")
    (task / "mine.yaml").write_text(f"path: {folder / 'rows.csv'}\n", encoding="utf-8")
    write(folder, "conf_dir: yaml\nencoder: tiny\n")
    recipe = pb.PrefixRecipe(prefix=pb.PrefixConfig(length=2), optim=pb.OptimConfig(epochs=0))
    assert pb.train_prefix("mine", encoder="tiny", recipe=recipe).task == "mine"
    rows = pb.run("train-prefix", "task=mine", "prefix.length=2", "optim.epochs=0").rows
    assert rows[0]["task"] == "mine" and pb.open_store().ref("prefix", "mine") is not None
