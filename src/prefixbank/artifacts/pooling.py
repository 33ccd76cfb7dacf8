"""The pooling that an artifact was made with, and what was learned of it."""

from __future__ import annotations

from prefixbank.config.schema import PoolingConfig
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON


def pooling_of(entry: Entry) -> PoolingConfig:
    """Return the pooling of a prefix, a multi-task encoder or a bank."""
    return pooling_in(entry.document["config"]["pooling"])


def pooling_in(described: JSON) -> PoolingConfig:
    """Return pooling settings as JSON holds them, where tuples are lists."""
    values: JSON = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in described.items()
    }
    return PoolingConfig(**values)
