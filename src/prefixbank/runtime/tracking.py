"""Log a learning curve to TensorBoard or Weights & Biases, through accelerate's trackers."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from prefixbank.config.running import RunConfig
from prefixbank.config.schema import MultitaskRecipe, PrefixRecipe
from prefixbank.core.training.settings import FitEvent
from prefixbank.errors import UsageError

MODULES = {"tensorboard": "tensorboard", "wandb": "wandb"}


@contextmanager
def tracked(
    run: RunConfig,
    name: str,
    recipe: PrefixRecipe | MultitaskRecipe,
    on_event: Callable[[FitEvent], None],
) -> Iterator[Callable[[FitEvent], None]]:
    """Yield a listener that passes events to `on_event` and logs them to the tracker of `run`.

    Raises:
        UsageError: the tracker's package is not installed.
    """
    if run.tracker == "none":
        yield on_event
        return
    if importlib.util.find_spec(MODULES[run.tracker]) is None:
        raise UsageError(
            f"run.tracker={run.tracker}, but the package {MODULES[run.tracker]} is not installed",
            expected="the package of the tracker",
            fix=(
                f"pip install 'prefixbank[{run.tracker}]'    "
                "or run.tracker=none (the curve is in the artifact either way)"
            ),
        )
    from accelerate.tracking import TensorBoardTracker, WandBTracker

    tracker = (
        TensorBoardTracker(name, str(Path(run.tracker_dir).expanduser()))
        if run.tracker == "tensorboard"
        else WandBTracker(name)
    )
    tracker.start()
    own = recipe.prefix if isinstance(recipe, PrefixRecipe) else recipe.multitask
    tracker.store_init_configuration({"seed": recipe.seed, **asdict(own), **asdict(recipe.optim)})

    def listen(event: FitEvent) -> None:
        on_event(event)
        if event.validated is not None:
            return
        values = (
            {"loss": event.loss, "lr": event.lr}
            if event.validation is None
            else {"validation": event.validation}
        )
        tracker.log(values, step=event.step)

    try:
        yield listen
    finally:
        tracker.finish()
