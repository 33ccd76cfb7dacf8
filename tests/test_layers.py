"""Who may import whom: one order of layers, no circle, and one place for each library."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.source import Module, imported_names, package_modules

LAYERS = (
    ("__main__",),
    ("cli", "worker"),
    ("api", "sentence_transformers"),
    ("commands",),
    ("studies",),
    ("reports",),
    ("transfer",),
    ("steps",),
    ("artifacts", "runtime"),
    ("data", "drivers"),
    ("config", "core", "store"),
    ("project",),
    ("env", "names"),
    ("choices", "errors"),
)
"""The rooms of the package, the uppermost first. One imports itself and what stands below it."""


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
HEAVY = (
    "accelerate",
    "datasets",
    "matplotlib",
    "seaborn",
    "sklearn",
    "torch",
    "transformers",
)

RULES = (
    # What a room does without.
    Rule(who="choices.py", banned=("*",), allowed=("typing",)),
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
            *ours("choices", "config", "errors", "names"),
        ),
    ),
    Rule(who="core/*", banned=INPUT_OUTPUT),
    Rule(who="store/*", banned=HEAVY),
    Rule(who="steps/*/step.py", banned=HEAVY),
    Rule(who="cli/*", banned=(*ours("core"), *HEAVY)),
    # Libraries and the one place of each.
    Rule(
        who="core/attention/prefix_attention.py",
        banned=("transformers",),
        allowed=(
            "transformers.AttentionInterface",
            "transformers.AttentionMaskInterface",
            "transformers.masking_utils",
        ),
    ),
    Rule(
        who="core/training/optimizers.py",
        banned=("transformers",),
        allowed=("transformers.optimization.Adafactor",),
    ),
    Rule(who="*", banned=("datasets",), exempt=("data/*",)),
    Rule(
        who="*",
        banned=("transformers",),
        exempt=("data/*", "core/attention/*", "core/training/optimizers.py"),
    ),
    Rule(
        who="*",
        banned=("accelerate",),
        exempt=("runtime/tracking.py",),
    ),
    Rule(
        who="*",
        banned=ours("data.encoders.batches.tokenize"),  # Encoder.tokenize knows the settings
        exempt=("data/encoders/encoder.py",),
    ),
    Rule(who="*", banned=("sklearn",), exempt=("core/probe/*",)),
    Rule(
        who="*", banned=("scipy",), exempt=("core/probe/solution.py", "reports/charts/clusters.py")
    ),
    Rule(who="*", banned=("faiss",), exempt=("core/search.py",)),
    Rule(
        who="*",
        banned=("onnx", "onnxruntime"),
        exempt=("steps/export/onnx/make.py", "steps/export/onnx/quantize.py"),
    ),
    Rule(who="*", banned=("sentence_transformers",), exempt=("sentence_transformers.py",)),
    Rule(who="*", banned=("fsspec",), exempt=("data/remote.py",)),
    Rule(who="*", banned=("submitit",), exempt=("drivers/slurm.py",)),
    Rule(who="*", banned=("ray",), exempt=("drivers/ray_cluster.py",)),
    Rule(who="*", banned=("hydra", "omegaconf"), exempt=("config/compose.py",)),
    Rule(who="*", banned=("rich",), exempt=("cli/*", "commands/progress.py")),
    Rule(who="*", banned=("typer",), exempt=("cli/*",)),
    Rule(
        who="*",
        banned=("matplotlib",),
        exempt=("reports/charts/*", "reports/make.py"),
    ),
    Rule(
        who="*",
        banned=("seaborn",),
        exempt=(
            "reports/charts/heatmap.py",
            "reports/charts/clusters.py",
            "reports/charts/confusion.py",
        ),
    ),
    Rule(who="*", banned=("adjustText",), exempt=("reports/charts/scatter.py",)),
    Rule(
        who="*",
        banned=("jinja2", "markdown_it", "markupsafe"),
        exempt=("reports/render.py",),
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
        for node in module.nodes
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == function
    ]


def environment_reads(modules: Iterable[Module]) -> list[str]:
    """Where `os.environ` or `os.getenv` is named."""
    return [
        f"{module.path}:{node.lineno} reads os.{node.attr}"
        for module in modules
        for node in module.nodes
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("os.environ", "os.getenv")
    ]


def room_of(name: str) -> str:
    """The room of a dotted name below the package: `core` of `core.training.loop`."""
    return name.split(".")[0]


def imports_within(modules: Iterable[Module]) -> dict[str, set[str]]:
    """Which modules of the package each module imports: late imports and those for types too."""
    modules = tuple(modules)
    names = {module.name for module in modules}

    def module_in(name: str) -> str:
        whole = name.removeprefix("prefixbank").lstrip(".")
        return whole if whole in names else whole.rpartition(".")[0]

    return {
        module.name: {
            found
            for _, name in imported_names(module)
            if name.split(".")[0] == "prefixbank"
            and (found := module_in(name)) in names - {module.name}
        }
        for module in modules
    }


def upward(modules: Iterable[Module]) -> list[str]:
    """One line for each import of a room that stands beside or above the importer's."""
    height = {room: -level for level, rooms in enumerate(LAYERS) for room in rooms}
    return [
        f"{name} imports {other}"
        for name, others in imports_within(modules).items()
        for other in sorted(others)
        if name and other and room_of(name) != room_of(other)
        if height[room_of(other)] >= height[room_of(name)]
    ]


