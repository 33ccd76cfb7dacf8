"""What people see: step lines, progress, formats, and errors that end a command."""

from __future__ import annotations

import os
import pty
import re
import select
from dataclasses import replace

import pytest
import typer

from prefixbank.cli import console
from prefixbank.cli.console import chosen_format, print_rows, reported
from prefixbank.commands.progress import StepLines, line_of
from prefixbank.errors import DamagedError, PrefixbankError, UsageError
from prefixbank.runtime.events import Event
from tests.cli.command import faults_in

ROWS = [{"name": "a", "score": 0.12345, "list": [1, 2]}, {"name": "b", "other": None}]


DONE = Event(
    kind="done",
    step="embed",
    name="x@demo",
    key="0123456789",
    size_bytes=300_000,
    seconds=318.04,
    text="3 rows",
)
EVENTS = {
    Event(kind="miss", step="train-prefix", name="snli", text="seed 0 -> 1"): [
        "train-prefix",
        "snli",
        "MISS",
        "seed 0 -> 1",
    ],
    Event(kind="waits", step="combine", name="demo", text="needs x"): [
        "combine",
        "demo",
        "MISS",
        "needs x",
    ],
    Event(kind="note", step="task", name="t", text="said"): ["task", "t", "note", "said"],
    DONE: ["embed", "x@demo", "done", "01234567", "0.3 MB", "318.0 s", "3 rows"],
    replace(DONE, kind="hit", size_bytes=1_500, seconds=0.0, text=""): [
        "embed",
        "x@demo",
        "hit",
        "01234567",
        "1.5 kB",
        "0.0 s",
    ],
}


@pytest.mark.parametrize(("event", "cells"), EVENTS.items(), ids=[event.kind for event in EVENTS])
def test_line_of_an_event_names_step_what_and_outcome(event, cells):
    assert re.split(" {2,}", line_of(event)) == cells


def test_lines_of_events_are_aligned():
    assert len({line_of(event).index(f"{cells[2]} ") for event, cells in EVENTS.items()}) == 1


def test_steps_go_to_stderr_one_line_each(capsys):
    with StepLines() as steps:
        for name in ("a", "b"):
            steps(Event(kind="note", step="task", name=name, text="x" * 300))
    out, err = capsys.readouterr()
    assert out == "" and [line.split()[1] for line in err.splitlines()] == ["a", "b"]


def test_progress_is_silent_where_there_is_no_terminal(capsys):
    with StepLines() as steps:
        steps(Event(kind="progress", step="embed", name="a", done=1, total=2, text="loss 0.5"))
    assert capsys.readouterr() == ("", "")


def read_until(descriptor: int, wanted: str) -> str:
    """What a terminal was sent, up to and with `wanted`; it may arrive in pieces."""
    shown = b""
    while (
        wanted not in shown.decode("utf-8", errors="ignore")
        and select.select([descriptor], [], [], 10)[0]
    ):
        shown += os.read(descriptor, 100_000)
    return shown.decode("utf-8")


def test_progress_is_drawn_on_a_terminal_and_gone_at_the_end(monkeypatch):
    master, slave = pty.openpty()
    with os.fdopen(slave, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        monkeypatch.setenv("TERM", "xterm")
        with StepLines() as steps:
            steps(Event(kind="progress", step="embed", name="a", done=1, total=4, text="loss 0.5"))
            steps.progress.refresh()
            steps(Event(kind="done", step="embed", name="a", key="0" * 32))
        shown = read_until(master, "done  00000000")
    os.close(master)
    assert (
        "1/4 loss 0.5" in shown
        and shown.index("1/4") < shown.index("done  00000000")
        and not steps.progress.tasks
    )


def test_table_of_uneven_rows_has_every_column(capsys):
    print_rows(ROWS, "table")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [["name", "score", "list", "other"], ["a", "0.123", "1,", "2"], ["b"]]


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
