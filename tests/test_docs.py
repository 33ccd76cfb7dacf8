"""What README.md and docs/ claim, checked against the code and the result files."""

from __future__ import annotations

import importlib
import json
import re
import shlex
from contextlib import nullcontext
from pathlib import Path
from statistics import median

import pytest
from typer.testing import CliRunner

from prefixbank.cli.app import app
from prefixbank.config import compose
from prefixbank.config.settings import CONFIGS, typed_name
from prefixbank.errors import PrefixbankError

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONFIGURED = {typed_name(command) for command in CONFIGS}
OTHERS = {"cache", "config", "doctor"}


def commands() -> list[str]:
    """Return every `prefixbank ...` command of the README, continuation lines joined, pipes and
    comments cut off.
    """
    text = README.replace("\\\n", " ")
    lines = re.findall(
        r"^ {4}(?:\$ )?(?:[^|\n]*\| *)?(prefixbank [^#\n|]*)", text, flags=re.M
    ) + re.findall(r"`(prefixbank [^`]*)`", text)
    return sorted({line.strip() for line in lines})


def command_of(line: str) -> str:
    """Return the command of a line; those of `transfer` have two words."""
    words = shlex.split(line)[1:]
    return " ".join(words[:2]) if words[0] == "transfer" else words[0]


def test_readme_shows_every_command():
    shown = {command_of(line) for line in commands()}
    assert shown >= CONFIGURED | OTHERS


@pytest.mark.parametrize("line", commands())
def test_command_of_the_readme_is_understood(line):
    words = shlex.split(line)[1:]
    command = command_of(line)
    assert command in CONFIGURED | OTHERS
    if command in CONFIGURED:
        settings = [word for word in words[1:] if "=" in word and not word.startswith("--")]
        if "experiment=NAME" in settings or not settings:
            return
        for one in compose.expand_sweep(settings):
            with pytest.raises(PrefixbankError) if "optim.lr=abc" in settings else nullcontext():
                compose.compose(command.replace("-", "_").replace(" ", "_"), one)
    else:
        assert CliRunner().invoke(app, [*words[:2], "--help"]).exit_code == 0


def test_flags_of_the_readme_exist():
    shown = CliRunner().invoke(app, ["train-prefix", "--help"]).output
    flags = set(re.findall(r"`(--[a-z-]+)", README)) - {"--yes"}
    assert flags and not [flag for flag in flags if flag not in shown]


def test_encoder_table_names_every_prepared_encoder():
    rows = "\n".join(
        line
        for line in README.splitlines()
        if line.startswith("| ") and ("works" in line or "refused" in line)
    )
    prepared = set(compose.groups()["encoder"]) - {"bank", "folder", "hub"}
    assert set(re.findall(r"`([a-z0-9_]+)`", rows)) - {"folder", "hub"} == prepared


def test_make_targets_of_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(
        re.search(rf"^{target}:", makefile, flags=re.M)
        for target in re.findall(r"make ([a-z-]+) ", README)
    )


@pytest.mark.parametrize(
    "page", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"]
)
def test_local_links_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / page).read_text(encoding="utf-8"))
    assert not [link for link in links if not (ROOT / link).exists()]


def test_unknown_command_line_in_the_readme_would_be_found():
    with pytest.raises(PrefixbankError):
        compose.compose(
            "train_prefix", ["task=polarity", "prefix.lenght=8"]
        )  # codespell:ignore lenght


def test_results_of_the_readme_are_those_of_the_result_file():
    table = json.loads((ROOT / "docs/results/starter.json").read_text(encoding="utf-8"))
    for name, row in table["rows"].items():
        line = next(line for line in README.splitlines() if line.startswith(f"| {name} |"))
        wanted = [f"{row['columns'][column]['value']:.3f}" for column in table["columns"]]
        assert (
            re.findall(r"(?<![\d.+-\[])0\.\d{3}(?! *[,\]])", re.sub(r"\[[^]]*\]", "", line))[
                : len(wanted)
            ]
            == wanted
        )


def test_step_cost_of_the_readme_is_that_of_the_result_file():
    ratios = [
        length["ratio"]
        for length in json.loads(
            (ROOT / "docs/results/step_cost.json").read_text(encoding="utf-8")
        )["lengths"]
    ]
    assert f"costs {min(ratios):.2f} to {max(ratios):.2f} times" in README


def test_speed_page_is_made_from_the_measurements():
    page = importlib.import_module("benchmarks.page")
    assert (ROOT / "docs/results/speed.md").read_text(encoding="utf-8") == page.page()
    assert (ROOT / "docs/results/speed.png").read_bytes() == (
        ROOT / "benchmarks/results/curves.png"
    ).read_bytes()


def test_page_on_scaling_is_made_of_what_was_measured():
    page = importlib.import_module("benchmarks.scaling_page")
    assert (ROOT / "docs/scaling.md").read_text(encoding="utf-8") == page.page()


def test_speeds_of_the_readme_are_those_measured():
    peers = json.loads((ROOT / "benchmarks/results/peers.json").read_text(encoding="utf-8"))
    shown = README.split("**Speed.**")[1].split("Eight prefixes cost")[0]
    measured = [f"{median(rates):.0f}" for rates in peers["texts_per_s"].values()]
    assert re.findall(r"\| (\d+) \|$", shown, flags=re.M) == measured[:3] + measured[4:]
    slower = 1 / peers["times_as_fast"]["prefixbank, 8 prefixes / prefixbank, no prefix"]["median"]
    assert f"Eight prefixes cost {slower:.2f} times the bare encoder" in README


def test_memory_of_the_readme_is_that_measured():
    rows = json.loads((ROOT / "benchmarks/results/memory.json").read_text(encoding="utf-8"))["rows"]
    assert (
        f"short lines take {rows['2000000']['peak_mb'] / 1000:.1f} GB of memory at most" in README
    )


def test_every_number_of_the_study_in_the_readme_is_on_its_page():
    page = (ROOT / "docs/results/transfer.md").read_text(encoding="utf-8")
    shown = README.split("**Real tasks.**")[1].split("**The starter suite.**")[0]
    numbers = set(re.findall(r"\d\.\d{3,}", shown))
    assert len(numbers) > 20 and not [number for number in numbers if number not in page]


@pytest.mark.parametrize("reading", ["transfer", "transfer-layers"])
def test_means_on_the_page_of_the_study_are_those_of_its_report(reading):
    page = (ROOT / "docs/results/transfer.md").read_text(encoding="utf-8")
    table = json.loads((ROOT / f"docs/results/{reading}/report.json").read_text(encoding="utf-8"))
    for name in table["columns"]:
        cell = table["rows"]["mean"]["columns"][name]
        assert f"{cell['value']:.3f} [{cell['low']:.3f}, {cell['high']:.3f}]" in page


def test_rows_on_prompt_transfer_are_those_that_its_commands_wrote():
    folder = ROOT / "docs/results/spot"
    written = {
        line
        for name in ("report.md", "selection.md")
        for line in (folder / name).read_text(encoding="utf-8").splitlines()
    }
    page = (ROOT / "docs/results/spot.md").read_text(encoding="utf-8")
    shown = [line for line in page.splitlines() if re.match(r"\| .*\d\.\d", line)]
    in_readme = [
        line
        for line in README.split("**Prompt transfer.**")[1].splitlines()
        if line.startswith("| ") and line in written
    ]
    assert len(shown) > 20 and not [line for line in shown if line not in written]
    assert len(in_readme) >= 4
