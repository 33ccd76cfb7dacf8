"""Compose every command with each option of each of its groups, and report what is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from prefixbank.config.commands import CommandConfig, RunExperimentConfig, TrainPrefixConfig
from prefixbank.config.compose import groups, resolve
from prefixbank.config.faults import unknown_option
from prefixbank.config.overrides import Request
from prefixbank.config.settings import names_at
from prefixbank.errors import PrefixbankError, raise_faults


class Checked(NamedTuple):
    """One composition that was tried, and its error if it failed."""

    what: str
    error: PrefixbankError | None


def check(commands: Iterable[type[CommandConfig]], conf_dir: Path | None = None) -> list[Checked]:
    """Compose commands with each option of each of their groups, offline.

    Values that files leave open (`???`) are no faults.

    Args:
        commands: the settings classes of the commands.
        conf_dir: a user's folder of YAML files.

    Raises:
        UsageError: `conf_dir` itself cannot be used.
    """
    options = groups(conf_dir)
    return [
        _check_one(settings, group, option, conf_dir)
        for settings in commands
        for group in names_at(settings, ())
        for option in options.get(group, [])
    ]


def _check_one(
    settings: type[CommandConfig], group: str, option: str, conf_dir: Path | None
) -> Checked:
    error: PrefixbankError | None = None
    try:
        config = resolve(settings, Request(choices={group: option}), conf_dir, complete=False)
        tasks = groups(conf_dir)["task"]
        raise_faults(
            [
                unknown_option(settings, "task", name, tasks, listed=True)
                for name in _tasks_in(config)
                if name not in tasks
            ]
        )
    except PrefixbankError as fault:
        error = fault
    return Checked(f"{settings.command} {group}={option}", error)


def _tasks_in(config: CommandConfig) -> list[str]:
    """Return the tasks that settings name as files of `conf/task/`."""
    match config:
        case RunExperimentConfig():
            return [*config.experiment.sources, *config.experiment.targets]
        case TrainPrefixConfig():
            return list(config.task.mixture)
    return []
