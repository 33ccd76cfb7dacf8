"""What scripts that measure on an experiment's tasks share: their arguments, and their result."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from prefixbank.commands.functions import experiment_of
from prefixbank.commands.invocation import Invocation
from prefixbank.config.commands import RunExperimentConfig
from prefixbank.config.compose import compose
from prefixbank.runtime.context import Context
from prefixbank.runtime.events import Event
from prefixbank.studies.graph import Experiment


def run_study(
    description: str | None, measure: Callable[[Context, Experiment], Mapping[str, Any]]
) -> None:
    """Parse settings of `prefixbank run`, measure, print the result as JSON, and keep it.

    Args:
        description: of the script.
        measure: takes the context and the experiment.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("settings", nargs="+", help="KEY=VALUE, as of prefixbank run")
    parser.add_argument("--store")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_intermixed_args()
    config = compose(RunExperimentConfig, asked.settings)
    invocation = Invocation(store=asked.store, emit=_show)
    with invocation.context(config.run) as context:
        result = measure(context, experiment_of(config, invocation))
    text = json.dumps(result, indent=1) + "\n"
    if asked.out is not None:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(text, encoding="utf-8")
    print(text, end="")


def _show(event: Event) -> None:
    """Print what is made."""
    if event.kind in ("miss", "done"):
        print(f"{event.step} {event.name} {event.kind} {event.text}", flush=True)
