"""Several tasks in place of one (`task.mixture`): how they are checked, and how they are found."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import fields, replace

from prefixbank.config.commands import CommandConfig, TrainPrefixConfig
from prefixbank.config.schema import TaskConfig
from prefixbank.errors import PrefixbankError, UsageError, raise_faults

PER_TASK = ("max_rows", "max_validation_rows")
"""Settings that a mixture passes on to each of its tasks."""


def mixture_faults(config: CommandConfig | None) -> list[UsageError]:
    """Return what is wrong with `task.mixture`.

    A command that takes a single task, a data set beside the mixture, a single task, a task twice.
    """
    task = getattr(config, "task", None)
    if not isinstance(task, TaskConfig):
        return []
    if not task.mixture:
        what = f"task.size_cap={task.size_cap} without task.mixture"
        fault = UsageError(
            what,
            expected="several tasks that it can cap",
            fix="drop it    or task.max_rows for the rows of one task",
        )
        return [fault] if _is_set(task, "size_cap") else []
    names, once = task.mixture, list(dict.fromkeys(task.mixture))
    if not isinstance(config, TrainPrefixConfig):
        expected = "one task; only prefixbank train-prefix takes a mixture"
        return [
            UsageError(
                f"{_written(names)} where a single task is wanted",
                expected=expected,
                fix=f"task={names[0]}",
            )
        ]
    faults = []
    if beside := [
        one.name
        for one in fields(TaskConfig)
        if one.name not in ("mixture", "size_cap", *PER_TASK) and _is_set(task, one.name)
    ]:
        what = (
            f"{_written(names)} beside a data set of its own "
            f"({', '.join(f'task.{name}' for name in beside)})"
        )
        faults.append(
            UsageError(
                what,
                expected="task= or task.mixture=",
                fix=f"drop task= and its settings, and keep {_quoted(once)}",
            )
        )
    if len(once) < len(names):
        twice = ", ".join(name for name in once if names.count(name) > 1)
        expected = "each task once (how often its rows are shown follows from their number)"
        faults.append(
            UsageError(f"task.mixture names {twice} twice", expected=expected, fix=_quoted(once))
        )
    if len(once) == 1:
        expected = "two tasks or more"
        faults.append(
            UsageError(
                f"{_written(names)} is a single task",
                expected=expected,
                fix=f"prefixbank train-prefix task={once[0]}",
            )
        )
    return faults


def find_tasks(names: Sequence[str], find_task: Callable[[str], TaskConfig]) -> list[TaskConfig]:
    """Find tasks by name. All names that are not found are reported together."""
    found: list[TaskConfig] = []
    faults: list[PrefixbankError] = []
    for name in names:
        try:
            found.append(find_task(name))
        except UsageError as error:
            faults.append(error)
    raise_faults(faults)
    return found


def tasks_of(mixture: TaskConfig, find_task: Callable[[str], TaskConfig]) -> list[TaskConfig]:
    """Find the tasks of a mixture. Its row limits apply to each of them."""
    limits = {name: getattr(mixture, name) for name in PER_TASK if getattr(mixture, name)}
    return [replace(task, **limits) for task in find_tasks(mixture.mixture, find_task)]


def _is_set(task: TaskConfig, name: str) -> bool:
    return bool(getattr(task, name) != getattr(TaskConfig(), name))


def _written(names: Sequence[str]) -> str:
    return f"task.mixture=[{','.join(names)}]"


def _quoted(names: Sequence[str]) -> str:
    return shlex.quote(_written(names))
