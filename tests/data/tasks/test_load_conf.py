"""The task files of `conf/task`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import TypeAdapter

from prefixbank.choices import Kind
from prefixbank.config.commands import TrainPrefixConfig
from prefixbank.config.compose import compose, compose_task
from prefixbank.config.schema import TaskConfig
from prefixbank.core.stats.metrics import METRICS_OF
from prefixbank.errors import UsageError

FOLDER = Path(__file__).parents[3] / "conf" / "task"
HUB = sorted(
    path.stem
    for path in FOLDER.glob("*.yaml")
    if path.stem != "hub" and "source: hub" in path.read_text(encoding="utf-8")
)
NAMES = [*HUB, "files", "folder"]
GLUE = {"cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli"}


def document(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return loaded


def config_of(name: str) -> TaskConfig:
    return TypeAdapter(TaskConfig).validate_json(json.dumps(document(name)))


def leaves(values: dict[str, Any], path: str = "") -> dict[str, Any]:
    """Nested settings by dotted name."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= leaves(value, f"{path}{key}.") if isinstance(value, dict) else {path + key: value}
    return found


def test_conf_has_the_benchmarks_users_ask_for():
    others = {
        "yelp_polarity",
        "boolq",
        "wic",
        "cb",
        "snli",
        "ag_news",
        "trec",
        "subj",
        "mr",
        "cr",
        "mpqa",
    }
    assert (GLUE | others) - set(HUB) == set()


@pytest.mark.parametrize("name", NAMES)
def test_conf_task_holds_only_what_differs_from_the_defaults(name: str):
    default = leaves(asdict(TaskConfig()))
    same = {key for key, value in leaves(document(name)).items() if default[key] == value}
    assert same == ({"source"} if name == "folder" else set())


@pytest.mark.parametrize("name", [*NAMES, "hub"])
def test_conf_task_begins_with_the_command_that_uses_it(name: str):
    first = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first.split()[:4] == ["#", "prefixbank", "train-prefix", f"task={name}"]


@pytest.mark.parametrize("name", NAMES)
def test_conf_task_composes_to_what_the_file_says(name: str):
    assert compose_task(name) == config_of(name)


def test_data_set_of_the_hub_needs_its_id_alone():
    settings = ("task.hub_id=me/mood", "encoder=tiny")
    named = compose(TrainPrefixConfig, [*settings, "task=hub"])
    assert named.task == TaskConfig(source="hub", hub_id="me/mood")
    assert compose(TrainPrefixConfig, settings) == named
    with pytest.raises(UsageError, match="task.hub_id is not given"):
        compose(TrainPrefixConfig, ["task=hub", "encoder=tiny"])


@pytest.mark.parametrize("name", HUB)
def test_conf_task_is_complete(name: str):
    config = config_of(name)
    complete = [
        config.name == name,
        "/" in config.hub_id,
        config.metric in METRICS_OF[config.kind],
        config.kind in get_args(Kind),
    ]
    assert [*complete, (len(config.labels) > 1) is (config.kind != "regression")] == [True] * 5


@pytest.mark.parametrize("name", sorted(GLUE - {"mrpc"} | {"boolq", "wic", "cb"}))
def test_conf_task_with_hidden_test_labels_reports_on_validation(name: str):
    splits = config_of(name).splits
    assert (splits.validation, splits.test.removesuffix("_matched")) == ("", "validation")
