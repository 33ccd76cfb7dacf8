"""What a step's code is: all definitions that its plan and make functions lead to."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

from tests.source import Module
from tests.versions.definitions import LOOSE, Class, Definition, Source, read_module
from tests.versions.reader import PACKAGE, Path, full_name

VERSION = "VERSION"
UNIT = "Unit"
HASH_DIGITS = 12


@dataclass(frozen=True, kw_only=True)
class Reached:
    """What is reached, by dotted name, with what led to each (nothing to where it began)."""

    came_from: dict[str, str]

    def chain(self, path: str) -> list[str]:
        """The shortest way to a definition, from where it began."""
        way = [path]
        while before := self.came_from[way[-1]]:
            way.append(before)
        return way[::-1]


class Code:
    """The definitions of a package, and how they hang together."""

    def __init__(self, modules: Iterable[Module]) -> None:
        modules = tuple(modules)
        names = frozenset(map(full_name, modules))
        self.files = {full_name(module): module.path for module in modules}
        self.sources: dict[str, Source] = {
            full_name(module): read_module(module, names) for module in modules
        }
        self.definitions = {
            one.path: one for source in self.sources.values() for one in source.definitions.values()
        }

    @cached_property
    def subclasses(self) -> dict[str, set[str]]:
        """Class to those that have it as a base, at any distance."""
        found: dict[str, set[str]] = {}
        for path, one in self.definitions.items():
            for base in self.ancestors(path) if one.cls else ():
                found.setdefault(base, set()).add(path)
        return found

    @cached_property
    def open(self) -> tuple[str, ...]:
        """Classes that have a base of another package, at any distance."""
        classes = {path for path, one in self.definitions.items() if one.cls and one.cls.is_open}
        below = (self.subclasses.get(path, set()) for path in classes)
        return tuple(sorted(classes.union(*below)))

    def find(self, dotted: str) -> Definition | None:
        """The definition that a dotted name stands for, re-exports followed."""
        for _ in range(10):
            if found := self.definitions.get(dotted):
                return found
            module, _, name = dotted.rpartition(".")
            source = self.sources.get(module)
            if source is None or name not in source.imports:
                return None
            dotted = source.imports[name]
        return None

    def ancestors(self, path: str) -> Iterator[str]:
        """A class and its bases of this package, nearest first."""
        cls = self.definitions[path].cls
        if cls is not None:
            yield path
            for base in cls.bases:
                if found := self.find(base):
                    yield from self.ancestors(found.path)

    def _type_at(self, way: Path) -> str:
        """The class of what a way leads to, or the class itself, by dotted name; empty: unknown.

        What is in front of it is that of `Definition.returns`.
        """
        if not way:
            return ""
        value, type_ = (None, way[0][1:]) if way[0].startswith("@") else (self.find(way[0]), "")
        for part in way[1:]:
            value, type_ = self._step(value, self._known(type_), part)
        return self._known(type_) or (value.path if value is not None and value.cls else "")

    def _known(self, type_: str) -> str:
        """A type with the class of this package that it stands for; empty if that is no class."""
        if type_[:2] in ("[]", "{}", "()"):
            return type_
        if not type_.startswith(f"{PACKAGE}."):
            return type_
        found = self.find(type_)
        return found.path if found and found.cls else ""

    def _step(
        self, value: Definition | None, type_: str, part: str
    ) -> tuple[Definition | None, str]:
        """One part of a way further, from a definition or an instance of a type to such."""
        inside = type_[2:]
        match part, type_[:2]:
            case "()", _ if value is not None:
                return None, value.path if value.cls else value.returns
            case ("[]", "[]") | ("[i]", "[]") | ("[i]", "{}") | ("()", "()"):
                return None, inside
            case "values", "{}":
                return None, f"()[]{inside}"
            case "+", _ if type_ not in self.definitions:
                return None, type_
            case (("[]" | "[i]" | "()" | "+"), _):
                return None, ""
        path = value.path if value is not None else type_
        if path not in self.definitions or self.definitions[path].cls is None:
            return None, ""
        if member := self._member(path, part):
            return (None, member.returns) if member.is_property else (member, "")
        return None, self._field(path, part) if value is None else ""

    def _member(self, path: str, attribute: str) -> Definition | None:
        """The method of this name that a class has."""
        ways = (self.definitions.get(f"{one}.{attribute}") for one in self.ancestors(path))
        return next((one for one in ways if one is not None), None)

    def _field(self, path: str, attribute: str) -> str:
        """The class that the annotation of an attribute names."""
        for one in self.ancestors(path):
            fields = self._cls(one).fields
            if attribute in fields:
                return fields[attribute]
        return ""

    def _cls(self, path: str) -> Class:
        cls = self.definitions[path].cls
        assert cls is not None
        return cls

    def owners(self, way: Path, attribute: str) -> tuple[str, tuple[str, ...]] | None:
        """The method that an attribute is, and subclasses that may have another.

        None where that may be a method of any class.
        """
        path = self._type_at(way)
        if path and path not in self.definitions:
            return "", self.open
        if not path:
            return None
        classes = [self._cls(one) for one in self.ancestors(path)]
        known = any(attribute in one.methods or attribute in one.fields for one in classes)
        if not known or any(one.is_protocol for one in classes):
            return None
        method = self._member(path, attribute)
        return method.path if method else "", tuple(sorted(self.subclasses.get(path, ())))

    @cached_property
    def twice_defined(self) -> set[str]:
        """Names of functions, classes and constants that more than one module defines."""
        counts = Counter(one.name for one in self.definitions.values() if "." not in one.name)
        return {name for name, count in counts.items() if count > 1}

    def digest(self, path: str) -> str:
        """Short hash of a definition. A name that several modules define counts as what it is."""
        one = self.definitions[path]
        used = (self.find(name) for name in sorted(one.names))
        other = {
            f"{found.name} {found.text}"
            for found in used
            if found and found.name in self.twice_defined
        }
        return sha256("\n".join([one.text, *sorted(other)]).encode()).hexdigest()[:HASH_DIGITS]

    def reach(self, *starts: str) -> Reached:
        """Follow names from some definitions."""
        return _Walk(self).run(starts)

    @cached_property
    def versions(self) -> dict[str, int]:
        """Dotted name of each `VERSION = <integer>` to its value."""
        found = {}
        for source in self.sources.values():
            if isinstance(value := source.constants.get(VERSION), int):
                found[f"{source.name}.{VERSION}"] = value
        return found

    @cached_property
    def plans(self) -> dict[str, set[str]]:
        """Each step's version by dotted name, and the functions that plan a unit of that step.

        A function that builds a unit belongs to the step whose version is nearest to it.
        """
        plans: dict[str, set[str]] = {path: set() for path in self.versions}
        units = {path for path, one in self.definitions.items() if one.name == UNIT}
        for path, one in self.definitions.items():
            if units.intersection(found.path for call in one.calls if (found := self.find(call))):
                nearest = next((to for to in self.reach(path).came_from if to in plans), None)
                if nearest is not None:
                    plans[nearest].add(path)
        return plans

    def step_name(self, version: str) -> str:
        """What the step of a version is called in keys."""
        source = self.sources[version.rpartition(".")[0]]
        literal = {one.step for one in source.definitions.values()} - {""}
        called = source.constants.get("STEP")
        named = (
            called.replace("-", "_") if isinstance(called, str) else source.name.rpartition(".")[2]
        )
        return literal.pop() if len(literal) == 1 else named

    @cached_property
    def steps(self) -> dict[str, Step]:
        """The steps by name."""
        found = {}
        for path, plans in self.plans.items():
            reached = self.reach(*sorted(plans))
            name = self.step_name(path)
            assert name not in found, f"two steps are called {name}"
            file = self.files[path.rpartition(".")[0]]
            found[name] = Step(
                version=self.versions[path], file=file, plans=frozenset(plans), reached=reached
            )
        return found

    @property
    def step_files(self) -> dict[str, str]:
        """Where the version of each step is, below the package."""
        return {name: step.file for name, step in self.steps.items()}


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step: its version, the functions that plan its units, and its code."""

    version: int
    file: str
    plans: frozenset[str]
    reached: Reached


