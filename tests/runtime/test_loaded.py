"""What stays loaded."""

from __future__ import annotations

from prefixbank.runtime.loaded import LruCache


def test_values_used_last_are_kept():
    made: list[str] = []

    def make(name: str) -> str:
        made.append(name)
        return name.upper()

    cache: LruCache[str, str] = LruCache(2)
    assert [cache.get(name, lambda name=name: make(name)) for name in "abacab"] == list("ABACAB")
    assert made == list("abcb")
