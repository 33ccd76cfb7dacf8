"""Definitions are read as code alone, and what a step reaches follows from what they use."""

from __future__ import annotations

import pytest

from tests.source import Module
from tests.versions.reach import Code
from tests.versions.refresh import why

UNIT = Module(path="unit.py", text="class Unit:\n    def __init__(self, **parts): ...\n")
PLAN = """
from prefixbank.pool import mean
from prefixbank.unit import Unit

STEP = "embed"
VERSION: int = 1

def unit(rows):
    def make(out):
        {body}
    return Unit(make=make, version=VERSION)
"""
POOL = 'def mean(x):\n    """Mean."""\n    return sum(x) / len(x)\n'


def module(path: str, text: str) -> Module:
    return Module(path=path, text=text)


def plan(body: str = "return mean(rows)", path: str = "steps/embed.py") -> Module:
    return module(path, PLAN.replace("{body}", body.replace("\n", "\n        ")))


def code(*modules: Module) -> Code:
    return Code([UNIT, *modules])


def reached(*modules: Module) -> set[str]:
    """Names of what step `embed` reaches, those of the unit itself left out."""
    whole = code(*modules)
    names = {whole.definitions[path].name for path in whole.steps["embed"].reached.came_from}
    return names - {"unit", "Unit", "Unit.__init__", "VERSION"}


def digests(*modules: Module) -> dict[str, str]:
    """Digest of each definition, by its name within its module."""
    whole = code(*modules)
    return {one.name: whole.digest(path) for path, one in whole.definitions.items()}


USES = {
    "constant": ("LIMIT = 3\ndef mean(x):\n    return LIMIT\n", {"mean", "LIMIT"}),
    "constant of a constant": (
        "A = 3\nLIMIT = A + 1\ndef mean(x):\n    return LIMIT\n",
        {"mean", "LIMIT", "A"},
    ),
    "default value": ("LIMIT = 3\ndef mean(x, most=LIMIT): ...\n", {"mean", "LIMIT"}),
    "decorator": ("def twice(f): ...\n@twice\ndef mean(x): ...\n", {"mean", "twice"}),
    "annotation": ("class Rows: ...\ndef mean(x: Rows): ...\n", {"mean", "Rows"}),
    "lambda": ("def one(): ...\nmean = lambda x: one()\n", {"mean", "one"}),
    "lambda as a default value of a method": (
        "def one(): ...\nclass A:\n    def f(self, g=lambda x: one()): ...\n"
        "def mean():\n    A().f()\n",
        {"mean", "A", "A.f", "one"},
    ),
    "nested function": (
        "def one(): ...\ndef mean(x):\n    def inner():\n        return one()\n",
        {"mean", "one"},
    ),
    "name of an argument": ("def one(): ...\ndef mean(one):\n    return one()\n", {"mean"}),
    "name of a local": ("def one(): ...\ndef mean(x):\n    one = x\n    one()\n", {"mean"}),
    "base class": (
        "class A:\n    def f(self): ...\nclass mean(A): ...\n",
        {"mean", "A"},
    ),
    "method by name": (
        "class A:\n    def f(self): ...\n    def g(self): ...\ndef mean(x):\n    A\n    x.f()\n",
        {"mean", "A", "A.f"},
    ),
    "method of a class that is not reached": (
        "class A:\n    def f(self): ...\ndef mean(x):\n    x.f()\n",
        {"mean"},
    ),
    "method of another type": (
        (
            "class A:\n    def f(self): ...\nclass B:\n    def f(self): ...\ndef mean(x: A):\n"
            "    B\n    x.f()\n"
        ),
        {"mean", "A", "A.f", "B"},
    ),
    "method of a subclass": (
        (
            "class A:\n    def f(self): ...\nclass B(A):\n    def f(self): ...\ndef mean(x: A):\n"
            "    B\n    x.f()\n"
        ),
        {"mean", "A", "A.f", "B", "B.f"},
    ),
    "method of what implements a protocol": (
        "from typing import Protocol\nclass A(Protocol):\n    def f(self): ...\n"
        "class B:\n    def f(self): ...\ndef mean(x: A):\n    B\n    x.f()\n",
        {"mean", "A", "A.f", "B", "B.f"},
    ),
    "magic method": (
        "class A:\n    def __len__(self): ...\n    def f(self): ...\ndef mean(x: A): ...\n",
        {"mean", "A", "A.__len__"},
    ),
    "any method of a foreign class's subclass": (
        (
            "from torch import nn\nclass A(nn.Module):\n    def forward(self): ...\n"
            "def mean(x: A): ...\n"
        ),
        {"mean", "A", "A.forward"},
    ),
    "property of what a property gives": (
        "class A:\n    @property\n    def f(self): ...\n"
        "class B:\n    @property\n    def f(self): ...\n    @property\n    def a(self) -> A: ...\n"
        "def mean(x: B):\n    return x.a.f\n",
        {"mean", "A", "A.f", "B", "B.a"},
    ),
    "method of what is in a field": (
        "class A:\n    def f(self): ...\nclass B:\n    a: list[A]\n    def f(self): ...\n"
        "def mean(x: B):\n    for one in x.a:\n        one.f()\n",
        {"mean", "A", "A.f", "B"},
    ),
    "method of what an argument was kept as": (
        "class A:\n    def f(self): ...\nclass B:\n    def __init__(self, a: A):\n"
        "        self.a = a\n    def f(self): ...\ndef mean(x: B):\n    x.a.f()\n",
        {"mean", "A", "A.f", "B", "B.__init__"},
    ),
    "default of a field": (
        "def one(): ...\nclass mean:\n    x: int = one()\n",
        {"mean", "one"},
    ),
    "what runs on import": (
        "def one(): ...\ndef add(f): ...\nadd(one)\ndef mean(x): ...\n",
        {"mean", "add", "one", ""},
    ),
}


