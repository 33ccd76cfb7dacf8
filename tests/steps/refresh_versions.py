"""Fingerprints of the code behind each step: python -m tests.steps.refresh_versions writes them to versions.json.

A step's `VERSION` is part of every key, so it has to rise when the step's code can give another result. The recorded fingerprints make
that a decision: they change with the code (not with comments, docstrings or layout), and a test fails until they are recorded again.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.source import Module, imported_names, package_modules

RECORD = Path(__file__).with_name("versions.json")
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
REFRESH = "python -m tests.steps.refresh_versions"


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What is recorded of a step."""

    version: int
    code: str
    """SHA-256 of the syntax trees, hexadecimal."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step module's own statement: its version and the modules (dotted, below the package) whose change can change results."""

    module: Module
    version: int
    code: tuple[str, ...]


def assigns(node: ast.stmt, name: str) -> bool:
    """Whether a statement is an assignment to this name."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return any(isinstance(target, ast.Name) and target.id == name for target in targets)


def constant(module: Module, name: str) -> object:
    """Value of a top-level assignment of a literal, or None."""
    return next((ast.literal_eval(node.value) for node in module.tree.body if assigns(node, name)), None)


def find_steps(modules: Iterable[Module]) -> dict[str, Step]:
    """The steps among the modules, by name: those in steps/ that define `VERSION`."""
    steps = {}
    for module in modules:
        version = constant(module, "VERSION") if module.path.startswith("steps/") else None
        if isinstance(version, int):
            code = constant(module, "CODE")
            name = module.name.removeprefix("steps.")
            steps[name] = Step(module=module, version=version, code=code if isinstance(code, tuple) else ())
    return steps


def canonical(node: object) -> object:
    """Return a syntax tree as JSON without docstrings, places and empty fields, so that all supported Python versions agree."""
    if isinstance(node, ast.AST):
        fields = dict(ast.iter_fields(node))
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            fields["body"] = fields["body"][1:]
        return [type(node).__name__, {name: canonical(value) for name, value in fields.items() if value not in (None, [])}]
    if isinstance(node, list):
        return [canonical(item) for item in node]
    return repr(node)


def fingerprint(step: Step, modules: Mapping[str, Module]) -> str:
    """SHA-256 over the step's module, without its `VERSION` line, and the modules of its `CODE`."""
    trees = {name: canonical(modules[name].tree) for name in step.code}
    own = step.module.tree
    own.body = [node for node in own.body if not assigns(node, "VERSION")]
    trees[step.module.name] = canonical(own)
    return hashlib.sha256(json.dumps(trees, sort_keys=True).encode("utf-8")).hexdigest()


def unlisted(step: Step, modules: Mapping[str, Module]) -> set[str]:
    """Modules of core/ that the step, or a module of its `CODE`, imports and `CODE` does not name."""
    reached = {
        ".".join(name.split(".")[1:3])
        for module in (step.module, *(modules[name] for name in step.code))
        for _, name in imported_names(module)
        if name.startswith("prefixbank.core.")
    }
    return reached.intersection(modules) - set(step.code)


def current(modules: Iterable[Module]) -> dict[str, Recorded]:
    """What should be recorded for each step."""
    modules = tuple(modules)
    by_name = {module.name: module for module in modules}
    return {name: Recorded(version=step.version, code=fingerprint(step, by_name)) for name, step in find_steps(modules).items()}


def read_record(path: Path = RECORD) -> dict[str, Recorded]:
    """What is recorded; nothing if there is no file yet."""
    document = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {name: Recorded(**entry) for name, entry in document.items()}


def write_record(steps: Mapping[str, Recorded], path: Path = RECORD) -> None:
    """Record the steps, in order of name."""
    document = {name: asdict(steps[name]) for name in sorted(steps)}
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def differences(recorded: Mapping[str, Recorded], now: Mapping[str, Recorded]) -> list[str]:
    """One line for each step whose code or version is not what was recorded, with what to do about it."""
    lines = []
    for name in sorted(recorded.keys() | now.keys()):
        before, after = recorded.get(name), now.get(name)
        if before is None or after is None:
            lines.append(f"{name}: {'is not recorded' if before is None else 'is recorded but gone'}; run {REFRESH}")
        elif after.version < before.version:
            lines.append(f"{name}: VERSION fell from {before.version} to {after.version}; it only rises, or old keys name other results")
        elif after.version > before.version:
            lines.append(f"{name}: VERSION rose from {before.version} to {after.version}; run {REFRESH}")
        elif after.code != before.code:
            lines.append(f"{name}: its code changed; bump VERSION in steps/{name}.py if results can differ, then run {REFRESH}")
    return lines


def main() -> int:
    """Record the steps as they are now and say what changed; refuse a version that fell."""
    recorded, now = read_record(), current(package_modules())
    fell = [name for name in now if name in recorded and now[name].version < recorded[name].version]
    if fell:
        sys.stderr.write("\n".join(line for line in differences(recorded, now) if "fell" in line) + "\n")
        return 1
    for name in sorted(now):
        change = "same" if recorded.get(name) == now[name] else "recorded"
        sys.stdout.write(f"{name} version {now[name].version} {change}\n")
    write_record(now)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
