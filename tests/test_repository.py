"""The repository as a whole: what no single module can promise."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.source import PACKAGE, ROOT, Module, imported_names, package_modules, repository_files

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REQUIRED = [Requirement(text) for text in PROJECT["dependencies"]]
OPTIONAL = {
    extra: [Requirement(text) for text in texts]
    for extra, texts in PROJECT["optional-dependencies"].items()
}
IMPORTED_EXTRAS = (
    "onnx",
    "ray",
    "search",
    "sentence-transformers",
    "slurm",
    "starter",
    "tensorboard",
    "wandb",
)
TEXT_SUFFIXES = {
    "",
    ".cfg",
    ".csv",
    ".json",
    ".jsonl",
    ".md",
    ".py",
    ".svg",
    ".toml",
    ".tsv",
    ".txt",
    ".typed",
    ".yaml",
    ".yml",
}

PERSONAL_PATH = re.compile(r"(?<![\w./~-])/(?:home|root|Users|work|workspace|mnt)/[\w.-]+")
MERGE_MARK = re.compile(r"^(?:<{7}|>{7}) ", re.MULTILINE)
INDEX_OPTION = re.compile(
    r"--(?:extra-)?index-url|--find-links|--trusted-host|PIP_INDEX|https?://[^ ]*/simple"
)
ASSERTING = re.compile(r"raises|warns|assert|check|verify|expect")


def texts() -> dict[str, str]:
    """Text of every text file of the repository, by path."""
    return {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for path in repository_files()
        if path.suffix in TEXT_SUFFIXES
    }


def found_in_texts(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path}:{number} {line.strip()[:120]}"
        for path, text in texts().items()
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]


def pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): Version(version) for name, version in pinned}


def test_no_file_names_a_path_of_one_machine():
    found = found_in_texts(PERSONAL_PATH)
    assert not found, "\n".join(found)


def test_no_file_holds_a_merge_mark():
    found = found_in_texts(MERGE_MARK)
    assert not found, "\n".join(found)


def test_nothing_says_where_packages_come_from():
    found = [
        line
        for line in found_in_texts(INDEX_OPTION)
        if not line.startswith("tests/test_repository.py:")
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (PERSONAL_PATH, "see " + "/home" + "/ann/data"),
        (MERGE_MARK, "<" * 7 + " HEAD"),
        (INDEX_OPTION, "pip install --index-url=x"),
    ],
    ids=["path", "merge", "index"],
)
def test_pattern_finds_what_it_is_for(pattern: re.Pattern[str], text: str):
    assert pattern.search(text)


def test_text_files_end_with_one_newline_and_hold_no_carriage_return():
    bad = [
        path
        for path, text in texts().items()
        if text and (not text.endswith("\n") or text.endswith("\n\n") or "\r" in text)
    ]
    assert not bad


def test_no_file_is_larger_than_two_megabytes():
    large = [
        path.relative_to(ROOT).as_posix()
        for path in repository_files()
        if path.stat().st_size > 2_000_000
    ]
    assert not large


def test_changelog_says_what_is_unreleased():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    sections = re.split(r"^## ", text, flags=re.MULTILINE)
    assert sections[1].startswith("[Unreleased]\n") and re.search(
        r"^- \w", sections[1], flags=re.MULTILINE
    )


def test_makefile_documents_every_target():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", text, flags=re.MULTILINE)
    assert set(phony.split()) == set(
        re.findall(r"^([a-z0-9-]+):.* ## \S", text, flags=re.MULTILINE)
    )


def test_every_folder_has_its_tests():
    folders = {file.parent.relative_to(PACKAGE) for file in PACKAGE.glob("*/**/__init__.py")}
    tests = ROOT / "tests"
    tested = {
        folder
        for file in tests.glob("*/**/test_*.py")
        for folder in file.relative_to(tests).parents
    }
    untested = sorted(map(str, folders - tested))
    assert len(folders) > 20 and not untested, untested


def modules_among(names: Iterable[str], modules: Mapping[str, Module]) -> set[str]:
    """Modules that these imported names are, or lie in."""
    parts = (
        name.removeprefix("prefixbank.").split(".")
        for name in names
        if name.startswith("prefixbank.")
    )
    return {
        prefix
        for words in parts
        for end in range(1, len(words) + 1)
        if (prefix := ".".join(words[:end])) in modules
    }


def test_every_module_is_reached_from_a_test():
    modules = {
        module.name: module for module in package_modules() if module.tree.body and module.name
    }
    files = (
        Module(path=file.name, text=file.read_text(encoding="utf-8"))
        for file in (ROOT / "tests").rglob("*.py")
    )
    reached: set[str] = set()
    waiting = modules_among((name for file in files for _, name in imported_names(file)), modules)
    while waiting:
        reached |= waiting
        waiting = (
            modules_among(
                (name for at in waiting for _, name in imported_names(modules[at])), modules
            )
            - reached
        )
    unreached = sorted(set(modules) - reached)
    assert not unreached


def asserts(function: ast.FunctionDef) -> bool:
    """Whether a test can fail by its own word: an assertion, or a call whose name promises one."""
    nodes = list(ast.walk(function))
    called = [ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)]
    return any(isinstance(node, ast.Assert) for node in nodes) or any(
        ASSERTING.search(name) for name in called
    )


def test_every_test_asserts_something():
    files = (ROOT / "tests").rglob("test_*.py")
    functions = (
        (file, node)
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    )
    found = [
        f"{file.relative_to(ROOT)}:{node.lineno} {node.name}"
        for file, node in functions
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not asserts(node)
    ]
    assert not found, "\n".join(found)


LONG_SLEEP_S = 0.1


def long_sleeps(tree: ast.AST) -> list[int]:
    """Lines of calls to `time.sleep` with a number of more than `LONG_SLEEP_S`."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [
        call.lineno
        for call in calls
        if ast.unparse(call.func) in ("time.sleep", "sleep")
        and isinstance(call.args[0], ast.Constant)
        and call.args[0].value > LONG_SLEEP_S
    ]


