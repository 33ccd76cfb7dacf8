"""Experiments on real tasks.

Every task that they name can be had from the hub, and their parts fit together.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from prefixbank.config.commands import RunExperimentConfig
from prefixbank.config.compose import compose, compose_task, groups
from tests.fixtures import merge_once, shared_settings  # noqa: F401

REAL = ("families", "transfer", "update")


def composed(experiment: str) -> RunExperimentConfig:
    return compose(RunExperimentConfig, [f"experiment={experiment}"])


def named(config: RunExperimentConfig) -> Iterator[str]:
    """Every task that an experiment speaks of."""
    experiment = config.experiment
    yield from (
        *experiment.sources,
        *experiment.targets,
        *filter(None, (experiment.update.add, experiment.update.refresh, experiment.update.remove)),
    )


@pytest.mark.parametrize("experiment", groups()["experiment"])
def test_experiment_names_tasks_that_can_be_had_without_a_folder_of_tasks(experiment: str):
    assert {compose_task(name).name for name in named(composed(experiment))} == set(
        named(composed(experiment))
    )


@pytest.mark.parametrize("experiment", REAL)
def test_real_tasks_come_from_the_hub(experiment: str):
    assert {compose_task(name).source for name in named(composed(experiment))} == {"hub"}


def test_update_adds_what_is_new_and_changes_what_is_there():
    experiment = composed("update").experiment
    assert experiment.update.add not in experiment.sources and {
        experiment.update.refresh,
        experiment.update.remove,
    } <= set(experiment.sources)


def test_update_probes_nothing():
    experiment = composed("update").experiment
    assert (experiment.targets, experiment.representations) == ((), ())


def test_update_trains_the_sources_of_transfer_as_transfer_does():
    transfer, update = composed("transfer"), composed("update")
    shared = (
        "prefix",
        "optim",
        "pooling",
        "max_length_tokens",
        "finetune",
        "multitask",
        "combine",
        "encoder",
    )
    assert [getattr(update, name) for name in shared] == [
        getattr(transfer, name) for name in shared
    ]
    assert update.experiment.sources == transfer.experiment.sources


@pytest.mark.parametrize(
    ("name", "kind", "classes"),
    [
        ("goemotions", "multilabel", 28),
        ("sick_r", "regression", 0),
        ("tweet_irony", "classification", 2),
        ("tweet_sentiment", "classification", 3),
        ("yelp_sent", "classification", 2),
    ],
)
def test_real_task_says_what_its_labels_are(name: str, kind: str, classes: int):
    task = compose_task(name)
    assert (task.kind, len(task.labels)) == (kind, classes)
