"""Experiments that mean nothing."""

from __future__ import annotations

import pytest

from prefixbank.config.commands import ExperimentConfig, UpdateConfig
from prefixbank.errors import Faults, UsageError
from prefixbank.studies.checks import check_experiment, has_update

GOOD = {"sources": ("alpha", "beta"), "targets": ("gamma",)}


def check(**settings) -> None:
    check_experiment(ExperimentConfig(**{**GOOD, **settings}), "concat_prefixes")


def test_experiment_of_the_usual_kind_is_accepted():
    check()


def test_experiment_of_variants_alone_is_accepted():
    check(representations=(), variants={"bits": ("plain", "vectors=binary")}, single_seed=("bits",))


def test_experiment_without_targets_is_accepted_when_it_measures_an_update():
    check(targets=(), representations=(), update=UpdateConfig(add="gamma"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"sources": ()}, "without sources, without seeds, or without targets"),
        ({"targets": ()}, "without sources, without seeds, or without targets"),
        ({"seeds": ()}, "without sources, without seeds, or without targets"),
        ({"sources": ("alpha", "beta", "alpha")}, "experiment.sources names alpha twice"),
        ({"seeds": (1, 2, 1)}, "experiment.seeds names 1 twice"),
        (
            {"representations": ("plain", "bank", "plain")},
            "experiment.representations names plain twice",
        ),
        ({"targets": ("alpha",)}, "alpha among both sources and targets"),
        ({"representations": ()}, "targets, but no representations"),
        ({"representations": ("single",)}, "targets, but no representations"),
        ({"single_seed": ("shuffled",)}, "experiment.single_seed names shuffled"),
        ({"variants": {"bits": ()}}, "experiment.variants.bits begins with ''"),
        ({"variants": {"bits": ("plane",)}}, "no representation; did you mean 'plain'?"),
        ({"variants": {"a b": ("plain",)}}, "experiment.variants has the name 'a b'"),
        ({"variants": {"bank": ("plain",)}}, "experiment.variants has the name 'bank'"),
        (
            {"representations": ("plain", "leave_one_out")},
            "leave_one_out without the bank of all sources",
        ),
        (
            {"sources": ("alpha",), "representations": ("plain", "bank", "leave_one_out")},
            "leave_one_out with a single source",
        ),
        ({"update": UpdateConfig(add="alpha")}, "experiment.update.add=alpha is already a source"),
        (
            {"update": UpdateConfig(refresh="gamma")},
            "experiment.update.refresh=gamma is not a source",
        ),
        (
            {"update": UpdateConfig(remove="gamma")},
            "experiment.update.remove=gamma is not a source",
        ),
        (
            {"sources": ("alpha",), "update": UpdateConfig(remove="alpha")},
            "experiment.update.remove with a single source",
        ),
    ],
)
def test_experiment_that_means_nothing_is_refused(settings, said):
    with pytest.raises(UsageError, match=said):
        check(**settings)


def test_faults_are_told_together():
    with pytest.raises(Faults) as caught:
        check(seeds=(1, 1), update=UpdateConfig(add="alpha"))
    assert len(caught.value.faults) == 2


@pytest.mark.parametrize("change", ["add", "refresh", "remove"])
def test_each_change_is_an_update(change):
    assert has_update(
        ExperimentConfig(update=UpdateConfig(**{change: "alpha"}))
    ) and not has_update(ExperimentConfig())