def circle_in(modules: Iterable[Module]) -> list[str]:
    """A circle of imports, its first module again at its end; empty if there is none."""
    try:
        TopologicalSorter(imports_within(modules)).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def loaded_by(module: Module) -> Iterator[str]:
    """What importing a module imports at once: not what its functions import, nor its types."""
    statements = list(module.tree.body)
    for node in statements:
        match node:
            case ast.If(test=test, body=body, orelse=orelse):
                statements += orelse if ast.unparse(test).endswith("TYPE_CHECKING") else body
            case ast.Try(body=body) | ast.With(body=body):
                statements += body
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=base, names=names):
                yield from (f"{base}.{alias.name}" for alias in names)


def heavy_ways(start: str, modules: Iterable[Module]) -> list[str]:
    """How importing a module loads a heavy library, directly or through others of the package."""
    by_name = {module.name: module for module in modules}
    way, waiting, found = {start: start}, [start], []
    for name in waiting:
        for imported in loaded_by(by_name[name]):
            inside = imported.removeprefix("prefixbank.")
            other = inside if inside in by_name else inside.rpartition(".")[0]
            if fits(imported, (*HEAVY, "safetensors.torch")):
                found.append(f"{way[name]} -> {imported}")
            elif inside != imported and other in by_name and other not in way:
                way[other] = f"{way[name]} -> {other}"
                waiting.append(other)
    return found


def makers_with_plans(modules: Iterable[Module]) -> list[str]:
    """What makes an artifact (`make.py`) and imports what plans it (`step.py` beside it)."""
    return [
        f"{name} imports {other}"
        for name, others in imports_within(modules).items()
        for other in others
        if name.endswith(".make") and other == f"{name.removesuffix('.make')}.step"
    ]


def test_every_room_has_a_layer():
    rooms = {room_of(module.name) for module in package_modules() if module.name}
    assert rooms == {room for layer in LAYERS for room in layer}


def test_imports_lead_down():
    found = upward(package_modules())
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("core/combine.py", "from prefixbank.store import store"),
        ("data/tasks/task.py", "from prefixbank import api"),
        ("steps/search.py", "def late():\n    from prefixbank.reports.study import Study"),
    ],
)
def test_an_import_beside_or_upward_is_found(path: str, text: str):
    modules = [
        Module(path=path, text=text),
        *(module for module in package_modules() if module.path != path),
    ]
    assert len(upward(modules)) == 1


def test_imports_go_in_no_circle():
    found = circle_in(package_modules())
    assert not found, " -> ".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "from prefixbank.core.prefix import Prefix",
        "def late():\n    from prefixbank.core import prefix",
        "if TYPE_CHECKING:\n    from prefixbank.core.prefix import Prefix",
    ],
    ids=["plain", "late", "for types"],
)
def test_a_circle_is_found(text: str):
    first = Module(path="core/prefix.py", text="from prefixbank.core.shapes import Shape\n")
    second = Module(path="core/shapes.py", text=text)
    assert set(circle_in([first, second])) == {"core.prefix", "core.shapes"}


STEPS = [
    module.name
    for module in package_modules()
    if fnmatchcase(module.path, "steps/*/step.py")
    or module.name
    in (
        "runtime.converted_encoder",
        "runtime.tiny_encoder",
        "steps.average",
        "steps.combine",
    )
]
"""Modules that plan the units of a step."""


@pytest.mark.parametrize("step", STEPS)
def test_planning_loads_no_heavy_library(step: str):
    found = heavy_ways(step, package_modules())
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("import torch", 1),
        ("try:\n    from torch import nn\nexcept ImportError:\n    pass", 1),
        ("if TYPE_CHECKING:\n    import torch", 0),
        ("def late():\n    import torch", 0),
    ],
    ids=["plain", "tried", "for types", "late"],
)
def test_heavy_library_behind_another_module_is_found(text: str, count: int):
    step = Module(path="steps/one/step.py", text="from prefixbank.steps.one.rows import embed")
    rows = Module(path="steps/one/rows.py", text=text)
    assert len(heavy_ways("steps.one.step", [step, rows])) == count


def test_what_makes_an_artifact_does_not_import_what_plans_it():
    assert STEPS and not makers_with_plans(package_modules())


def test_import_of_a_plan_is_found():
    step = Module(path="steps/one/step.py", text="STEP = 1")
    maker = Module(path="steps/one/make.py", text="from prefixbank.steps.one.step import STEP")
    assert makers_with_plans([step, maker]) == ["steps.one.make imports steps.one.step"]


def test_modules_import_only_what_they_may():
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
        ("from ..data import tasks", "prefixbank.data.tasks"),
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
