"""Settings that were given and have no effect beside the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from prefixbank.choices import UNTRAINED_INITS
from prefixbank.config.settings import written


def without_effect(config: Any, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the settings without an effect, each with what would give it one.

    Args:
        config: the settings of a command.
        names: of those that were given: `prefix.mlp_hidden_size`.
    """
    for name in names:
        *path, last = name.split(".")
        group = config
        for part in path:
            group = getattr(group, part, None)
        conditions = {
            field.name: field.metadata.get("only_with", {})
            for field in (fields(group) if is_dataclass(group) else ())
        }.get(last, {})
        for other, values in conditions.items():
            given = getattr(group, other)
            # `prefix.init` may name a prefix, for which `prefix` stands in these conditions.
            names_one = other == "init" and given not in UNTRAINED_INITS
            if ("prefix" if names_one else given) not in values:
                wanted = " or ".join(".".join([*path, f"{other}={written(one)}"]) for one in values)
                yield name, wanted