def test_no_test_waits_by_sleeping():
    found = {
        file.relative_to(ROOT).as_posix(): lines
        for file in (ROOT / "tests").rglob("*.py")
        if (lines := long_sleeps(ast.parse(file.read_text(encoding="utf-8"))))
    }
    assert found == {}


def test_long_sleep_is_found():
    assert long_sleeps(ast.parse("time.sleep(0.01)\ntime.sleep(2)\nsleep(0.5)")) == [2, 3]


def third_party_imports() -> set[str]:
    """Distributions that the package imports, found through what is installed here."""
    providers = importlib.metadata.packages_distributions()
    tops = {
        name.split(".")[0] for module in package_modules() for _, name in imported_names(module)
    }
    outside = tops - sys.stdlib_module_names - {"prefixbank", "__future__"}
    return {canonicalize_name(name) for top in outside for name in providers.get(top, [top])}


def test_every_import_is_declared():
    groups = (
        REQUIRED,
        *(OPTIONAL[extra] for extra in IMPORTED_EXTRAS),
    )
    undeclared = third_party_imports() - {
        canonicalize_name(one.name) for group in groups for one in group
    }
    assert not undeclared


def test_every_required_package_is_imported():
    unused = {canonicalize_name(one.name) for one in REQUIRED} - third_party_imports()
    assert not unused


@pytest.mark.parametrize(
    "extra",
    ["", "onnx", "sentence-transformers", "smollm2", "starter", "test", "docs", "dev"],
)
def test_constraints_pin_what_is_declared(extra: str):
    declared = [
        one for one in (OPTIONAL[extra] if extra else REQUIRED) if one.name != PROJECT["name"]
    ]
    unfit = [
        str(one)
        for one in declared
        if not one.specifier.contains(pins().get(canonicalize_name(one.name), Version("0")))
    ]
    assert not unfit


def test_starter_encoder_is_installed(starter_encoder_path: Path):
    assert (starter_encoder_path / "config.json").is_file()
