"""A step's code does not change without a decision about its version."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.source import Module, package_modules
from tests.steps.refresh_versions import Recorded, current, differences, find_steps, read_record, unlisted, write_record

STEP = Module(path="steps/embed.py", text='VERSION: int = 1\nCODE: tuple[str, ...] = ("core.pool",)\n\ndef embed():\n    return 1\n')
POOL = Module(path="core/pool.py", text='def mean(x):\n    """Mean."""\n    return sum(x) / len(x)\n')


def code_of(*modules: Module) -> str:
    return current(modules)["embed"].code


def test_steps_are_as_recorded():
    found = differences(read_record(), current(package_modules()))
    assert not found, "\n".join(found)


def test_steps_are_found():
    assert {"train_prefix", "combine", "embed", "probe"} <= set(find_steps(package_modules()))


def test_code_names_modules_that_exist():
    modules = {module.name for module in package_modules()}
    missing = {name: set(step.code) - modules for name, step in find_steps(package_modules()).items() if set(step.code) - modules}
    assert not missing


def test_code_names_every_core_module_that_the_step_reaches():
    modules = {module.name: module for module in package_modules()}
    missing = {name: found for name, step in find_steps(modules.values()).items() if (found := unlisted(step, modules))}
    assert not missing


def test_unlisted_finds_a_core_module_reached_through_another():
    pool = Module(path="core/pool.py", text="from prefixbank.core.shapes import Batch\n")
    shapes = Module(path="core/shapes.py", text="Batch = int\n")
    modules = {module.name: module for module in (STEP, pool, shapes)}
    assert unlisted(find_steps([STEP])["embed"], modules) == {"core.shapes"}


@pytest.mark.parametrize(
    "text",
    [
        POOL.text.replace("Mean.", "Arithmetic mean."),
        POOL.text.replace('    """Mean."""\n', ""),
        POOL.text + "# a remark\n",
        POOL.text.replace("sum(x) / len(x)", "(sum(x)\n        / len(x))"),
    ],
    ids=["docstring", "no docstring", "comment", "layout"],
)
def test_fingerprint_ignores_what_cannot_change_results(text: str):
    assert code_of(STEP, POOL) == code_of(STEP, Module(path="core/pool.py", text=text))


def test_fingerprint_ignores_the_version():
    assert code_of(STEP, POOL) == code_of(Module(path=STEP.path, text=STEP.text.replace("int = 1", "int = 2")), POOL)


def test_fingerprint_follows_code_that_uses_the_version():
    first, second = (Module(path=STEP.path, text=f"{STEP.text}\ndef key():\n    return VERSION + {n}\n") for n in (1, 2))
    assert code_of(first, POOL) != code_of(second, POOL)


def test_fingerprint_ignores_modules_that_the_step_does_not_name():
    assert code_of(STEP, POOL) == code_of(STEP, POOL, Module(path="core/other.py", text="x = 1\n"))


@pytest.mark.parametrize(
    ("step", "pool"),
    [
        (STEP.text, POOL.text.replace("/", "//")),
        (STEP.text.replace("return 1", "return 2"), POOL.text),
        (STEP.text.replace('"core.pool",', ""), POOL.text),
    ],
    ids=["listed module", "step itself", "list"],
)
def test_fingerprint_follows_the_code(step: str, pool: str):
    assert code_of(STEP, POOL) != code_of(Module(path=STEP.path, text=step), Module(path=POOL.path, text=pool))


@pytest.mark.parametrize(
    ("recorded", "now", "said"),
    [
        ({}, {"embed": (1, "a")}, "not recorded"),
        ({"embed": (1, "a")}, {}, "gone"),
        ({"embed": (1, "a")}, {"embed": (1, "b")}, "bump VERSION in steps/embed.py"),
        ({"embed": (1, "a")}, {"embed": (2, "b")}, "rose from 1 to 2"),
        ({"embed": (2, "a")}, {"embed": (1, "a")}, "fell from 2 to 1"),
    ],
)
def test_differences_says_what_to_do(recorded: dict[str, tuple[int, str]], now: dict[str, tuple[int, str]], said: str):
    before, after = ({name: Recorded(version=v, code=c) for name, (v, c) in side.items()} for side in (recorded, now))
    (line,) = differences(before, after)
    assert said in line


def test_record_is_read_as_written(tmp_path: Path):
    steps = {"probe": Recorded(version=2, code="b"), "embed": Recorded(version=1, code="a")}
    write_record(steps, tmp_path / "versions.json")
    assert read_record(tmp_path / "versions.json") == steps
