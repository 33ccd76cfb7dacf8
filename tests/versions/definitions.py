"""The package as definitions: functions, classes, methods and constants, each with what it uses.

A definition is kept as text that changes with its code alone: not with comments, docstrings,
layout, nor with the file that it, or what it uses, is defined in.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from tests.source import Module
from tests.versions.reader import (
    PACKAGE,
    Function,
    Path,
    Reader,
    Scope,
    decorators_of,
    full_name,
    imports_of,
    is_stored,
    walk_scope,
)

LOOSE = ""
"""Name of what a module does when it is imported, beside defining things."""


Statement = Function | ast.ClassDef | ast.stmt
PLAIN_DECORATORS = {"property", "staticmethod", "classmethod", "cached_property", "override"}
PLAIN_BASES = {
    "abc.ABC",
    "typing.Generic",
    "typing.NamedTuple",
    "typing.Protocol",
    "typing.TypedDict",
}


@dataclass(frozen=True, kw_only=True)
class Class:
    """What a class says about its attributes."""

    bases: tuple[str, ...]
    """Dotted names, of this package and of others."""
    methods: frozenset[str]
    implicit: frozenset[str]
    """Methods that may be called without being named: by Python, a decorator or a foreign base."""
    fields: dict[str, str]
    """Attributes that its body names, and the class that their annotation names, if any."""
    is_protocol: bool
    is_open: bool
    """Whether a base is of another package, so that not all attributes are known."""


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A function, class (without its methods), method, or constant."""

    module: str
    """Full dotted name."""
    name: str
    """Within the module: `Bank.passes`."""
    text: str
    names: frozenset[str]
    """Dotted names of what it uses."""
    calls: frozenset[str]
    """Those of them that it calls."""
    attributes: frozenset[tuple[Path, str]]
    """Attributes that it uses, each with the way to what has them; `()` where that is unknown."""
    returns: str = ""
    """The class that its return annotation names."""
    is_property: bool = False
    cls: Class | None = None
    step: str = ""
    """The step that it writes a key document of, where it says so literally."""

    @property
    def path(self) -> str:
        """Full dotted name."""
        return f"{self.module}.{self.name}"


@dataclass(frozen=True, kw_only=True)
class Source:
    """A module: its definitions by name, and what it imports: name to full dotted name."""

    name: str
    definitions: dict[str, Definition]
    imports: Scope
    constants: dict[str, object]
    """Values of literals."""


@cache
def read_module(module: Module, modules: frozenset[str]) -> Source:
    """Read the definitions of one module of a package of these `modules`, by full dotted name."""
    name, tree = full_name(module), module.tree
    imports, found = dict[str, str](), dict[str, list[Any]]()
    for node in tree.body:
        if bound := imports_of(node, module):
            imports |= bound
        for given, part in _parts(node):
            found.setdefault(given, []).append(part)
    table = {given: f"{name}.{given}" for given in found if given} | imports
    definitions = {}
    for given, parts in found.items():
        if isinstance(parts[-1], ast.ClassDef):
            definitions |= _class(given, parts[-1], Reader(module, table, modules))
        else:
            definitions[given] = _definition(given, parts, Reader(module, table, modules))
    constants = {}
    for given, parts in found.items():
        literal = parts[-1][-1] if isinstance(parts[-1], list) else parts[-1]
        if isinstance(literal, ast.Constant):
            constants[given] = literal.value
    return Source(name=name, definitions=definitions, imports=imports, constants=constants)


def _parts(node: Statement) -> Iterator[tuple[str, Any]]:
    """Definitions in a top-level statement, by name: the statement, or its part for that name."""
    match node:
        case ast.Import() | ast.ImportFrom():
            return
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name, node
        case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=value):
            yield name, [annotation, value]
        case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
            pairs = zip(targets, values, strict=True)
            yield from ((one.id, value) for one, value in pairs if isinstance(one, ast.Name))
        case ast.Assign(targets=targets, value=value):
            names = [one.id for one in ast.walk(node) if is_stored(one)]
            single = len(names) == 1 and all(isinstance(one, ast.Name) for one in targets)
            yield from ((name, value if single else node) for name in names or [LOOSE])
        case ast.Expr(value=ast.Constant()):
            return
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return
        case _:
            names = [one.id for one in ast.walk(node) if is_stored(one)]
            yield from ((name, node) for name in {*names, LOOSE})


