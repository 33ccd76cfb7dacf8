"""Which splits of a task a probe needs."""

from __future__ import annotations

from prefixbank.config.schema import ProbeConfig
from prefixbank.data.tasks.task import SPLITS


def splits_of(config: ProbeConfig) -> tuple[str, ...]:
    """Return the splits of a task whose rows a probe needs."""
    return (
        SPLITS if config.score_on == "test" else tuple(split for split in SPLITS if split != "test")
    )
