"""One definition as code alone, and what it uses.

Names are read as what they stand for, so that neither the file of a definition nor the way in which
something is imported counts.
"""

from __future__ import annotations

import ast
import builtins
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.source import Module

PACKAGE = "prefixbank"

Scope = dict[str, str]
"""Names bound in a function or class: to what is imported under them, to nothing where local."""
Path = tuple[str, ...]
"""How to get at a value: a dotted name (`@` in front: an instance of it), then attributes, calls
`()`, what a loop gives `[]`, what is at an index `[i]`, and arithmetic `+`."""
Function = ast.FunctionDef | ast.AsyncFunctionDef
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
SEQUENCES = {
    "builtins.frozenset",
    "builtins.list",
    "builtins.set",
    *(f"collections.abc.{name}" for name in ("Iterable", "Iterator", "Sequence")),
}
MAPPINGS = {"builtins.dict", "collections.abc.Mapping"}
UNCLEAR = {"builtins.object", "typing.Any", "typing.Self", "collections.abc.Callable"}


def full_name(module: Module) -> str:
    """Dotted name with that of the package."""
    return f"{PACKAGE}.{module.name}".rstrip(".")


@dataclass
class Reader:
    """Reads one definition: its text, and on the way what it uses."""

    module: Module
    table: Scope
    """The module's own names."""
    modules: frozenset[str]
    within: str = ""
    """Name of the class that it is a method of."""
    names: set[str] = field(default_factory=set)
    calls: set[str] = field(default_factory=set)
    attributes: set[tuple[Path, str]] = field(default_factory=set)
    step: str = ""
    scopes: list[Scope] = field(default_factory=list)
    types: list[dict[str, Path]] = field(default_factory=list)

    def read(self, node: Any) -> Any:
        """Return a syntax tree as JSON, its global names as what they stand for."""
        match node:
            case list():
                kept = [one for one in node if not isinstance(one, ast.Import | ast.ImportFrom)]
                return [self.read(one) for one in kept]
            case ast.Name() | ast.Attribute() if path := self.path_of(node):
                return ["Global", self._use(path)]
            case ast.Attribute(value=value, attr=attr):
                self.attributes.add((self._way_to(value), attr))
            case ast.Call(func=func, keywords=keywords):
                self.calls.add(path := self.path_of(func))
                match [one.value for one in keywords if one.arg == "step"]:
                    case [ast.Constant(value=str(step))] if path.endswith(".document"):
                        self.step = step
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                return self._function(node)
            case ast.ClassDef():
                return self._body(node, _bound(node.body, self.module), {})
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                scope = _bound([one.target for one in node.generators], self.module)
                return self._scoped(node, scope, self._local_types(node.generators, scope, {}))
        return self._plain(node)

    def _plain(self, node: Any) -> Any:
        if not isinstance(node, ast.AST):
            return repr(node)
        fields = {name: value for name, value in ast.iter_fields(node) if value not in (None, [])}
        return [type(node).__name__, {name: self.read(value) for name, value in fields.items()}]

    def _scoped(self, node: Any, scope: Scope, types: dict[str, Path]) -> Any:
        self.scopes.append(scope)
        self.types.append(types)
        self.names.update(path for path in scope.values() if path in self.modules)
        text = self._plain(node)
        self.scopes.pop()
        self.types.pop()
        return text

    def _function(self, node: Function | ast.Lambda) -> Any:
        """Read a function: what stands outside its scope, and the rest in it."""
        args = [
            *node.args.posonlyargs,
            *node.args.args,
            *([node.args.vararg] if node.args.vararg else []),
            *node.args.kwonlyargs,
            *([node.args.kwarg] if node.args.kwarg else []),
        ]
        decorators = [] if isinstance(node, ast.Lambda) else node.decorator_list
        returns = None if isinstance(node, ast.Lambda) else node.returns
        outside = [self.read(one) for one in (node.args, decorators, returns) if one]
        plain = {node.args.vararg, node.args.kwarg}
        types = {
            one.arg: (f"@{path}",)
            for one in args
            if one not in plain and (path := self.type_in(one.annotation))
        }
        in_class = self.within and not self.scopes and not isinstance(node, ast.Lambda)
        if in_class and args and "staticmethod" not in decorators_of(node):
            types[args[0].arg] = (f"@{self.table[self.within]}",)
        body = node.body if isinstance(node.body, list) else [node.body]
        scope = _bound(body, self.module) | {one.arg: "" for one in args}
        given = self._local_types(body, scope, types)
        inside = ast.Module(body=_without_docstring(body), type_ignores=[])
        name = "" if isinstance(node, ast.Lambda) else node.name
        return [type(node).__name__, name, outside, self._scoped(inside, scope, given)]

    def _body(self, node: ast.ClassDef, scope: Scope, types: dict[str, Path]) -> Any:
        outside = [self.read(one) for one in (node.bases, node.keywords, node.decorator_list)]
        inside = ast.Module(body=_without_docstring(node.body), type_ignores=[])
        return ["ClassDef", node.name, outside, self._scoped(inside, scope, types)]

    def _local_types(
        self, body: Sequence[ast.AST], scope: Scope, types: dict[str, Path]
    ) -> dict[str, Path]:
        """Ways to the values of a scope's names: of these, and of those that are bound once."""
        nodes = list(walk_scope(body))
        counts = Counter(one.id for one in nodes if is_stored(one))
        found = dict(types)
        for node in nodes:
            match node:
                case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation):
                    if known := self.type_in(annotation):
                        found[name] = (f"@{known}",)
        self.scopes.append(scope)
        self.types.append(found)
        for name, (value, part) in _values(nodes):
            if counts[name] == 1 and name not in found and (way := self._way_to(value)):
                found[name] = (*way, part) if part else way
        self.scopes.pop()
        self.types.pop()
        return found

    def path_of(self, node: ast.AST | None) -> str:
        """Dotted name of a global thing; empty for what is local, or an attribute of a value."""
        match node:
            case ast.Name(id=name):
                found = (scope[name] for scope in reversed(self.scopes) if name in scope)
                return next(found, self.table.get(name, ""))
            case ast.Attribute(value=value, attr=attr):
                base = self.path_of(value)
                inside = base.startswith(f"{PACKAGE}.") or base == PACKAGE
                return f"{base}.{attr}" if base and (not inside or base in self.modules) else ""
        return ""

    def type_in(self, node: ast.AST | None) -> str:
        """The class that an annotation names, by dotted name, alone or `| None`; empty if unclear.

        In front of it stands `[]` for a sequence of them, `{}` for a mapping to them, and `()` for
        a function that returns one.
        """
        match node:
            case ast.BinOp(left=left, op=ast.BitOr(), right=ast.Constant(value=None)):
                return self.type_in(left)
            case ast.Constant(value=str(text)):
                return self.type_in(ast.parse(text, mode="eval").body)
            case ast.Subscript(value=value, slice=inside):
                base = self.path_of(value) or self.type_in(value)
                parts = inside.elts if isinstance(inside, ast.Tuple) else [inside]
                if base.startswith(f"{PACKAGE}."):
                    return base
                if base in MAPPINGS or base == "collections.abc.Callable":
                    kind = "{}" if base in MAPPINGS else "()"
                    return f"{kind}{self.type_in(parts[-1])}"
                if base == "builtins.tuple":
                    many = isinstance(inside, ast.Tuple) and ast.unparse(inside.elts[-1]) == "..."
                    return f"[]{self.type_in(inside.elts[0])}" if many else ""
                return f"[]{self.type_in(inside)}" if base in SEQUENCES else ""
            case ast.Name(id=name) if not self.path_of(node):
                local = any(name in scope for scope in self.scopes)
                return f"builtins.{name}" if not local and hasattr(builtins, name) else ""
        path = self.path_of(node)
        return path if path not in UNCLEAR else ""

    def _way_to(self, node: ast.AST) -> Path:
        """The way to a value; empty where it is not known."""
        if path := self.path_of(node):
            return (path,)
        match node:
            case ast.Name(id=name):
                scopes = zip(reversed(self.scopes), reversed(self.types), strict=True)
                return next((types.get(name, ()) for scope, types in scopes if name in scope), ())
            case ast.Constant(value=str()) | ast.JoinedStr():
                return ("@builtins.str",)
            case ast.Dict() | ast.List() | ast.Set() | ast.DictComp() | ast.ListComp():
                return ("@builtins.list",)
            case ast.Subscript(value=value, slice=ast.Slice()):
                return self._way_to(value)
        return self._way_on(node)

    def _way_on(self, node: ast.AST) -> Path:
        """The way to what is made of, or got from, another value."""
        match node:
            case ast.BinOp(left=value):
                return self._onward(value, "+")
            case ast.Attribute(value=value, attr=attr):
                return self._onward(value, attr)
            case ast.Call(func=func):
                return self._onward(func, "()")
            case ast.Subscript(value=value):
                return self._onward(value, "[i]")
        return ()

    def _onward(self, node: ast.AST, part: str) -> Path:
        way = self._way_to(node)
        return (*way, part) if way else ()

    def _use(self, path: str) -> str:
        """Note a global name, and return it without the module of this package that it is from."""
        self.names.add(path)
        return path if not path.startswith(f"{PACKAGE}.") else path.rpartition(".")[2]


