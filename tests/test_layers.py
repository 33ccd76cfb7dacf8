"""Who may import whom, and how long things may get."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

import pytest

from tests.source import Module, imported_names, package_modules

MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 40
"""Without its docstring, which may be as long as it needs to be."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Modules whose path fits `who` import nothing that fits `banned`.

    In the patterns `*` stands for any text, `/` and `.` included.
    """

    who: str
    banned: tuple[str, ...]
    allowed: tuple[str, ...] = ()
    """Names that may be imported although they fit `banned`."""
    exempt: tuple[str, ...] = ()
    """Paths to which the rule does not apply; each must need its exemption."""

    def __str__(self) -> str:
        return f"{self.who}: not {', '.join(self.banned)}"

    def covers(self, module: Module) -> bool:
        return fnmatchcase(module.path, self.who) and not fits_path(module, self.exempt)

    def bans(self, name: str) -> bool:
        return fits(name, self.banned) and not fits(name, self.allowed)


def fits(name: str, patterns: Iterable[str]) -> bool:
    """Whether a dotted name is, or lies below, one of the patterns."""
    return any(
        fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*") for pattern in patterns
    )


def fits_path(module: Module, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(module.path, pattern) for pattern in patterns)


def ours(*layers: str) -> tuple[str, ...]:
    return tuple(f"prefixbank.{layer}" for layer in layers)


INPUT_OUTPUT = (
    "io",
    "json",
    "logging",
    "os",
    "pathlib",
    "pickle",
    "shutil",
    "subprocess",
    "sys",
    "tempfile",
)
HEAVY = ("accelerate", "datasets", "matplotlib", "sklearn", "torch", "transformers")

RULES = (
    # Layers of the package.
    Rule(who="errors.py", banned=("*",), allowed=tuple(sys.stdlib_module_names)),
    Rule(
        who="env.py",
        banned=("*",),
        allowed=(*sys.stdlib_module_names, "platformdirs", *ours("errors")),
    ),
    Rule(
        who="config/*",
        banned=("*",),
        allowed=(
            *sys.stdlib_module_names,
            "annotated_types",
            "pydantic",
            "hydra",
            "omegaconf",
            "yaml",
            *ours("config", "errors"),
        ),
    ),
    Rule(
        who="core/*",
        banned=(*ours("config", "data", "store", "steps", "drivers", "cli"), *INPUT_OUTPUT),
    ),
    Rule(
        who="store/*", banned=(*ours("config", "core", "data", "steps", "drivers", "cli"), *HEAVY)
    ),
    Rule(who="data/*", banned=ours("store", "steps", "drivers", "cli")),
    Rule(who="steps/*", banned=ours("cli")),
    Rule(who="cli/*", banned=(*ours("core"), *HEAVY)),
    Rule(who="drivers/*", banned=ours("core", "data", "store", "steps", "api", "cli")),
    # Libraries and the one place of each.
    Rule(
        who="core/attention.py",
        banned=("transformers",),
        allowed=(
            "transformers.AttentionInterface",
            "transformers.AttentionMaskInterface",
            "transformers.masking_utils",
        ),
    ),
    Rule(
        who="core/optimizers.py",
        banned=("transformers",),
        allowed=("transformers.optimization.Adafactor",),
    ),
    Rule(who="*", banned=("datasets",), exempt=("data/*",)),
    Rule(
        who="*",
        banned=("transformers",),
        exempt=("data/*", "core/attention.py", "core/optimizers.py"),
    ),
    Rule(who="*", banned=("accelerate",), exempt=("core/precision.py", "steps/tracking.py")),
    Rule(who="*", banned=("sklearn",), exempt=("core/probe*.py",)),
    Rule(who="*", banned=("scipy",), exempt=("steps/map_chart_similarity.py",)),
    Rule(who="*", banned=("faiss",), exempt=("core/search.py",)),
    Rule(who="*", banned=("submitit",), exempt=("drivers/slurm.py",)),
    Rule(who="*", banned=("ray",), exempt=("drivers/ray_cluster.py",)),
    Rule(who="*", banned=("hydra", "omegaconf"), exempt=("config/compose.py",)),
    Rule(who="*", banned=("rich", "typer"), exempt=("cli/*",)),
    Rule(
        who="*",
        banned=("matplotlib",),
        exempt=("steps/report*", "steps/map_chart*", "steps/map_files.py"),
    ),
    Rule(who="*", banned=("platformdirs",), exempt=("env.py",)),
    # Nothing is pickled or unpickled.
    Rule(who="*", banned=("cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve")),
)


def breaches(modules: Iterable[Module], rules: Iterable[Rule]) -> list[str]:
    """One line for each import that a rule bans."""
    rules = tuple(rules)
    return [
        f"{module.path}:{line} imports {name} (rule {rule})"
        for module in modules
        for line, name in imported_names(module)
        for rule in rules
        if rule.covers(module) and rule.bans(name)
    ]


def calls(modules: Iterable[Module], who: str, function: str) -> list[str]:
    """Where a builtin is called, in modules whose path fits `who`."""
    return [
        f"{module.path}:{node.lineno} calls {function}()"
        for module in modules
        if fnmatchcase(module.path, who)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == function
    ]


def environment_reads(modules: Iterable[Module]) -> list[str]:
    """Where `os.environ` or `os.getenv` is named."""
    return [
        f"{module.path}:{node.lineno} reads os.{node.attr}"
        for module in modules
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("os.environ", "os.getenv")
    ]


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, without the docstring."""
    first = function.body[0]
    documented = ast.get_docstring(function, clean=False) is not None
    docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