class _Walk:
    """Follows names, nearest first.

    A method of a reached class is reached if reached code uses an attribute of its name. Where it
    is known whose attribute that is, only the methods of that class and its subclasses count.
    """

    def __init__(self, code: Code) -> None:
        self.code = code
        self.came_from: dict[str, str] = {}
        self.waiting: deque[str] = deque()
        self.classes: dict[str, set[str]] = {}
        """Method name to the reached classes that have it."""
        self.by_name: dict[str, str] = {}
        self.typed: dict[str, str] = {}

    def run(self, starts: Iterable[str]) -> Reached:
        for start in starts:
            self._add(start, "")
        while self.waiting:
            self._follow(self.code.definitions[self.waiting.popleft()])
        return Reached(came_from=self.came_from)

    def _add(self, path: str, user: str) -> None:
        if path in self.code.definitions and path not in self.came_from:
            self.came_from[path] = user
            self.waiting.append(path)

    def _follow(self, one: Definition) -> None:
        self._add(f"{one.module}.{LOOSE}", one.path)
        for name in sorted(one.names):
            if name in self.code.sources:
                self._add(f"{name}.{LOOSE}", one.path)
            elif found := self.code.find(name):
                self._add(found.path, one.path)
        for way, attribute in sorted(one.attributes):
            self._use(way, attribute, one.path)
        if one.cls is not None:
            self._enter(one.path, one.cls)
        elif "." in one.name:
            self._add(one.path.rpartition(".")[0], one.path)

    def _use(self, way: Path, attribute: str, user: str) -> None:
        owners = self.code.owners(way, attribute)
        if owners is None:
            self.by_name.setdefault(attribute, user)
            for path in sorted(self.classes.get(attribute, ())):
                self._add(f"{path}.{attribute}", user)
            return
        nearest, below = owners
        if nearest:
            self._add(nearest, user)
        for path in below:
            method = f"{path}.{attribute}"
            self.typed.setdefault(method, user)
            if path in self.classes.get(attribute, ()):
                self._add(method, user)

    def _enter(self, path: str, cls: Class) -> None:
        for name in sorted(cls.methods):
            self.classes.setdefault(name, set()).add(path)
            method = f"{path}.{name}"
            if name in cls.implicit:
                self._add(method, path)
            elif user := self.by_name.get(name) or self.typed.get(method):
                self._add(method, user)
