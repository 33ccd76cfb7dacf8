"""`--help` and `--version`, and what the command line loads to show them."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import prefixbank
from prefixbank.cli.app import app
from prefixbank.commands.table import COMMANDS
from prefixbank.config.compose import compose, expand_sweep

PRODUCING = tuple(command.name for command in COMMANDS if command.makes != "rows")
OTHERS = (
    "cache ls",
    "cache show",
    "cache why",
    "cache verify",
    "cache gc",
    "cache rm",
    "cache pin",
    "config show",
    "config groups",
    "config check",
    "doctor",
)
HEAVY = (
    "'torch', 'transformers', 'datasets', 'sklearn', 'hydra', 'pyarrow', 'matplotlib', 'accelerate'"
)
FLAGS = (
    "--store",
    "--conf-dir",
    "--dry-run",
    "--force",
    "--quiet",
    "--format",
    "--out",
    "--sweep",
    "--debug",
)


def examples(text: str) -> list[str]:
    block = text[text.index("Examples:") :].split("\n\n")[0].splitlines()[1:]
    return [line.split("prefixbank ", 1)[1] for line in block]


@pytest.mark.parametrize("command", PRODUCING)
def test_help_of_a_producing_command_names_its_flags(cli, command):
    out = cli.done(*command.split(), "--help").out
    assert [flag for flag in FLAGS if flag not in out] == []


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_examples_in_the_help_are_valid(cli, command):
    shown = examples(cli.done(*command.name.split(), "--help").out)
    assert shown == [f"{command.name} {example}" for example in command.examples] != []
    for example in command.examples:
        words = shlex.split(example)
        settings = [word for word in words if "=" in word and not word.startswith("--")]
        for run in expand_sweep(settings) if "--sweep" in words else [settings]:
            assert isinstance(compose(command.settings, run), command.settings)


@pytest.mark.parametrize("command", OTHERS)
def test_help_of_every_other_command_says_what_it_does_and_gives_an_example(cli, command):
    _, message, *_, last = cli.done(*command.split(), "--help").out.strip().split("\n\n")
    assert message.endswith(".") and last.strip().startswith(f"Example: prefixbank {command}")


def test_help_lists_every_command(cli):
    out = cli.done("--help").out
    assert [
        name
        for name in (*PRODUCING, "cache", "config", "doctor")
        if f"  {name.split()[0]} " not in out
    ] == []


def test_command_without_arguments_shows_the_help(cli):
    ran = cli()
    assert ran.code == 2 and "train-prefix" in ran.out + ran.err


def test_version_is_the_packages(cli):
    assert cli.done("--version").out == f"{prefixbank.__version__}\n"


def modules_after(code: str, store: Path) -> str:
    code = f"import sys\n{code}\nprint(sorted(set(({HEAVY})) & set(sys.modules)), file=sys.stderr)"
    environ = {
        **os.environ,
        "PYTHONPATH": str(Path(prefixbank.__file__).parents[1]),
        "PREFIXBANK_STORE": str(store),
    }
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ
    ).stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "args",
    [["--help"], ["train-prefix", "--help"], ["--version"], ["cache", "ls"], ["cache", "gc"]],
    ids=" ".join,
)
def test_quick_commands_load_no_heavy_library(prepared, args):
    code = (
        f"from prefixbank.cli.app import app\ntry:\n    app({args})\nexcept SystemExit as end:\n"
        "    assert not end.code"
    )
    assert modules_after(code, prepared.store) == "[]"


def test_importing_the_package_loads_no_heavy_library(prepared):
    assert modules_after("import prefixbank", prepared.store) == "[]"


def test_installed_command_is_this_command_line():
    from importlib.metadata import entry_points

    (script,) = entry_points(group="console_scripts", name="prefixbank")
    assert script.value == "prefixbank.cli.app:main"


def test_result_that_nobody_reads_ends_quietly(prepared):
    code = "from prefixbank.cli.app import main; main()"
    environ = {**os.environ, "PREFIXBANK_STORE": str(prepared.store)}
    with subprocess.Popen(
        [sys.executable, "-c", code, "cache", "show", "bank/demo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
    ) as process:
        process.stdout.close()
        err = process.stderr.read()
    assert "Traceback" not in err


@pytest.mark.parametrize("words", [(), ("train-prefix",), ("cache", "ls"), ("transfer", "map")])
def test_short_flag_shows_the_same_help(words: tuple[str, ...]):
    short, long = (CliRunner().invoke(app, [*words, flag]) for flag in ("-h", "--help"))
    assert (short.exit_code, short.stdout) == (0, long.stdout) and "Usage" in short.stdout