@pytest.mark.parametrize(("text", "names"), USES.values(), ids=USES)
def test_uses_are_followed(text: str, names: set[str]):
    assert reached(plan(), module("pool.py", text)) == names


IMPORTS = {
    "within the maker": "from prefixbank.sums import total\ntotal()",
    "of a module": "from prefixbank import sums\nsums.total()",
    "of a module by its path": "import prefixbank.sums\nprefixbank.sums.total()",
    "under another name": "from prefixbank.sums import total as t\nt()",
    "relative": "from ..sums import total\ntotal()",
    "from where it is exported again": "from prefixbank import total\ntotal()",
}


@pytest.mark.parametrize("body", IMPORTS.values(), ids=IMPORTS)
def test_imports_are_followed(body: str):
    sums = module("sums.py", "def total(): ...\ndef other(): ...\n")
    exports = module("__init__.py", "from prefixbank.sums import total\n")
    assert reached(plan(body), sums, exports, module("pool.py", POOL)) == {"total"}


def test_imports_for_type_checking_are_followed():
    text = "if TYPE_CHECKING:\n    from prefixbank.rows import Rows\ndef mean(x: Rows): ...\n"
    rows = module("rows.py", "class Rows: ...\n")
    assert reached(plan(), module("pool.py", text), rows) == {"mean", "Rows"}


@pytest.mark.parametrize(
    "text",
    [
        POOL.replace("Mean.", "Arithmetic mean."),
        POOL.replace('    """Mean."""\n', ""),
        POOL + "# a remark\n",
        POOL.replace("sum(x) / len(x)", "(sum(x)\n        / len(x))"),
    ],
    ids=["docstring", "no docstring", "comment", "layout"],
)
def test_digest_ignores_what_cannot_change_results(text: str):
    assert digests(module("pool.py", text)) == digests(module("pool.py", POOL))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "import numpy as np\ndef f():\n    return np.mean",
            "from numpy import mean\ndef f():\n    return mean",
        ),
        ("A, B = 1, 2", "B = 2\nA = 1"),
        (
            "class A:\n    def f(self): ...\n    def g(self): ...",
            "class A:\n    def g(self): ...\n    def f(self): ...",
        ),
        (
            "def f():\n    import numpy\n    return numpy.mean",
            "import numpy\ndef f():\n    return numpy.mean",
        ),
    ],
    ids=["import", "constants", "order of methods", "place of an import"],
)
def test_digest_ignores_how_the_same_is_said(before: str, after: str):
    assert digests(module("pool.py", before)) == digests(module("pool.py", after))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("def f(x):\n    return x + 1", "def f(x):\n    return x + 2"),
        (
            "from numpy import mean as m\ndef f():\n    return m()",
            "from numpy import std as m\ndef f():\n    return m()",
        ),
        ("class A:\n    x: int = 1", "class A:\n    x: int = 2"),
        ("def f(x=1): ...", "def f(x=2): ..."),
        ("def f(x): ...", "@cache\ndef f(x): ..."),
        ("A = 1", "A = 2"),
    ],
    ids=["body", "what an import stands for", "field", "default", "decorator", "constant"],
)
def test_digest_follows_the_code(before: str, after: str):
    assert digests(module("pool.py", before)) != digests(module("pool.py", after))


def test_digest_ignores_the_file():
    uses = "from prefixbank.{} import one\ndef f():\n    return one()\n"
    one = "def one():\n    return 1\n"
    before = digests(module("f.py", uses.format("a")), module("a.py", one))
    assert before == digests(module("g.py", uses.format("b.c")), module("b/c.py", one))


def test_digest_tells_two_definitions_of_one_name_apart():
    text = "from prefixbank.{} import one\ndef f():\n    return one()\n"
    twins = [module(f"{name}.py", f"def one():\n    return '{name}'\n") for name in ("a", "b")]
    found = [digests(module("f.py", text.format(name)), *twins)["f"] for name in ("a", "b")]
    assert found[0] != found[1]


def test_unit_belongs_to_the_nearest_version():
    other = module("steps/other.py", PLAN.replace('"embed"', '"other"').format(body="..."))
    first = plan("from prefixbank.steps import other\nother.unit(1)")
    steps = code(first, other, module("pool.py", POOL)).steps
    assert {name: step.plans for name, step in steps.items()} == {
        "embed": {"prefixbank.steps.embed.unit"},
        "other": {"prefixbank.steps.other.unit"},
    }


def test_version_may_be_away_from_the_unit():
    text = PLAN.format(body="...").replace("VERSION: int = 1", "from .spec import VERSION")
    spec = module("steps/embed/spec.py", 'STEP = "embed"\nVERSION = 2\n')
    step = code(module("steps/embed/step.py", text), spec, module("pool.py", POOL)).steps["embed"]
    assert (step.version, step.plans) == (2, {"prefixbank.steps.embed.step.unit"})


def test_why_prints_the_shortest_way():
    pool = module("pool.py", "def mean(x):\n    return far(x)\ndef far(x): ...\n")
    whole = code(plan("mean(rows)"), pool)
    assert why(whole, "embed", "far") == [
        "steps.embed.unit\n    -> pool.mean\n    -> pool.far",
    ]