def _values(nodes: Sequence[ast.AST]) -> Iterator[tuple[str, tuple[ast.AST, str]]]:
    """Names that are bound to values, each with the value, or what it is taken from and how."""
    for node in nodes:
        match node:
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=given)):
                pairs = zip(names, given, strict=False)
                yield from ((one.id, (to, "")) for one, to in pairs if isinstance(one, ast.Name))
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.NamedExpr(target=ast.Name(id=name), value=value)
            ):
                yield name, (value, "")
            case ast.For(target=target, iter=value) | ast.comprehension(target=target, iter=value):
                yield from _of_loop(target, value).items()


def _of_loop(target: ast.AST, value: ast.AST) -> dict[str, tuple[ast.AST, str]]:
    """Names that a loop binds, each with what it goes over and how its values come from that."""
    targets: list[Any] = target.elts if isinstance(target, ast.Tuple) else []
    given: list[tuple[ast.AST, str]] = []
    match value:
        case ast.Call(func=ast.Name(id="enumerate"), args=[over]) if targets:
            given = [(ast.Constant(value=0), ""), (over, "[]")]
        case ast.Call(func=ast.Name(id="zip"), args=args) if targets:
            given = [(over, "[]") for over in args]
        case ast.Call(func=ast.Attribute(value=over, attr="items")) if targets:
            given = [(ast.Constant(value=0), ""), (over, "[i]")]
        case _ if isinstance(target, ast.Name):
            targets, given = [target], [(value, "[]")]
    pairs = zip(targets, given, strict=False)
    return {one.id: way for one, way in pairs if isinstance(one, ast.Name)}


