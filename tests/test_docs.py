"""What README.md and docs/ show: links, commands, tables made from result files, the built site."""

from __future__ import annotations

import logging
import os
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

import prefixbank as pb
from docs.macros import readme, reference, tables
from prefixbank.cli.app import app
from prefixbank.commands import table
from prefixbank.config import compose
from prefixbank.config.descriptions import Setting
from prefixbank.errors import PrefixbankError
from tests.fixtures import (  # noqa: F401
    encoders_loaded_once,
    merge_once,
    shared_encoders,
    shared_settings,
)
from tests.prepared import rows_of
from tests.source import ROOT

TOP = tuple(
    ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")
)
REPORTS = set((ROOT / "docs/results").glob("*/*.md"))
"""Written by commands, at the time of a study."""
PAGES = tuple(sorted(set((ROOT / "docs").rglob("*.md")) - REPORTS))
SHOWN = {path.relative_to(ROOT).as_posix(): path for path in (*TOP[:1], *PAGES)}
COMMANDS = {command.name: command.settings for command in table.COMMANDS}
WRONG_ON_PURPOSE = "optim.lr=abc"
USERS_OWN = "--conf-dir"
"""A command with it may name files that only its user has."""
ONLY_RECORD = "only record"
"""Pages that say so hold numbers of runs whose reports were not kept."""


def code_of(text: str) -> str:
    """Return fenced and indented blocks, continuation lines joined."""
    fenced = re.findall(r"^```\w*\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    indented = re.findall(
        r"^ {4}(.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), flags=re.MULTILINE
    )
    joined = [re.sub(r"\\\n *", "", block.replace("'\\\n'", "")) for block in fenced]
    return "\n".join([*joined, *indented])


def prose_of(text: str) -> str:
    """Return a page without code, without what macros write, and without the README's table."""
    without = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    without = re.sub(r"^ {4}.*$", "", without, flags=re.MULTILINE)
    without = re.sub(r"\{\{.*?\}\}|`[^`]*`", "", without, flags=re.DOTALL)
    return re.sub(
        rf"{re.escape(readme.BEGIN)}.*?{re.escape(readme.END)}", "", without, flags=re.DOTALL
    )


def commands_of(text: str) -> list[str]:
    """Return the `prefixbank ...` commands of a page, pipes, comments and `$` cut off."""
    typed = re.findall(
        r"^\$? ?(?:[^|\n]*\| *)?(prefixbank [a-z][^#\n|]*)", code_of(text), flags=re.MULTILINE
    )
    quoted = re.findall(r"`(prefixbank [a-z][^`]*)`", text)
    return sorted({line.strip() for line in [*typed, *quoted]})


COMMAND_LINES = [
    pytest.param(line, id=f"{name}: {line}")
    for name, path in SHOWN.items()
    for line in commands_of(path.read_text(encoding="utf-8"))
]


def parsed(line: str) -> tuple[str, list[str]]:
    """Let Typer read a command line; return the command and its settings.

    Raises:
        LookupError: there is no such command.
    """
    words = shlex.split(line)[1:]
    command, path = typer.main.get_command(app), []
    while hasattr(command, "commands"):
        path.append(words.pop(0))
        command = command.commands[path[-1]]
    context = command.make_context(" ".join(path), words)
    return " ".join(path), list(context.params.get("overrides") or ())


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_command_is_one_that_the_command_line_and_the_schema_know(line):
    command, settings = parsed(line)
    assert command in {*COMMANDS, "doctor"} or command.startswith(("cache ", "config "))
    if command in COMMANDS:
        _, settings = table.command_named(command).split_texts(settings)
    if command not in COMMANDS or USERS_OWN in line or "experiment=NAME" in settings:
        return
    runs = compose.expand_sweep(settings) if "--sweep" in line else [settings]
    for one in runs:
        if WRONG_ON_PURPOSE in one:
            with pytest.raises(PrefixbankError):
                compose.compose(COMMANDS[command], one)
        elif one:
            compose.compose(COMMANDS[command], one)


PYTHON_BLOCKS = [
    pytest.param(block, id=f"{name} {number}")
    for name, path in SHOWN.items()
    for number, block in enumerate(
        re.findall(r"^```python\n(.*?)^```$", path.read_text(encoding="utf-8"), re.M | re.S)
    )
]


@pytest.fixture(scope="module")
def store_of_examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with what examples in Python begin with.

    `prefix/polarity`, `bank/two` and `embeddings/reviews@two`.
    """
    store = tmp_path_factory.mktemp("examples") / "store"
    recipe = pb.PrefixRecipe(optim=pb.OptimConfig(epochs=0))
    prefix = pb.train_prefix("polarity", encoder="tiny", recipe=recipe, store=store)
    bank = pb.combine([prefix], name="two", store=store)
    reviews = store.parent / "reviews.txt"
    reviews.write_text("The food was fine.\nThe soup came cold and late.\n", encoding="utf-8")
    pb.embed(bank, reviews, name="reviews@two", store=store)
    return store


@pytest.mark.parametrize("block", PYTHON_BLOCKS)
def test_python_example_runs(block: str, store_of_examples: Path, monkeypatch):
    """With the tiny encoder; `texts` and `labels` are the reader's own."""
    monkeypatch.setenv("PREFIXBANK_STORE", str(store_of_examples))
    rows = rows_of("mine", "train")
    given = {"texts": rows["text"], "labels": rows["label"], "pb": pb}
    before = set(given)
    exec(block.replace('encoder="minilm"', 'encoder="tiny"'), given)
    assert set(given) - before, "an example makes something"


