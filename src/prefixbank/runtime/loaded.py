"""What a session keeps loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    pass


T = TypeVar("T")

ENCODERS_KEPT = 2
"""A study goes through many fine-tuned encoders, one after the other, and comes back to the frozen
one."""


class LruCache(Generic[T]):
    """The things used last, by name; the one that was not used for longest makes room."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._things: dict[str, T] = {}

    def get(self, name: str, make: Callable[[], T]) -> T:
        """Return the thing of this name, made if it is not there."""
        thing = self._things.pop(name) if name in self._things else make()
        self._things[name] = thing
        if len(self._things) > self._size:
            del self._things[next(iter(self._things))]
        return thing
