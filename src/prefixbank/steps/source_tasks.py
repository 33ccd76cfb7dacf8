"""The tasks behind source prefixes, to train one prefix on several of them together.

Source: Vu et al. 2022 (2110.07904), section 3, "top-k multi-task mixture".
"""

from __future__ import annotations

from collections.abc import Sequence

from prefixbank.config.schema import TaskConfig
from prefixbank.config.validate import validate
from prefixbank.data.tasks import Task
from prefixbank.errors import PrefixbankError, UsageError, raise_faults
from prefixbank.steps.context import Context
from prefixbank.steps.json_files import read_json
from prefixbank.steps.mixture import Mixture
from prefixbank.store.artifact import Entry

SIZE_CAP = TaskConfig().size_cap


def kind_of(source: Entry) -> str:
    """Return the kind of labels that a prefix was trained on."""
    result = read_json(source, "result.json")
    kind: str = result["kind"] if "kind" in result else result["tasks"][0]["kind"]
    return kind


def of_nearest_kind(order: Sequence[int], kinds: Sequence[str], k: int) -> list[int]:
    """Return the first k places whose kind is that of the first one: a mixture is of one kind.

    Args:
        order: places of sources, the nearest first.
        kinds: kind of each source, by place.
        k: how many to take; fewer if there are fewer.
    """
    return [place for place in order if kinds[place] == kinds[order[0]]][:k]


def mixture_behind(context: Context, sources: Sequence[Entry]) -> Mixture:
    """Load the tasks that prefixes were trained on, each once.

    Raises:
        UsageError: prefixes that do not say where their rows are, or other rows than they were trained on are there now.
    """
    tasks: dict[str, Task] = {}
    faults: list[PrefixbankError] = []
    for source in sources:
        found = [context.task(_config_of(origin)) for origin in source.info.get("origins", ())]
        if not found or Mixture(tasks=tuple(found)).examples != source.document["inputs"]["examples"]:
            faults.append(_other_rows(source, is_known=bool(found)))
        tasks |= {task.digest("train", "validation"): task for task in found}
    raise_faults(faults)
    return Mixture(tasks=tuple(tasks.values()), size_cap=SIZE_CAP)


def _config_of(origin: object) -> TaskConfig:
    config, wrong = validate(TaskConfig, origin, lambda path: None)  # type: ignore[arg-type]  # JSON
    raise_faults(wrong)
    assert config is not None
    return config


def _other_rows(source: Entry, *, is_known: bool) -> UsageError:
    name = source.info["task"]
    what = "is not what is there now" if is_known else "is not known: an older version trained it"
    return UsageError(
        f"what prefix '{name}' {source.short_key} was trained on {what}",
        expected="the rows of each source, to train on several together",
        fix=f"prefixbank train-prefix task={name}    trains it again",
    )