def _without_docstring(body: list[Any]) -> list[Any]:
    """A body without strings that stand alone: docstrings, also those of attributes."""
    return [
        one
        for one in body
        if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))
    ]


def walk_scope(nodes: Sequence[ast.AST]) -> Iterator[ast.AST]:
    """Every node of one scope; of functions, classes and comprehensions inside only the outside."""
    for node in nodes:
        yield node
        if isinstance(node, SCOPES):
            continue
        if isinstance(node, COMPREHENSIONS):
            inner = (one for one in ast.walk(node) if isinstance(one, ast.NamedExpr))
            yield from (one.target for one in inner)
            continue
        yield from walk_scope(list(ast.iter_child_nodes(node)))


def _bound(body: Sequence[ast.AST], module: Module) -> Scope:
    """Names that a scope binds: to what is imported under them, to nothing where local."""
    bound: Scope = {}
    outer: set[str] = set()
    for node in walk_scope(body):
        bound |= imports_of(node, module) if isinstance(node, ast.Import | ast.ImportFrom) else {}
        match node:
            case ast.Global(names=names) | ast.Nonlocal(names=names):
                outer.update(names)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                bound[name] = ""
            case ast.ClassDef(name=name) | ast.MatchStar(name=str(name)):
                bound[name] = ""
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                bound[name] = ""
            case ast.MatchMapping(rest=str(name)):
                bound[name] = ""
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                bound[name] = ""
    return {name: path for name, path in bound.items() if name not in outer}


def imports_of(node: ast.AST, module: Module) -> Scope:
    """Names that an import binds; in an `if` or `try` of imports alone, all of them."""
    folders = (PACKAGE, *module.path.split("/")[:-1])
    match node:
        case ast.Import(names=names):
            tops = [(alias, alias.name.split(".")[0]) for alias in names]
            return {one.asname or top: one.name if one.asname else top for one, top in tops}
        case ast.ImportFrom(module=base, names=names, level=level):
            start = folders[: len(folders) - level + 1] if level else ()
            whole = ".".join((*start, *([base] if base else [])))
            return {alias.asname or alias.name: f"{whole}.{alias.name}" for alias in names}
        case ast.If(body=body, orelse=orelse):
            inner = [imports_of(one, module) for one in (*body, *orelse)]
            return {name: path for one in inner for name, path in one.items()}
    return {}


def is_stored(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


def decorators_of(node: Function) -> set[str]:
    return {ast.unparse(one).split(".")[-1] for one in node.decorator_list}
