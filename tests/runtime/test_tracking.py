"""Learning curves mirrored to a tracker."""

from __future__ import annotations

import pytest

from prefixbank.config.running import RunConfig
from prefixbank.config.schema import MultitaskConfig, MultitaskRecipe, OptimConfig, PrefixRecipe
from prefixbank.core.training.settings import FitEvent
from prefixbank.errors import UsageError
from prefixbank.runtime import tracking
from prefixbank.runtime.tracking import tracked

STEP = FitEvent(step=1, total_steps=2, epoch=0, loss=0.7, lr=0.1)
PART = FitEvent(step=2, total_steps=2, epoch=0, loss=float("nan"), lr=0.0, validated=0.5)
EPOCH = FitEvent(step=2, total_steps=2, epoch=1, loss=0.6, lr=0.0, validation=0.5)
RECIPE = PrefixRecipe(seed=3, optim=OptimConfig(lr=0.25))


class Tracker:
    """Stands for a tracker of accelerate, and remembers what it is told."""

    made: list[Tracker] = []

    def __init__(self, *args: str) -> None:
        self.args, self.started, self.finished = args, False, False
        self.settings: dict[str, object] = {}
        self.logged: list[tuple[dict[str, float], int]] = []
        Tracker.made.append(self)

    def start(self) -> None:
        self.started = True

    def store_init_configuration(self, values: dict[str, object]) -> None:
        self.settings = values

    def log(self, values: dict[str, float], step: int) -> None:
        self.logged.append((values, step))

    def finish(self) -> None:
        self.finished = True


@pytest.fixture
def trackers(monkeypatch) -> list[Tracker]:
    """Both trackers replaced, their packages taken for installed."""
    monkeypatch.setattr(Tracker, "made", [])
    monkeypatch.setattr("accelerate.tracking.TensorBoardTracker", Tracker)
    monkeypatch.setattr("accelerate.tracking.WandBTracker", Tracker)
    monkeypatch.setattr(tracking, "MODULES", {"tensorboard": "json", "wandb": "json"})
    return Tracker.made


def follow(run: RunConfig, heard: list[FitEvent]) -> None:
    with tracked(run, "alpha", RECIPE, heard.append) as listener:
        for event in (STEP, PART, EPOCH):
            listener(event)


@pytest.mark.parametrize("tracker", ["none", "tensorboard", "wandb"])
def test_events_reach_the_listener_whatever_the_tracker(trackers, tracker):
    heard: list[FitEvent] = []
    follow(RunConfig(tracker=tracker), heard)
    assert heard == [STEP, PART, EPOCH] and len(trackers) == (tracker != "none")


def test_tracker_gets_loss_rate_and_validation_by_step_and_nothing_between(trackers):
    follow(RunConfig(tracker="tensorboard"), [])
    assert trackers[0].logged == [({"loss": 0.7, "lr": 0.1}, 1), ({"validation": 0.5}, 2)]


def test_tracker_gets_the_settings(trackers):
    follow(RunConfig(tracker="wandb"), [])
    assert (trackers[0].settings["seed"], trackers[0].settings["lr"]) == (3, 0.25)


def test_tracker_gets_the_settings_of_multitask_training(trackers):
    recipe = MultitaskRecipe(seed=3, multitask=MultitaskConfig(sampling="uniform"))
    with tracked(RunConfig(tracker="wandb"), "both", recipe, lambda event: None):
        pass
    assert (trackers[0].settings["seed"], trackers[0].settings["sampling"]) == (3, "uniform")


@pytest.mark.parametrize(
    ("tracker", "args"), [("tensorboard", ("alpha", "here")), ("wandb", ("alpha",))]
)
def test_tracker_is_named_after_the_task(trackers, tracker, args):
    follow(RunConfig(tracker=tracker, tracker_dir="here"), [])
    assert trackers[0].args == args and trackers[0].started


def test_tracker_is_finished_when_training_fails(trackers):
    with (
        pytest.raises(RuntimeError),
        tracked(RunConfig(tracker="wandb"), "alpha", RECIPE, lambda event: None),
    ):
        raise RuntimeError
    assert trackers[0].finished


@pytest.mark.parametrize("tracker", ["tensorboard", "wandb"])
def test_tracker_whose_package_is_missing_is_refused(monkeypatch, tracker):
    monkeypatch.setattr(tracking, "MODULES", {tracker: "no_such_package"})
    with pytest.raises(UsageError) as caught:
        follow(RunConfig(tracker=tracker), [])
    assert caught.value.fix.startswith(f"pip install 'prefixbank[{tracker}]'")
