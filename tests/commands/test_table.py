"""The table of commands, and commands run by name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from prefixbank.commands.table import COMMANDS, command_named
from prefixbank.config.commands import CommandConfig
from prefixbank.config.folders import conf_root
from prefixbank.errors import UsageError

EVERY_COMMAND = pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)


def test_each_command_is_there_once():
    names = [command.name for command in COMMANDS]
    assert len(set(names)) == len(names) == len({command.settings for command in COMMANDS})


def test_every_settings_class_of_a_command_is_in_the_table():
    def classes_below(base: type) -> set[type]:
        found = set(base.__subclasses__())
        return found.union(*(classes_below(one) for one in found))

    named = {one.__dict__["command"] for one in classes_below(CommandConfig)}
    assert named == {command.name for command in COMMANDS}


def test_every_command_has_a_yaml_file_and_no_file_is_left_over():
    files = {file.stem.replace("_", "-") for file in conf_root().glob("*.yaml")}
    assert files == {command.name.replace(" ", "-") for command in COMMANDS}


@EVERY_COMMAND
def test_command_is_found_by_its_name(command):
    assert command_named(command.name) is command


def test_unknown_command_is_refused_with_a_similar_one_and_all_there_are():
    with pytest.raises(UsageError) as caught:
        command_named("transfer maps")
    assert "did you mean 'transfer map'?" in caught.value.what
    assert all(command.name in caught.value.expected for command in COMMANDS)


@EVERY_COMMAND
def test_help_has_the_summary_and_every_example(command):
    assert command.help.startswith(command.summary) and command.summary.endswith(".")
    assert all(f"prefixbank {command.name} {one}" in command.help for one in command.examples)


def test_table_loads_no_heavy_library():
    code = (
        "import sys, prefixbank.commands.table\n"
        "heavy = {'torch', 'transformers', 'datasets', 'sklearn', 'hydra', 'pyarrow'}\n"
        "print(*heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert done.stdout.split() == []
