"""Lines for steps on stderr, and a progress bar on a terminal."""

from __future__ import annotations

import os
import pty
import re
import select
from dataclasses import replace

import pytest

from prefixbank.commands.progress import StepLines, line_of
from prefixbank.runtime.events import Event

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
