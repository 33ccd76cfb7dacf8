"""`prefixbank config`: what can be set and what is set."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from prefixbank.commands.table import COMMANDS
from prefixbank.config import checking, compose
from prefixbank.config.settings import full_names
from prefixbank.errors import UsageError

EVERY_COMMAND = pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
NEEDED = {
    "train-prefix": ["task=polarity"],
    "probe": ["task=emotion"],
    "run": ["experiment=smoke"],
    "transfer map": ["experiment=transfer_map_smoke"],
    "transfer retrieve": ["task=emotion"],
    "transfer similar": ["task=emotion"],
    "transfer combine": ["task=emotion"],
}


@EVERY_COMMAND
def test_show_is_the_whole_config_as_yaml(cli, command):
    out = cli.done("config", "show", *command.name.split(), *NEEDED.get(command.name, [])).out
    shown = yaml.safe_load(out)
    config = compose.compose(command.settings, NEEDED.get(command.name, []))
    assert set(shown) == set(vars(config)) and shown["run"] == asdict(config.run)


@EVERY_COMMAND
def test_help_settings_has_a_row_for_each_setting_that_show_prints(cli, command):
    rows = cli.done("config", "show", command.name, "--help-settings").result
    assert {row["name"] for row in rows} == set(full_names(command.settings))


def test_help_settings_says_values_default_and_meaning(cli):
    rows = cli.done("config", "show", "train-prefix", "--help-settings").result
    lr = next(row for row in rows if row["name"] == "optim.lr")
    assert (lr["values"], lr["default"]) == ("a number greater than 0", "0.03")
    assert lr["meaning"].startswith("Learning rate of the prefix")


def test_show_follows_overrides(cli):
    shown = yaml.safe_load(
        cli.done(
            "config", "show", "train-prefix", "task=polarity", "optim.lr=0.5", "pooling=cls"
        ).out
    )
    assert (shown["optim"]["lr"], shown["pooling"]["position"], shown["task"]["name"]) == (
        0.5,
        "cls",
        "polarity",
    )


def test_show_begins_with_the_command(cli):
    assert cli.done("config", "show", "embed", "corpus.column=a b").out.startswith(
        "# prefixbank embed 'corpus.column=a b'\n"
    )


def test_show_of_a_wrong_setting_is_refused(cli):
    assert (
        "optim.lr"
        in cli.expect_fault(
            2, "config", "show", "train-prefix", "task=polarity", "optim.lr=abc"
        ).what
    )


def test_command_of_two_words_may_be_quoted(cli):
    quoted = cli.done("config", "show", "transfer combine", "task=polarity", "k=2").out
    assert quoted == cli.done("config", "show", "transfer", "combine", "task=polarity", "k=2").out


def test_show_of_an_unknown_command_is_refused_with_a_similar_one(cli):
    assert cli.expect_fault(2, "config", "show", "train").what.startswith("no command 'train'")
    assert "did you mean 'combine'?" in cli.expect_fault(2, "config", "show", "combne").what


def test_groups_lists_every_yaml_file(cli):
    root = compose.conf_root()
    expected = {
        folder.name: sorted(file.stem for file in folder.glob("*.yaml"))
        for folder in root.iterdir()
        if folder.is_dir()
    }
    assert {row["group"]: row["choices"] for row in cli.done("config", "groups").result} == expected


def test_groups_lists_the_users_files_too(cli, tmp_path: Path):
    (tmp_path / "conf" / "task").mkdir(parents=True)
    (tmp_path / "conf" / "task" / "mine.yaml").write_text("name: mine\n", encoding="utf-8")
    rows = cli.done("config", "groups", "--conf-dir", str(tmp_path / "conf")).result
    assert "mine" in next(row["choices"] for row in rows if row["group"] == "task")


def test_groups_as_a_table_has_a_line_for_each(cli):
    out = cli.done("config", "groups", "--format", "table").out
    assert len(out.splitlines()) == 1 + len(compose.groups())


@pytest.mark.parametrize(("faults", "code"), [(0, 0), (2, 2)])
def test_check_counts_what_was_found_and_reports_each_fault(cli, monkeypatch, faults, code):
    bad = [
        checking.Checked(f"train-prefix optim={name}", UsageError(name, expected="b", fix="c"))
        for name in ("x", "y")[:faults]
    ]
    monkeypatch.setattr(
        checking,
        "check",
        lambda commands, conf_dir: [checking.Checked("probe task=cb", None), *bad],
    )
    ran = cli("config", "check")
    assert (ran.code, ran.out) == (code, f"1 good, {faults} bad\n")
    assert ran.err == "".join(f"{one.what}\n{one.error}\n" for one in bad)


def test_check_looks_into_the_users_folder(cli, tmp_path: Path):
    assert (
        "is not a folder"
        in cli.expect_fault(2, "config", "check", "--conf-dir", str(tmp_path / "none")).what
    )


def test_show_without_a_mandatory_choice_says_what_is_open(cli):
    assert (
        "# task=NAME is still to be chosen"
        in cli.done("config", "show", "train-prefix").out.splitlines()
    )
