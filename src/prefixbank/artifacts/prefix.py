"""Prefix artifacts: their files, and how messages describe them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from prefixbank.artifacts.json_files import read_json
from prefixbank.names import is_name
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON
from prefixbank.store.store import Store

SCORE, PREDICTIONS = "score.json", "predictions.safetensors"
"""Files of a prefix's test score."""

TENSORS, EMBEDDING = "prefix.safetensors", "task_embedding.safetensors"
"""The trained prefix, and the task embedding: the prefix after the first steps of training."""


def block_file(index: int) -> str:
    """Return the file of a source's read-outs in a bank of blocks.

    It has the bytes that the prefix's own artifact has.
    """
    return f"{index}.{TENSORS}"


def length_of(entry: Entry) -> int:
    """Return the length of a prefix, in slots."""
    return int(entry.document["config"]["prefix"]["length"])


def label_of(entry: Entry) -> str:
    """Return how messages name a prefix."""
    return f"prefix '{entry.info['task']}' {entry.short_key}"


def ref_of(store: Store, kind: str, text: str) -> str:
    """Return the ref that `text` names, empty if there is none: `text` is then a key."""
    name = text.removeprefix(f"{kind}/")
    return f"{kind}/{name}" if is_name(name) and store.ref(kind, name) is not None else ""


def setting_of(names: Sequence[str]) -> str:
    """Return the setting that selects these tasks, as typed in a shell."""
    return (
        f"task={names[0]}" if len(names) == 1 else shlex.quote(f"task.mixture=[{','.join(names)}]")
    )


def setting_in(facts: JSON) -> str:
    """Return the setting that selects the tasks of a prefix, from its facts."""
    return setting_of(facts.get("tasks", [facts.get("task", "NAME")]))


def describe_scores(names: Sequence[str], result: JSON) -> str:
    """Return the validation scores, mean and of each task, and the truncation if there was any.

    Those of a student's teacher stand beside its own.
    """
    each = [f"{name} {_score(task)}" for name, task in zip(names, result["tasks"], strict=True)]
    return f"validation mean {_score(result)}: {', '.join(each)}{describe_truncation(result)}"


def _score(result: JSON) -> str:
    of_teacher = result.get("teacher_validation")
    beside = "" if of_teacher is None else f" (teacher {of_teacher:.3f})"
    return f"{result['validation']:.3f}{beside}"


def warn_nothing_learned(prefixes: Iterable[Entry]) -> str:
    """Return a warning that names the tasks of which prefixes learned nothing, empty if none.

    Their validation score is not above that of one answer for all rows, so far as that is known.
    """
    tasks = [task for prefix in prefixes for task in _tasks_not_learned(prefix)]
    return f", warning: nothing learned of {', '.join(tasks)}" if tasks else ""


def _tasks_not_learned(entry: Entry) -> list[str]:
    """Return the tasks, each with the score of one answer for all rows."""
    constant = entry.info.get("constant_scores", [])
    if not constant or entry.document["config"]["optim"]["epochs"] == 0:
        return []
    result = read_json(entry, "result.json")
    return [
        f"{name} (the same answer to every text scores {of_constant:.3f})"
        for name, task, of_constant in zip(
            entry.info.get("tasks", [entry.info["task"]]),
            result.get("tasks", [result]),
            constant,
            strict=True,
        )
        if task["validation"] <= of_constant
    ]


def describe_truncation(result: JSON) -> str:
    """Return the share of truncated rows as text, empty if there were none."""
    return (
        f", {result['truncated_share']:.1%} of rows truncated" if result["truncated_share"] else ""
    )
