"""The package as text: its modules, what they import, and what the repository holds.

Imports nothing of the package.
"""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "prefixbank"


@dataclass(frozen=True, kw_only=True)
class Module:
    """One Python file: its path below the package (`core/fit.py`) and its text."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, filename=self.path)

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        return tuple(ast.walk(self.tree))

    @property
    def name(self) -> str:
        """Dotted name below the package: `core.fit`, and `core` for `core/__init__.py`."""
        return self.path.removesuffix(".py").removesuffix("__init__").rstrip("/").replace("/", ".")


@cache
def package_modules() -> tuple[Module, ...]:
    """Every module of the package, in order of path."""
    return tuple(
        Module(path=file.relative_to(PACKAGE).as_posix(), text=file.read_text(encoding="utf-8"))
        for file in sorted(PACKAGE.rglob("*.py"))
    )


def imported_names(module: Module) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of everything a module imports, inside functions and for type
    checking too.

    `from a.b import c` gives `a.b.c`; relative imports are made absolute; `import_module("a")` with
    a literal counts as well.
    """
    folders = ("prefixbank", *module.path.split("/")[:-1])
    for node in module.nodes:
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(module=base, names=names, level=level):
                start = folders[: len(folders) - level + 1] if level else ()
                whole = ".".join((*start, *([base] if base else [])))
                yield from ((node.lineno, f"{whole}.{alias.name}") for alias in names)
            case ast.Call(args=[ast.Constant(value=str(name)), *_]) if ast.unparse(
                node.func
            ).endswith(("import_module", "__import__")):
                yield node.lineno, name


def repository_files() -> tuple[Path, ...]:
    """What is, or is about to be, in version control.

    In an unpacked source distribution every file of it.
    """
    if not (ROOT / ".git").exists():
        tops = [path for path in ROOT.iterdir() if not path.name.startswith(".")]
        below = [file for top in tops for file in (top.rglob("*") if top.is_dir() else [top])]
        return tuple(
            sorted(file for file in below if file.is_file() and "__pycache__" not in file.parts)
        )
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        encoding="utf-8",
    )
    return tuple(
        path
        for name in sorted(set(listed.stdout.split("\0")))
        if name and (path := ROOT / name).is_file()
    )
