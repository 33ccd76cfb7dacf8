"""What a prefix artifact holds."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON
from prefixbank.store.names import is_name
from prefixbank.store.store import Store

TENSORS, EMBEDDING = "prefix.safetensors", "task_embedding.safetensors"
"""The prefix, and as it stood early on in its training."""


def length_of(entry: Entry) -> int:
    """Return the slots of a prefix."""
    return int(entry.document["config"]["prefix"]["length"])


def called(entry: Entry) -> str:
    """Return what messages call a prefix."""
    return f"prefix '{entry.info['task']}' {entry.short_key}"


def ref_of(store: Store, kind: str, text: str) -> str:
    """Return the ref that `text` names, empty if it is a key (a ref wins over a key)."""
    name = text.removeprefix(f"{kind}/")
    return f"{kind}/{name}" if is_name(name) and store.ref(kind, name) is not None else ""


SCORE, PREDICTIONS = "score.json", "predictions.safetensors"


def setting_of(names: Sequence[str]) -> str:
    """Return the setting that asks for these tasks, as it is typed."""
    return (
        f"task={names[0]}" if len(names) == 1 else shlex.quote(f"task.mixture=[{','.join(names)}]")
    )


def setting_in(facts: JSON) -> str:
    """Return the setting that asks for what a prefix was trained on, from its facts."""
    return setting_of(facts.get("tasks", [facts.get("task", "NAME")]))


def scores_told(names: Sequence[str], result: JSON) -> str:
    """Return the validation scores, mean and of each task, as the line of an artifact says them.

    With truncation, if there was any.
    """
    each = [
        f"{name} {task['validation']:.3f}"
        for name, task in zip(names, result["tasks"], strict=True)
    ]
    return f"validation mean {result['validation']:.3f}: {', '.join(each)}{cut_told(result)}"


def cut_told(result: JSON) -> str:
    """Return the share of truncated rows, if there were any."""
    return (
        f", {result['truncated_share']:.1%} of rows truncated" if result["truncated_share"] else ""
    )
