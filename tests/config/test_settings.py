"""The words and examples that errors are made of."""

from __future__ import annotations

import shlex
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Literal

import pytest
from annotated_types import Ge, Gt, Le, Lt, MultipleOf

from prefixbank.commands.table import COMMANDS, Command
from prefixbank.config.commands import CombineCommandConfig
from prefixbank.config.compose import compose
from prefixbank.config.schema import SplitNames
from prefixbank.config.settings import (
    describe,
    example,
    full_names,
    hint_at,
    names_at,
)

CHOICE: dict[str, list[str]] = {
    "train-prefix": ["task=polarity"],
    "probe": ["task=polarity"],
    "run": ["experiment=smoke"],
    "transfer map": ["experiment=transfer_map_smoke"],
    "transfer retrieve": ["task=polarity"],
    "transfer similar": ["task=polarity"],
    "transfer combine": ["task=polarity"],
}


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (int, "a whole number"),
        (float, "a number"),
        (bool, "true or false"),
        (str, "text"),
        (Annotated[int, Ge(1), Le(9)], "a whole number of at least 1 and of at most 9"),
        (Annotated[float, Gt(0), Lt(1)], "a number greater than 0 and less than 1"),
        (Literal["a", "b"], "one of: a, b"),
        (tuple[Annotated[float, Gt(0)], ...], "a list, each item a number greater than 0"),
        (dict[str, tuple[str, ...]], "a table; for each name a list, each item text"),
        (SplitNames, "settings of their own: train, validation, test"),
    ],
)
def test_type_is_described_in_words(hint: object, words: str):
    assert describe(hint) == words


def test_limit_without_words_is_refused():
    with pytest.raises(TypeError, match="MultipleOf"):
        describe(Annotated[int, MultipleOf(2)])


OVERRIDES = (".overrides", "experiment.deep", "experiment.finetuned")
"""Settings that hold settings."""


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_setting_has_an_example_that_is_accepted(command: Command):
    config = command.settings
    names = [
        name
        for name in full_names(config)
        if not name.endswith(OVERRIDES) and name != "task.mixture"
    ]
    examples = [shlex.split(example(config, name.split(".")))[0] for name in names]
    assert isinstance(compose(config, [*CHOICE.get(command.name, []), *examples]), config)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_setting_has_a_description(command: Command):
    config = command.settings
    assert all(describe(hint_at(config, name.split("."))) for name in full_names(config))


def test_example_of_a_group_is_its_first_setting():
    assert example(CombineCommandConfig, ["pooling"]) == "pooling.position=auto"


@pytest.mark.parametrize(
    "path", [["nothing"], ["combine", "nothing"], ["name", "nothing"], ["prefixes", "nothing"]]
)
def test_hint_of_an_unknown_setting_is_none(path: list[str]):
    assert hint_at(CombineCommandConfig, path) is None


def test_names_of_a_single_value_are_none():
    assert names_at(CombineCommandConfig, ["name"]) == []


def test_full_names_reach_into_groups():
    assert full_names(CombineCommandConfig)[:6] == (
        "combine.rule",
        "combine.normalize_weights",
        "combine.weights",
        "combine.plain",
        "pooling.position",
        "pooling.layers",
    )


def test_threads_do_not_mix_their_configs():
    with ThreadPoolExecutor(4) as pool:
        names = list(
            pool.map(
                lambda number: compose(CombineCommandConfig, [f"name=bank{number}"]).name, range(8)
            )
        )
    assert names == [f"bank{number}" for number in range(8)]
