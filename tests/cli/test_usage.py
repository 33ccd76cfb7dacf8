"""Wrong commands and flags: three lines, as for every other error."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from prefixbank.cli.usage import CommandGroup


@pytest.mark.parametrize(
    ("typed", "what", "fix"),
    [
        (("embd",), "no such command 'embd'. Did you mean 'embed'?", "prefixbank -h"),
        (("cache", "shw"), "no such command 'shw'", "prefixbank cache -h"),
        (("embed", "--ot", "x"), "no such option: --ot", "prefixbank embed -h"),
        (("--store", "x"), "no such option: --store", "prefixbank -h"),
        (("embed", "--store"), "option '--store' requires an argument", "prefixbank -h"),
        (("embed", "--format", "xml"), "'--format': 'xml' is not one of", "prefixbank embed -h"),
        (("cache", "show"), "missing argument 'name'", "prefixbank cache show -h"),
        (("cache", "show", "a", "b"), "unexpected extra argument(s) (b)", "prefixbank cache show"),
    ],
)
def test_wrong_command_line_is_one_error_in_three_lines(cli, typed, what, fix):
    fault = cli.expect_fault(2, *typed)
    assert what in fault.what and fault.fix.startswith(fix)


@pytest.mark.parametrize("typed", [(), ("cache",), ("transfer",)])
def test_group_without_a_command_prints_its_help(cli, typed):
    ran = cli(*typed)
    assert ran.code == 2
    assert ran.err.startswith("Usage: ")
    assert "-h, --help" in ran.err and "error:" not in ran.err


def test_question_that_is_not_answered_ends_with_code_1():
    app = typer.Typer(cls=CommandGroup)

    @app.command()
    def ask() -> None:
        typer.confirm("sure?", abort=True)

    @app.command()
    def other() -> None:
        raise typer.Exit(3)

    asked, ended = (CliRunner().invoke(app, [name], input="") for name in ("ask", "other"))
    assert (asked.exit_code, ended.exit_code) == (1, 3)
    assert "aborted" in asked.stderr and "Traceback" not in asked.stderr
