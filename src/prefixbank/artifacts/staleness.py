"""Whether an artifact is still made of what its inputs' refs point at."""

from __future__ import annotations

from collections.abc import Iterator

from prefixbank.errors import DamagedError, UsageError
from prefixbank.store.artifact import Entry
from prefixbank.store.store import Store


def moved_refs(store: Store, entry: Entry) -> Iterator[tuple[str, str, str]]:
    """Yield (ref, key then, key now) for each input of `entry` whose ref has other bytes now."""
    for ref, then in entry.info.get("from", {}).items():
        kind, name = ref.split("/", 1)
        now = store.ref(kind, name)
        if now is not None and now.key != then and not _same_bytes(store, then, now.key):
            yield ref, then, now.key


def _same_bytes(store: Store, one: str, other: str) -> bool:
    try:
        first, second = store.get(one), store.get(other)
    except DamagedError:
        return False
    return first is not None and second is not None and first.digest == second.digest


def refresh_command(ref: str, entry: Entry) -> str:
    """Return the command that combines the bank `ref` again from the names of its prefixes."""
    names = ",".join(entry.info["named"])
    combine, pooling = entry.document["config"]["combine"], entry.document["config"]["pooling"]
    settings = [
        f"combine={combine['rule']}",
        f"combine.normalize_weights={str(combine['normalize_weights']).lower()}",
        f"pooling={pooling['position']}",
    ]
    if combine["weights"]:
        settings.append(f"'combine.weights={list(combine['weights'])}'")
    settings += [
        f"pooling.{name}={pooling[name]}"
        for name in ("layers", "last_k", "layer")
        if pooling["layers"] != "last"
    ]
    return (
        f"prefixbank combine 'prefixes=[{names}]' name={ref.split('/', 1)[1]} {' '.join(settings)}"
    )


def refuse_stale(store: Store, ref: str, entry: Entry) -> None:
    """Refuse a bank whose prefixes were trained anew since it was combined.

    Raises:
        UsageError: with the command that combines it again.
    """
    moved = [
        f"{name} was {then[:8]} and is now {now[:8]}"
        for name, then, now in moved_refs(store, entry)
    ]
    if moved:
        raise UsageError(
            f"{ref} is stale: {', '.join(moved)}",
            expected="a bank of the current prefixes",
            fix=f"{refresh_command(ref, entry)}    or use it as it is: bank={entry.key[:8]}",
        )
