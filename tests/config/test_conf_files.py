"""The YAML files that come with prefixbank."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import pytest
import yaml

from prefixbank.commands.table import COMMANDS, Command
from prefixbank.config.checking import check
from prefixbank.config.commands import EmbedConfig, RunExperimentConfig
from prefixbank.config.compose import compose, compose_task, conf_root
from prefixbank.config.schema import EncoderConfig
from prefixbank.config.settings import names_at
from tests.fixtures import merge_once, shared_settings  # noqa: F401

FILES = {
    file.relative_to(conf_root()).as_posix(): file.read_text(encoding="utf-8")
    for file in sorted(conf_root().rglob("*.yaml"))
}
"""Text of each file, by its path below `conf/`."""
OPTIONS = {f"{file.parent}={file.stem}" for file in map(PurePosixPath, FILES) if file.parent.name}
"""What can be chosen, as `GROUP=NAME`."""

MISREAD = re.compile(
    r"(?i:yes|no|on|off|y|n|null|none|nan|~)|true|false"
    r"|[+-]?0[0-9_]+|[0-9]+(:[0-9]+)+|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}"
)
"""Bare scalars that YAML 1.1 takes for something else than they look, or than a command line does.
`true`, `false` and `null` are meant."""

HUB_IDS = {
    "bert_base": "google-bert/bert-base-uncased",
    "roberta_base": "FacebookAI/roberta-base",
    "roberta_large": "FacebookAI/roberta-large",
    "xlmr_base": "FacebookAI/xlm-roberta-base",
    "camembert_base": "almanach/camembert-base",
    "electra_base": "google/electra-base-discriminator",
    "distilbert": "distilbert/distilbert-base-uncased",
    "modernbert_base": "answerdotai/ModernBERT-base",
    "eurobert_210m": "EuroBERT/EuroBERT-210m",
}


def misread(text: str) -> list[str]:
    """The bare scalars of a YAML text that are easily misread."""
    scalars = [token for token in yaml.scan(text) if isinstance(token, yaml.ScalarToken)]
    return [
        token.value
        for token in scalars
        if token.plain
        and token.value not in ("true", "false", "null")
        and MISREAD.fullmatch(token.value)
    ]


def test_every_file_begins_with_the_command_that_uses_it():
    first = {
        name: text.removeprefix("# @package _global_\n").partition("\n")[0]
        for name, text in FILES.items()
    }
    wrong = {name: line for name, line in first.items() if not line.startswith("# prefixbank ")}
    assert FILES and wrong == {}


def test_every_experiment_file_is_about_the_whole_config():
    experiments = {name: text for name, text in FILES.items() if name.startswith("experiment/")}
    wrong = [
        name for name, text in experiments.items() if not text.startswith("# @package _global_\n")
    ]
    assert experiments and wrong == []


def test_no_file_has_a_scalar_that_is_misread():
    assert {name: found for name, text in FILES.items() if (found := misread(text))} == {}


def test_no_file_names_code_or_a_resolver():
    assert [name for name, text in FILES.items() if "_target_" in text or "${" in text] == []


@pytest.mark.parametrize(
    "text", ["[yes]", "a: No", "on: 1", "a: 012", "a: ~", "a: Null", "a: None", "a: 12:30", "a: y"]
)
def test_misread_finds_a_bare_scalar(text: str):
    assert len(misread(text)) == 1


@pytest.mark.parametrize(
    "text",
    ["['yes', \"no\"]", "a: 0", "a: 0.5", "a: 10", "a: true", "a: null", "a: yesterday", "a: 1e-3"],
)
def test_misread_leaves_others_alone(text: str):
    assert misread(text) == []


def check_options(commands: Sequence[Command]) -> None:
    """Assert that every option of the commands is there, and valid."""
    findings = check([command.settings for command in commands])
    assert {finding.what: str(finding.error) for finding in findings if finding.error} == {}
    checked = {command.name: set[str]() for command in commands}
    for finding in findings:
        name, _, option = finding.what.rpartition(" ")
        checked[name].add(option)
    assert checked == {command.name: options_of(command) for command in commands}


@pytest.mark.parametrize("name", ["embed", "combine"])
def test_every_option_of_a_command_is_valid(name: str):
    check_options([command for command in COMMANDS if command.name == name])


@pytest.mark.slow
def test_every_option_of_every_command_is_valid():
    check_options(COMMANDS)


def options_of(command: Command) -> set[str]:
    """The options of the groups that are settings of a command."""
    names = names_at(command.settings, ())
    return {option for option in OPTIONS if option.partition("=")[0] in names}


def test_every_option_is_one_of_a_command():
    assert OPTIONS == set().union(*map(options_of, COMMANDS))


@pytest.mark.parametrize("name", HUB_IDS)
def test_encoder_of_the_hub_is_named(name: str):
    config = compose(EmbedConfig, [f"encoder={name}"]).encoder
    assert config == EncoderConfig(name=name, source="hub", hub_id=HUB_IDS[name])


@pytest.mark.parametrize("experiment", ["starter", "starter_seeds", "smoke"])
def test_experiment_probes_no_task_that_it_trains(experiment: str):
    config = compose(RunExperimentConfig, [f"experiment={experiment}"]).experiment
    assert not set(config.sources) & set(config.targets)


@pytest.mark.parametrize("experiment", ["starter", "starter_seeds", "smoke"])
def test_experiment_needs_nothing_but_the_starter_data(experiment: str):
    config = compose(RunExperimentConfig, [f"experiment={experiment}"]).experiment
    assert {compose_task(name).source for name in (*config.sources, *config.targets)} == {"starter"}


@pytest.mark.parametrize(
    ("experiment", "seeds", "representations"),
    [
        ("starter", (0,), ("plain", "bank")),
        ("starter_seeds", (0, 1, 2), ("plain", "bank", "random")),
        ("smoke", (0,), ("plain", "bank")),
    ],
)
def test_experiment_has_its_seeds_and_representations(
    experiment: str, seeds: tuple[int, ...], representations: tuple[str, ...]
):
    config = compose(RunExperimentConfig, [f"experiment={experiment}"]).experiment
    assert (config.seeds, config.representations) == (seeds, representations)
