"""The pooling that an artifact was made with, and what was learned of it."""

from __future__ import annotations

from dataclasses import asdict

from prefixbank.config.schema import PoolingConfig, effective
from prefixbank.config.settings import written
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON


def pooling_of(entry: Entry) -> PoolingConfig:
    """Return the pooling of a prefix, a multi-task encoder, a student or a bank."""
    return pooling_in(entry.document["config"]["pooling"])


def pooling_in(described: JSON) -> PoolingConfig:
    """Return pooling settings as JSON holds them, where tuples are lists."""
    values: JSON = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in described.items()
    }
    return PoolingConfig(**values)


def describe_pooling(pooling: PoolingConfig) -> str:
    """Return the position and layers of a pooling, and its other settings that have an effect."""
    default, own = asdict(effective(PoolingConfig())), asdict(effective(pooling))
    return " ".join(
        f"{name}={written(value)}"
        for name, value in own.items()
        if name in ("position", "layers") or value != default[name]
    )


def contradicts(pooling: PoolingConfig, own: PoolingConfig) -> bool:
    """Whether settings that were given differ from the pooling that something has already."""
    return pooling != PoolingConfig() and effective(pooling) != own
