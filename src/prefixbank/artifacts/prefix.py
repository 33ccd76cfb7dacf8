"""Prefix artifacts: their files, and how messages describe them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

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
    """Return the validation scores, mean and of each task, and the truncation if there was any."""
    each = [
        f"{name} {task['validation']:.3f}"
        for name, task in zip(names, result["tasks"], strict=True)
    ]
    mean = f"validation mean {result['validation']:.3f}"
    return f"{mean}: {', '.join(each)}{describe_truncation(result)}"


def describe_truncation(result: JSON) -> str:
    """Return the share of truncated rows as text, empty if there were none."""
    return (
        f", {result['truncated_share']:.1%} of rows truncated" if result["truncated_share"] else ""
    )
