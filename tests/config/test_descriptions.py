"""The meanings of settings, read from the schema."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Annotated, Literal

import pytest
from annotated_types import Ge, Lt

from prefixbank.commands.table import COMMANDS
from prefixbank.config.descriptions import field_docstrings, groups_of, settings_of
from prefixbank.config.schema import FineTuneConfig, OptimConfig, only_with
from prefixbank.config.settings import full_names


@dataclass(frozen=True, kw_only=True)
class Oven:
    """Where it is baked."""

    heat: Annotated[int, Ge(50), Lt(300)] = 180
    """Degrees."""
    fan: bool = False
    steam: Literal["none", "much"] = only_with("none", fan=True)
    """Water,
    as vapour."""


@dataclass(frozen=True, kw_only=True)
class Cake:
    """A cake."""

    name: str = ""
    oven: Oven = field(default_factory=lambda: Oven(heat=200))
    """The lower one."""


@dataclass(frozen=True, kw_only=True)
class Tart(Cake):
    """A tart."""

    name: str = "plum"
    """What is on it."""
    slices: tuple[int, ...] = (8,)


def test_setting_has_the_string_below_its_field():
    assert field_docstrings(Oven) == {"heat": "Degrees.", "steam": "Water, as vapour."}


def test_strings_of_a_base_count_unless_the_class_has_its_own():
    assert field_docstrings(Tart) == {"oven": "The lower one.", "name": "What is on it."}


def test_string_below_a_field_of_a_base_stays_when_only_the_default_is_new():
    assert field_docstrings(FineTuneConfig)["epochs"] == field_docstrings(OptimConfig)["epochs"]
    assert field_docstrings(FineTuneConfig)["lr"] != field_docstrings(OptimConfig)["lr"]


def test_values_are_described_with_their_range():
    found = {one.name: one.values for one in settings_of(Tart)}
    assert found == {
        "name": "text",
        "slices": "a list, each item a whole number",
        "oven.heat": "a whole number of at least 50 and less than 300",
        "oven.fan": "true or false",
        "oven.steam": "one of: none, much",
    }


def test_default_is_that_of_the_group_where_it_is_used():
    found = {one.name: one.default for one in settings_of(Tart)}
    assert (found["oven.heat"], found["oven.fan"], found["name"]) == ("200", "false", "plum")


def test_condition_of_a_setting_names_the_other_one_in_full():
    found = {one.name: one.only_with for one in settings_of(Tart)}
    assert (found["oven.steam"], found["oven.heat"]) == ("oven.fan=true", "")


def test_group_is_described_by_its_class_and_by_the_field_that_holds_it():
    own, oven = groups_of(Tart)
    assert (own.path, own.declared, own.meaning) == ("", Tart, "A tart.")
    assert (oven.path, oven.meaning) == ("oven", "Where it is baked. The lower one.")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_setting_of_a_command_is_there_once(command):
    found = [one.name for one in settings_of(command.settings)]
    assert sorted(found) == sorted(full_names(command.settings))


def test_every_setting_has_a_meaning():
    groups = (group for command in COMMANDS for group in groups_of(command.settings))
    bare = {
        f"{group.declared.__name__}.{one.name.rpartition('.')[2]}"
        for group in groups
        for one in group.settings
        if not one.meaning
    }
    assert not bare, "\n".join(sorted(bare))


def test_descriptions_load_no_heavy_library():
    code = (
        "import json, sys, prefixbank.config.descriptions;"
        "print(json.dumps(sorted(name for name in sys.modules if '.' not in name)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert not {"hydra", "omegaconf", "torch", "transformers"} & set(json.loads(done.stdout))
