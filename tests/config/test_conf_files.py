"""The YAML files that come with prefixbank."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from prefixbank.commands.table import COMMANDS
from prefixbank.config.checking import Checked, check
from prefixbank.config.commands import EmbedConfig, RunExperimentConfig
from prefixbank.config.compose import compose, compose_task, conf_root
from prefixbank.config.schema import EncoderConfig

# Hundreds of compositions: a minute, on a busy machine several.
pytestmark = pytest.mark.timeout(400)

FILES = sorted(conf_root().rglob("*.yaml"))
IDS = [file.relative_to(conf_root()).as_posix() for file in FILES]

MISREAD = re.compile(
    r"(?i:yes|no|on|off|y|n|null|none|nan|~)|true|false|[+-]?0[0-9_]+|[0-9]+(:[0-9]+)+|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}"
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


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_file_begins_with_the_command_that_uses_it(file: Path):
    lines = file.read_text(encoding="utf-8").splitlines()
    first = lines[1] if lines[0] == "# @package _global_" else lines[0]
    assert first.startswith("# prefixbank ")


@pytest.mark.parametrize(
    "file", [file for file in FILES if file.parent.name == "experiment"], ids=lambda file: file.stem
)
def test_experiment_file_speaks_of_the_whole_config(file: Path):
    assert file.read_text(encoding="utf-8").splitlines()[0] == "# @package _global_"


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_file_has_no_scalar_that_is_misread(file: Path):
    assert misread(file.read_text(encoding="utf-8")) == []


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


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_file_names_no_code_and_no_resolver(file: Path):
    text = file.read_text(encoding="utf-8")
    assert "_target_" not in text and "${" not in text


@pytest.fixture(scope="module")
def findings() -> list[Checked]:
    """What `check` finds in the files of prefixbank."""
    return check([command.settings for command in COMMANDS])


def test_every_option_of_every_command_is_valid(findings: list[Checked]):
    assert {finding.what: str(finding.error) for finding in findings if finding.error} == {}


def test_every_option_is_checked(findings: list[Checked]):
    options = {f"{file.parent.name}={file.stem}" for file in FILES if file.parent != conf_root()}
    assert {finding.what.rpartition(" ")[2] for finding in findings} == options


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
