"""Which functions of the package run while a step plans and makes its units, as Python itself says.

Knows nothing of how the guard derives a step's code, so that it can judge it.
"""

from __future__ import annotations

import inspect
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import prefixbank

PACKAGE_FOLDER = Path(prefixbank.__file__).parent
COMPREHENSIONS = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")


@dataclass(frozen=True, order=True, kw_only=True)
class Function:
    """A function of the package, by where it is."""

    path: str
    """Of its file, below the package."""
    line: int
    """Where it begins, decorators included."""
    name: str


@dataclass
class Trace:
    """Notes for each step the functions that ran while it planned, or made, a unit.

    What builds a `Unit` is that unit's plan; what a unit calls to be made is its maker, and what
    runs meanwhile, in any thread, is part of it.
    """

    ran: dict[str, set[Function]] = field(default_factory=lambda: defaultdict(set))
    """Step, as keys have it, to functions."""
    known: dict[CodeType, Function | None] = field(default_factory=dict)
    makers: dict[CodeType, str] = field(default_factory=dict)
    making: list[set[Function]] = field(default_factory=list)
    """What ran while each unit was made that is being made now."""
    local: threading.local = field(default_factory=threading.local)

    @contextmanager
    def on(self) -> Iterator[None]:
        """Trace what runs in the block."""
        before = sys.getprofile()
        threading.setprofile(self._note)
        sys.setprofile(self._note)
        try:
            yield
        finally:
            sys.setprofile(before)
            threading.setprofile(None)

    def _note(self, frame: FrameType, event: str, value: Any) -> None:
        if event not in ("call", "return"):
            return
        if frame.f_code.co_name == "<module>" and self._is_inside(frame.f_code):
            depth = 1 if event == "call" else -1
            self.local.importing = getattr(self.local, "importing", 0) + depth
        function = self._function(frame.f_code)
        if function is None or getattr(self.local, "importing", 0):
            return  # what a module does when it is imported is not what a step does
        stack = self.local.__dict__.setdefault("stack", [])
        if event == "call":
            self._begin(frame, function, stack)
        elif stack and stack[-1][0] is frame:
            self._end(frame, stack)

    def _begin(self, frame: FrameType, function: Function, stack: list[Any]) -> None:
        stack.append((frame, {function}, set()))
        if frame.f_code in self.makers:
            self.making.append(set())
        for ran in self.making:
            ran.add(function)
        if function.name == "Unit.__post_init__":
            unit, builder = frame.f_locals["self"], frame.f_back and frame.f_back.f_back
            while builder is not None and builder.f_code.co_name in COMPREHENSIONS:
                builder = builder.f_back
            for outer, _, steps in stack:
                if outer is builder:
                    steps.add(unit.document["step"])
                    self.makers[unit.make.__code__] = unit.document["step"]

    def _end(self, frame: FrameType, stack: list[Any]) -> None:
        _, ran, steps = stack.pop()
        if stack:
            stack[-1][1].update(ran)
        for step in steps:
            self.ran[step] |= ran
        if frame.f_code in self.makers:
            self.ran[self.makers[frame.f_code]] |= self.making.pop()

    def _function(self, code: CodeType) -> Function | None:
        """The function of a code object; None if it is no function of the package."""
        if code not in self.known:
            plain = code.co_flags & inspect.CO_OPTIMIZED and code.co_name not in COMPREHENSIONS
            function = None
            if plain and self._is_inside(code):
                path = Path(code.co_filename).relative_to(PACKAGE_FOLDER).as_posix()
                function = Function(path=path, line=code.co_firstlineno, name=code.co_qualname)
            self.known[code] = function
        return self.known[code]

    def _is_inside(self, code: CodeType) -> bool:
        """Whether code is of a file of the package."""
        return Path(code.co_filename).is_relative_to(PACKAGE_FOLDER)
