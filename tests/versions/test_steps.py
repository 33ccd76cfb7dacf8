"""A step's code does not change without a decision about its version."""

from __future__ import annotations

from fnmatch import fnmatch

import pytest

from tests.source import package_modules
from tests.versions.reach import UNIT, Code
from tests.versions.reader import PACKAGE
from tests.versions.record import current, differences, read_record

REPORTS = ("reports/*",)
STUDIES = ("api.py", "commands/*", "cli/*", "studies/*")


@pytest.fixture(scope="module")
def code() -> Code:
    return Code(package_modules())


COPIES = "prefixbank.steps.export.bundle.units_of"
"""Puts artifacts of a bundle into a store under the documents that they were made with."""


def reached_in(code: Code, step: str, patterns: tuple[str, ...]) -> list[str]:
    """What a step reaches in the files of some patterns."""
    paths = code.steps[step].reached.came_from
    files = {path: code.files[code.definitions[path].module] for path in paths}
    return [path for path, file in files.items() if any(fnmatch(file, one) for one in patterns)]


def test_steps_are_as_recorded(code: Code):
    found = differences(read_record(), current(code), code.step_files)
    assert not found, "\n".join(found)


def test_steps_are_found(code: Code):
    assert {"train_prefix", "combine", "embed", "join", "probe", "report"} <= code.steps.keys()


def test_every_step_has_a_plan(code: Code):
    assert not [name for name, step in code.steps.items() if not step.plans]


def test_everything_that_builds_a_unit_is_the_plan_of_a_step(code: Code):
    (unit,) = (path for path, one in code.definitions.items() if one.name == UNIT)
    builders = {
        path
        for path, one in code.definitions.items()
        if any((found := code.find(call)) and found.path == unit for call in one.calls)
    }
    plans = set().union(*(step.plans for step in code.steps.values()))
    assert builders and builders == plans | {COPIES}


def test_every_name_of_the_package_is_found(code: Code):
    names = {name for one in code.definitions.values() for name in one.names}
    inside = {name for name in names if name.startswith(f"{PACKAGE}.")} - code.sources.keys()
    assert inside and not [name for name in inside if code.find(name) is None]


def test_patterns_match_files(code: Code):
    files = code.files.values()
    assert not [
        one for one in (*REPORTS, *STUDIES) if not any(fnmatch(file, one) for file in files)
    ]


def test_no_step_reaches_studies_and_the_command_line(code: Code):
    assert not {name: found for name in code.steps if (found := reached_in(code, name, STUDIES))}


def test_no_step_but_a_report_reaches_reports(code: Code):
    steps = {
        name
        for name, step in code.steps.items()
        if not any(fnmatch(step.file, one) for one in REPORTS)
    }
    assert not {name: found for name in steps if (found := reached_in(code, name, REPORTS))}
    assert reached_in(code, "report", REPORTS)


@pytest.mark.parametrize(
    ("step", "function"),
    [("probe", "core.quantize.dequantize"), ("embed", "artifacts.bank.plain_bank")],
)
def test_code_behind_several_calls_is_reached(code: Code, step: str, function: str):
    assert [path for path in code.steps[step].reached.came_from if path.endswith(function)]
