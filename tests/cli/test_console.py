"""What people see: formats, and errors that end a command."""

from __future__ import annotations

from typing import Any

import pytest
import typer

from prefixbank.cli import console
from prefixbank.cli.console import chosen_format, print_rows, reported
from prefixbank.errors import (
    DamagedError,
    DeviceError,
    Faults,
    PrefixbankError,
    TrainingError,
    UsageError,
)
from tests.cli.command import faults_in

ROWS = [{"name": "a", "score": 0.12345, "list": [1, 2]}, {"name": "b", "other": None}]


def test_table_of_uneven_rows_has_every_column(capsys):
    print_rows(ROWS, "table")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [["name", "score", "list", "other"], ["a", "0.123", "1,", "2"], ["b"]]


def test_table_gives_sizes_in_megabytes(capsys):
    print_rows([{"key": "a", "size_bytes": 675_145}], "table")
    assert capsys.readouterr().out.split() == ["key", "size", "a", "0.7", "MB"]


def test_csv_of_uneven_rows_has_every_column(capsys):
    print_rows(ROWS, "csv")
    assert capsys.readouterr().out == 'name,score,list,other\na,0.12345,"[1, 2]",\nb,,,\n'


def test_json_of_a_single_result_is_one_object(capsys):
    print_rows(ROWS[:1], "json", single=True)
    assert capsys.readouterr().out.startswith("{")


@pytest.mark.parametrize(("terminal", "form"), [(True, "table"), (False, "json")])
def test_format_follows_the_terminal_unless_it_is_given(monkeypatch, terminal, form):
    monkeypatch.setattr(console.sys.stdout, "isatty", lambda: terminal, raising=False)
    assert (chosen_format(None), chosen_format("csv")) == (form, "csv")


@pytest.mark.parametrize(
    ("error", "code", "what"),
    [
        (PrefixbankError("a", expected="b", fix="c"), 1, "a"),
        (UsageError("a", expected="b", fix="c"), 2, "a"),
        (DamagedError("a", expected="b", fix="c"), 3, "a"),
        (
            PermissionError(13, "Permission denied", "x.txt"),
            1,
            "[Errno 13] Permission denied: 'x.txt'",
        ),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_error_ends_with_three_lines_and_its_code(capsys, error, code, what):
    with pytest.raises(typer.Exit) as caught, reported(debug=False):
        raise error
    (fault,) = faults_in(capsys.readouterr().err)
    assert (caught.value.exit_code, fault.what) == (code, what)


def test_debug_shows_where_an_error_of_the_system_came_from(capsys):
    with pytest.raises(typer.Exit), reported(debug=True):
        raise PermissionError(13, "Permission denied", "x.txt")
    assert "PermissionError: [Errno 13]" in capsys.readouterr().err


def test_reader_that_went_away_is_no_error_to_report(capsys):
    with pytest.raises(typer.Exit) as caught, reported(debug=False):
        raise BrokenPipeError
    assert (caught.value.exit_code, capsys.readouterr().err) == (1, "")


def test_errors_of_the_program_itself_are_not_hidden():
    with pytest.raises(ZeroDivisionError), reported(debug=False):
        _ = 1 / 0


@pytest.mark.parametrize(
    ("kinds", "code"),
    [
        ((UsageError, UsageError), 2),
        ((TrainingError, DeviceError), 1),
        ((UsageError, TrainingError), 1),
        ((UsageError, TrainingError, DamagedError), 3),
    ],
)
def test_several_faults_end_as_the_worst_of_them_does(kinds: tuple[Any, ...], code: int):
    made = [kind(f"fault {number}", expected="", fix="") for number, kind in enumerate(kinds)]
    assert Faults(made).exit_code == code