def test_unknown_command_in_a_page_would_be_found():
    with pytest.raises(LookupError):
        parsed("prefixbank transfer learn task=polarity")


def test_unknown_flag_in_a_page_would_be_found():
    with pytest.raises(Exception, match="No such option: --frce"):  # codespell:ignore frce
        parsed("prefixbank train-prefix task=polarity --frce")  # codespell:ignore frce


def test_readme_shows_every_command():
    shown = {
        parsed(line)[0].split(" ")[0] for line in commands_of(TOP[0].read_text(encoding="utf-8"))
    }
    assert shown >= {command.split(" ")[0] for command in COMMANDS} | {"cache", "config", "doctor"}


def test_readme_is_short():
    lines = TOP[0].read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 130 and max(map(len, lines)) <= 100


@pytest.mark.parametrize("path", TOP, ids=lambda path: path.name)
def test_local_links_lead_somewhere(path):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8"))
    assert not [link for link in links if not (ROOT / link).exists()]


def test_make_targets_that_pages_name_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    pages = "\n".join(path.read_text(encoding="utf-8") for path in (*TOP[:3], *PAGES))
    named = set(re.findall(r"(?:`|^ {4}|^\$ )make ([a-z0-9-]+)", pages, flags=re.MULTILINE))
    missing = sorted(target for target in named if f"\n{target}: " not in makefile)
    assert named and not missing


def test_page_on_encoders_names_every_prepared_one():
    rows = "\n".join(
        line
        for line in SHOWN["docs/how-to/own-encoder.md"].read_text(encoding="utf-8").splitlines()
        if line.startswith("|") and "works" in line
    )
    prepared = set(compose.groups()["encoder"]) - {"bank", "folder", "hub"}
    assert set(re.findall(r"`([a-z0-9_]+)`", rows)) - {"folder", "hub"} == prepared


def test_scores_are_written_by_macros_and_not_by_hand():
    texts = {name: path.read_text(encoding="utf-8") for name, path in SHOWN.items()}
    score = re.compile(r"(?<!\d)0?\.\d{3,}")
    found = [
        f"{name}: {number}"
        for name, text in texts.items()
        if ONLY_RECORD not in " ".join(text.split())
        for number in score.findall(prose_of(text))
    ]
    assert not found, "\n".join(found)


def test_results_of_the_readme_are_those_of_the_result_files():
    text = TOP[0].read_text(encoding="utf-8")
    assert readme.written(text) == text


def test_report_table_takes_columns_and_rows_by_name(tmp_path: Path, monkeypatch):
    (tmp_path / "report.md").write_text(
        "## Scores\n\n| a | b |\n|---|---|\n| x | 1 |\n| y | 2 |\n", encoding="utf-8"
    )
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    assert tables.report_table("report.md", "Sco", ["b"], ["y"]).splitlines() == [
        "| b |",
        "| --- |",
        "| 2 |",
    ]
    assert tables.cell("report.md", "Scores", "x", "b") == "1"
    with pytest.raises(KeyError):
        tables.report_table("report.md", "Scores", rows=["z"])


def test_setting_without_a_meaning_is_a_warning_that_ends_a_strict_build(caplog):
    bare = Setting(name="optim.lr", values="a number", default="1", meaning="", only_with="")
    with caplog.at_level(logging.WARNING, logger="mkdocs"):
        reference.setting_table([bare], [])
    assert [record.name for record in caplog.records] == ["mkdocs.settings"]


def test_reference_has_every_command_and_every_setting():
    commands, settings = reference.command_line(), reference.settings()
    assert all(f"## `prefixbank {command}`\n" in commands for command in COMMANDS)
    rows = re.findall(r"^\| `([\w.]+)` \|", settings, flags=re.MULTILINE)
    assert {
        "optim.lr",
        "prefix.length",
        "corpus.path",
        "experiment.update.add",
        "run.ray.address",
    } <= set(rows)


class Loaded(HTMLParser):
    """Addresses that a browser loads by itself when it shows a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "link" and "canonical" not in (found.get("rel") or ""):
            self.addresses.append(found.get("href") or "")
        elif tag in ("script", "img", "iframe", "source", "video", "object", "embed"):
            self.addresses += [found.get(name) or "" for name in ("src", "data", "srcset")]


@pytest.mark.slow
def test_site_builds_strictly_and_loads_nothing_from_another_host(tmp_path: Path):
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        build, cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    pages = sorted(tmp_path.rglob("*.html"))
    assert len(pages) > len(PAGES)
    outside = []
    for page in pages:
        loaded = Loaded()
        loaded.feed(page.read_text(encoding="utf-8"))
        outside += [
            f"{page.name}: {one}" for one in loaded.addresses if re.match(r"(https?:)?//", one)
        ]
    styles = [file.read_text(encoding="utf-8") for file in tmp_path.rglob("*.css")]
    outside += [
        found
        for text in styles
        for found in re.findall(r"(?:url\(|@import )[\"']?https?://[^)\"']+", text)
    ]
    assert not outside, "\n".join(outside)


def test_flags_that_pages_quote_exist():
    helped = [
        CliRunner().invoke(app, [*words, "--help"]).output
        for words in (["train-prefix"], ["cache", "gc"], ["cache", "rm"], ["config", "show"])
    ]
    quoted = {
        flag
        for path in SHOWN.values()
        for flag in re.findall(r"`(--[a-z-]+)", path.read_text(encoding="utf-8"))
    }
    assert quoted and not [
        flag for flag in sorted(quoted) if not any(flag in text for text in helped)
    ]
