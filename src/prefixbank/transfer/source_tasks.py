"""The tasks of source prefixes, to train one prefix on several of them.

Source: Vu et al. 2022 (2110.07904), section 3, "top-k multi-task mixture".
"""

from __future__ import annotations

from collections.abc import Sequence

from prefixbank.artifacts.json_files import read_json
from prefixbank.artifacts.prefix import setting_in
from prefixbank.config.schema import TaskConfig
from prefixbank.config.validate import validate
from prefixbank.data.tasks.task import Task
from prefixbank.errors import PrefixbankError, UsageError, raise_faults
from prefixbank.runtime.session import Session
from prefixbank.steps.train_prefix.mixture import Mixture
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON

SIZE_CAP = TaskConfig().size_cap
"""Size cap of the mixture, the default of `task.size_cap`."""


def kind_of(source: Entry) -> str:
    """Return the kind of task that a prefix was trained on."""
    result = read_json(source, "result.json")
    kind: str = result["kind"] if "kind" in result else result["tasks"][0]["kind"]
    return kind


def of_nearest_kind(order: Sequence[int], kinds: Sequence[str], k: int) -> list[int]:
    """Return the k nearest sources of the same kind as the nearest: a mixture is of one kind.

    Args:
        order: indices of sources, the nearest first.
        kinds: kind of each source.
        k: how many to return; fewer if there are fewer.
    """
    return [index for index in order if kinds[index] == kinds[order[0]]][:k]


def mixture_behind(session: Session, sources: Sequence[Entry]) -> Mixture:
    """Load the tasks that prefixes were trained on, each once.

    Raises:
        UsageError: prefixes without an origin, or their rows have changed since training.
    """
    tasks: dict[str, Task] = {}
    faults: list[PrefixbankError] = [
        fault for source in sources if (fault := without_origins(source)) is not None
    ]
    raise_faults(faults)
    for source in sources:
        loaded = [session.task_at(_config_of(origin)) for origin in source.info["origins"]]
        if Mixture(tasks=tuple(loaded)).examples != source.document["inputs"]["examples"]:
            faults.append(_other_rows(source))
        tasks |= {task.digest("train", "validation"): task for task in loaded}
    raise_faults(faults)
    return Mixture(tasks=tuple(tasks.values()), size_cap=SIZE_CAP)


def _config_of(origin: JSON) -> TaskConfig:
    config, wrong = validate(TaskConfig, origin, lambda path: None)
    raise_faults(wrong)
    assert config is not None
    return config


def without_origins(source: Entry) -> UsageError | None:
    """Return the fault of a prefix without an origin, None if it has one."""
    if source.info.get("origins"):
        return None
    return UsageError(
        f"prefix '{source.info['task']}' {source.short_key} does not say where its rows are: they "
        "were in memory, or an older version trained it",
        expected="the rows of each source, to train on several together",
        fix=(
            f"prefixbank train-prefix {setting_in(source.info)} --force    "
            "with its other settings makes it again"
        ),
    )


def _other_rows(source: Entry) -> UsageError:
    return UsageError(
        f"the rows that prefix '{source.info['task']}' {source.short_key} was trained on have "
        "changed",
        expected="the rows of each source, to train on several together",
        fix=f"prefixbank train-prefix {setting_in(source.info)}    trains it on the current rows",
    )
