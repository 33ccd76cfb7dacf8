"""Whether the refs of an artifact's inputs have moved since it was made."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

from prefixbank.artifacts.pooling import pooling_in
from prefixbank.config.settings import written
from prefixbank.errors import DamagedError, UsageError
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON
from prefixbank.store.store import Store


def origin_of(store: Store, ref: str, entry: Entry) -> JSON:
    """Return what a bank under a name was made `from`: refs and keys, and what they were `named`.

    Names that older versions set do not say it; the bank then has it of whoever made it first.
    """
    named = store.ref(*ref.split("/", 1))
    return (named.facts if named is not None else {}) or entry.info


def moved_refs(store: Store, origin: JSON) -> Iterator[tuple[str, str, str]]:
    """Yield (ref, old key, new key) for each input of a bank whose ref now has other bytes."""
    for ref, old in origin.get("from", {}).items():
        kind, name = ref.split("/", 1)
        now = store.ref(kind, name)
        if now is not None and now.key != old and not _same_bytes(store, old, now.key):
            yield ref, old, now.key


def moved_since(store: Store, ref: str, entry: Entry) -> tuple[JSON, list[tuple[str, str, str]]]:
    """Return what a bank under a name was made of, and what of it has moved: see `moved_refs`.

    Looked up in the store that has the bank's name, since others may have prefixes of the same
    names.
    """
    home = store.home_of(*ref.split("/", 1))
    origin = origin_of(home, ref, entry)
    return origin, list(moved_refs(home, origin))


def _same_bytes(store: Store, one: str, other: str) -> bool:
    try:
        first, second = store.get(one), store.get(other)
    except DamagedError:
        return False
    return first is not None and second is not None and first.digest == second.digest


def refresh_command(ref: str, entry: Entry, origin: JSON) -> str:
    """Return the command that combines the bank again from its current prefixes."""
    names = ",".join(origin["named"])
    combine, pooling = entry.document["config"]["combine"], entry.document["config"]["pooling"]
    setting = "plain" if combine["rule"] == "blocks" else "normalize_weights"
    settings = [
        f"combine={combine['rule']}",
        f"combine.{setting}={str(combine[setting]).lower()}",
    ]
    if combine["weights"]:
        settings.append(f"'combine.weights={list(combine['weights'])}'")
    if not pooling_in(pooling).is_learned:  # which is then that of the prefixes
        settings += _pooling_settings(pooling)
    return (
        f"prefixbank combine 'prefixes=[{names}]' name={ref.split('/', 1)[1]} {' '.join(settings)}"
    )


def _pooling_settings(pooling: JSON) -> list[str]:
    """Return the settings of a pooling that is not learned."""
    position = pooling["position"]
    settings = [
        _setting("pooling.position", position)
        if isinstance(position, list)
        else f"pooling={position}"
    ]
    settings += [
        _setting(f"pooling.{name}", pooling[name])
        for name in ("layers", "last_k", "layer")
        if pooling["layers"] != "last"
    ]
    if pooling["norm"] != "none":
        settings.append(f"pooling.norm={pooling['norm']}")
    if pooling.get("skip_first"):
        settings.append("pooling.skip_first=true")
    return settings


def _setting(name: str, value: Any) -> str:
    """Return `KEY=VALUE`, quoted for a shell."""
    return shlex.quote(f"{name}={written(value)}")


def refuse_stale(store: Store, ref: str, entry: Entry) -> None:
    """Refuse a bank if one of its prefixes was trained again since it was combined.

    Raises:
        UsageError: names the command that combines it again.
    """
    origin, refs = moved_since(store, ref, entry)
    moved = [f"{name} was {old[:8]} and is now {new[:8]}" for name, old, new in refs]
    if moved:
        refresh = refresh_command(ref, entry, origin)
        raise UsageError(
            f"{ref} is stale: {', '.join(moved)}",
            expected="a bank of the current prefixes",
            fix=f"{refresh}    or use it as it is: bank={entry.key[:8]}",
        )
