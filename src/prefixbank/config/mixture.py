"""Several tasks in place of one (`task.mixture`).

What does not go with that, and how its tasks are found.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import fields, replace

from prefixbank.config.schema import TaskConfig
from prefixbank.config.settings import Command, CommandConfig
from prefixbank.errors import PrefixbankError, UsageError, raise_faults

OF_EACH = ("max_rows", "max_validation_rows")
"""Settings of a task that a mixture has for each of its tasks."""


def mixture_faults(command: Command, config: CommandConfig | None) -> list[UsageError]:
    """Return what is wrong with `task.mixture`.

    In a command without one, beside a data set, a task alone or named twice.
    """
    task = getattr(config, "task", None)
    if task is None:
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
    if command != "train_prefix":
        expected = "one task; a mixture is only for prefixbank train-prefix"
        return [
            UsageError(
                f"{_written(names)} where a single task is wanted",
                expected=expected,
                fix=f"task={names[0]}",
            )
        ]
    found = []
    if beside := [
        one.name
        for one in fields(TaskConfig)
        if one.name not in ("mixture", "size_cap", *OF_EACH) and _is_set(task, one.name)
    ]:
        what = (
            f"{_written(names)} beside a data set of its own "
            f"({', '.join(f'task.{name}' for name in beside)})"
        )
        found.append(
            UsageError(
                what,
                expected="task= or task.mixture=",
                fix=f"drop task= and its settings, and keep {_quoted(once)}",
            )
        )
    if len(once) < len(names):
        twice = ", ".join(name for name in once if names.count(name) > 1)
        expected = "each task once (how often its rows are shown follows from their number)"
        found.append(
            UsageError(f"task.mixture names {twice} twice", expected=expected, fix=_quoted(once))
        )
    if len(once) == 1:
        expected = "two tasks or more"
        found.append(
            UsageError(
                f"{_written(names)} is a single task",
                expected=expected,
                fix=f"prefixbank train-prefix task={once[0]}",
            )
        )
    return found


def find_tasks(names: Sequence[str], find_task: Callable[[str], TaskConfig]) -> list[TaskConfig]:
    """Find several tasks; those that are not there are reported together."""
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
    """Find the tasks of a mixture; a limit of rows that it has is that of each of them."""
    limits = {name: getattr(mixture, name) for name in OF_EACH if getattr(mixture, name)}
    return [replace(task, **limits) for task in find_tasks(mixture.mixture, find_task)]


def _is_set(task: TaskConfig, name: str) -> bool:
    return bool(getattr(task, name) != getattr(TaskConfig(), name))


def _written(names: Sequence[str]) -> str:
    return f"task.mixture=[{','.join(names)}]"


def _quoted(names: Sequence[str]) -> str:
    return shlex.quote(_written(names))
