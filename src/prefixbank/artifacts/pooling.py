"""The pooling that an artifact was made with."""

from __future__ import annotations

from prefixbank.config.schema import PoolingConfig
from prefixbank.store.artifact import Entry


def pooling_of(entry: Entry) -> PoolingConfig:
    """Return the pooling of a prefix, a multi-task encoder or a bank."""
    return PoolingConfig(**entry.document["config"]["pooling"])