def _definition(name: str, parts: Sequence[Any], reader: Reader, **more: Any) -> Definition:
    text = json.dumps([reader.read(part) for part in parts])
    function = parts[-1] if isinstance(parts[-1], Function) else None
    return Definition(
        module=full_name(reader.module),
        name=name,
        text=text,
        names=frozenset(reader.names),
        calls=frozenset(reader.calls),
        attributes=frozenset(reader.attributes),
        returns=reader.type_in(function.returns) if function else "",
        is_property=bool(function and {"property", "cached_property"} & decorators_of(function)),
        step=reader.step,
        **more,
    )


def _class(name: str, node: ast.ClassDef, reader: Reader) -> dict[str, Definition]:
    """The class without its methods, and each method."""
    methods: dict[str, list[Any]] = {}
    for one in node.body:
        if isinstance(one, Function):
            methods.setdefault(one.name, []).append(one)
    bases = tuple(reader.path_of(one) for one in node.bases if reader.path_of(one))
    fields = {
        one.target.id: reader.type_in(one.annotation)
        for one in node.body
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
    }
    assigned = {one.id: "" for part in node.body for one in ast.walk(part) if is_stored(one)}
    foreign = {base for base in bases if not base.startswith(f"{PACKAGE}.")} - PLAIN_BASES
    decorated = {
        given
        for given, parts in methods.items()
        for part in parts
        if not decorators_of(part) <= PLAIN_DECORATORS
    }
    implicit = {given for given in methods if given.startswith("__") and given.endswith("__")}
    described = Class(
        bases=bases,
        methods=frozenset(methods),
        implicit=frozenset(methods if foreign else implicit | decorated),
        fields={**assigned, **_set_at_start(methods.get("__init__", ()), reader), **fields},
        is_protocol="typing.Protocol" in bases,
        is_open=bool(foreign),
    )
    rest = ast.ClassDef(
        name=name,
        bases=node.bases,
        keywords=node.keywords,
        body=[one for one in node.body if not isinstance(one, Function)],
        decorator_list=node.decorator_list,
    )
    ast.copy_location(rest, node)
    of_class = Reader(reader.module, reader.table, reader.modules)
    found = {name: _definition(name, [rest], of_class, cls=described)}
    for given, parts in methods.items():
        of_method = Reader(reader.module, reader.table, reader.modules, within=name)
        found[f"{name}.{given}"] = _definition(f"{name}.{given}", parts, of_method)
    return found


def _set_at_start(init: Sequence[Function], reader: Reader) -> dict[str, str]:
    """Attributes that `__init__` sets, with their class where it is that of an argument."""
    found: dict[str, str] = {}
    for function in init:
        args = (*function.args.args, *function.args.kwonlyargs)
        types = {one.arg: reader.type_in(one.annotation) for one in args}
        for node in walk_scope(function.body):
            match node:
                case ast.AnnAssign(target=ast.Attribute(attr=attr), annotation=annotation):
                    found[attr] = reader.type_in(annotation)
                case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
                    found |= _given(targets, values, types)
                case ast.Assign(targets=[ast.Attribute() as target], value=value):
                    found |= _given([target], [value], types)
    return found


def _given(
    targets: Sequence[ast.AST], values: Sequence[ast.AST], types: dict[str, str]
) -> dict[str, str]:
    """Attributes that are set, with the types of the arguments that they are set to."""
    return {
        target.attr: types.get(value.id, "") if isinstance(value, ast.Name) else ""
        for target, value in zip(targets, values, strict=True)
        if isinstance(target, ast.Attribute)
    }
