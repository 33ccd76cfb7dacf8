"""What a prefix artifact holds."""

from __future__ import annotations

from prefixbank.store.artifact import Entry

TENSORS, EMBEDDING = "prefix.safetensors", "task_embedding.safetensors"
"""The prefix, and as it stood early on in its training."""


def length_of(entry: Entry) -> int:
    """Return the slots of a prefix."""
    return int(entry.document["config"]["prefix"]["length"])


def called(entry: Entry) -> str:
    """Return what messages call a prefix."""
    return f"prefix '{entry.info['task']}' {entry.short_key}"
