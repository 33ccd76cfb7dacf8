"""Compose every command with each option of each of its groups, and say what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from prefixbank.config import commands
from prefixbank.config.compose import groups, resolve
from prefixbank.config.faults import unknown_option
from prefixbank.config.overrides import Request
from prefixbank.config.settings import CONFIGS, Command, CommandConfig, names_at, typed_name
from prefixbank.errors import PrefixbankError, raise_faults


class Checked(NamedTuple):
    """One finding of `check`: what was composed, and what was wrong with it, if anything."""

    what: str
    error: PrefixbankError | None


def check(conf_dir: Path | None = None) -> list[Checked]:
    """Compose every command with each option of each of its groups, offline.

    What files leave open (`???`) may stay so.

    Raises:
        UsageError: `conf_dir` itself cannot be used.
    """
    options = groups(conf_dir)
    found: list[Checked] = []
    for command, config in CONFIGS.items():
        for group in names_at(config, ()):
            found += [
                _check_one(command, group, option, conf_dir) for option in options.get(group, [])
            ]
    return found


def _check_one(command: Command, group: str, option: str, conf_dir: Path | None) -> Checked:
    error: PrefixbankError | None = None
    try:
        config = resolve(command, Request(choices={group: option}), conf_dir, complete=False)
        tasks = groups(conf_dir)["task"]
        raise_faults(
            [
                unknown_option(command, "task", name, tasks, listed=True)
                for name in _tasks_in(config)
                if name not in tasks
            ]
        )
    except PrefixbankError as found:
        error = found
    return Checked(f"{typed_name(command)} {group}={option}", error)


def _tasks_in(config: CommandConfig) -> list[str]:
    """Return the tasks that settings name as files of `conf/task/`."""
    match config:
        case commands.RunExperimentConfig():
            return [*config.experiment.sources, *config.experiment.targets]
        case commands.TrainPrefixConfig():
            return list(config.task.mixture)
    return []