def long_functions(modules: Iterable[Module]) -> list[str]:
    return [
        f"{module.path}:{node.lineno} {node.name} has {code_lines(node)} lines"
        for module in modules
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and code_lines(node) > MAX_FUNCTION_LINES
    ]


def test_modules_import_only_what_their_layer_may():
    found = breaches(package_modules(), RULES)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_rule_covers_a_module_with_code(rule: Rule):
    covered = [
        module.path for module in package_modules() if rule.covers(module) and module.tree.body
    ]
    assert covered, "the rule guards nothing: mend its path"


@pytest.mark.parametrize(
    ("rule", "path"), [(rule, path) for rule in RULES for path in rule.exempt], ids=str
)
def test_exemption_is_needed(rule: Rule, path: str):
    exempt = [module for module in package_modules() if fits_path(module, (path,))]
    needed = [name for module in exempt for _, name in imported_names(module) if rule.bans(name)]
    assert needed, "nothing there imports it: drop the exemption"


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_rule_reports_a_breach(rule: Rule):
    banned = "numpy" if rule.banned == ("*",) else rule.banned[0]
    module = Module(
        path=rule.who.replace("*", "invented.py"),
        text=f"def late():\n    from {banned} import something\n",
    )
    assert len(breaches([module], [rule])) == 1


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("import torch.nn as nn", "torch.nn"),
        ("from prefixbank import data", "prefixbank.data"),
        ("from ..data import tasks", "prefixbank.data.tasks.task"),
        ("from . import shapes", "prefixbank.core.shapes"),
        ("from .. import store", "prefixbank.store"),
        ("if TYPE_CHECKING:\n    from transformers import AutoModel", "transformers.AutoModel"),
        ("importlib.import_module('datasets')", "datasets"),
    ],
)
def test_imported_names_are_absolute(text: str, name: str):
    assert [found for _, found in imported_names(Module(path="core/invented.py", text=text))] == [
        name
    ]


def test_only_the_command_line_prints():
    others = [module for module in package_modules() if not module.path.startswith("cli/")]
    found = calls(others, "*", "print")
    assert not found, "\n".join(found)


def test_core_opens_no_file():
    found = calls(package_modules(), "core/*", "open")
    assert not found, "\n".join(found)


def test_only_env_reads_the_environment():
    found = environment_reads(module for module in package_modules() if module.path != "env.py")
    assert not found, "\n".join(found)


def test_environment_reads_finds_a_read():
    module = Module(path="core/invented.py", text="import os\nfolder = os.environ.get('HOME')\n")
    assert environment_reads([module]) == ["core/invented.py:2 reads os.environ"]


def test_calls_finds_a_call():
    module = Module(path="core/invented.py", text="def f():\n    print(1)\n")
    assert calls([module], "core/*", "print") == ["core/invented.py:2 calls print()"]


def test_files_are_short():
    lengths = {module.path: len(module.text.splitlines()) for module in package_modules()}
    found = [
        f"{path} has {lines} lines" for path, lines in lengths.items() if lines > MAX_FILE_LINES
    ]
    assert not found, "\n".join(found)


def test_functions_are_short():
    found = long_functions(package_modules())
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("statements", "faults"), [(MAX_FUNCTION_LINES - 1, 0), (MAX_FUNCTION_LINES, 1)]
)
def test_function_length_counts_code_without_docstring(statements: int, faults: int):
    text = 'def f():\n    """One.\n\n    Two.\n    """\n' + "    g()\n" * statements
    assert len(long_functions([Module(path="core/invented.py", text=text)])) == faults
