"""Lines for steps on stderr, and progress: a bar on a terminal, lines at times elsewhere."""

from __future__ import annotations

import os
import pty
import re
import select
from dataclasses import dataclass, replace
from math import nan

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
    DONE: ["embed", "x@demo", "done", "01234567", "0.3 MB", "5 min 18 s", "3 rows"],
    replace(DONE, kind="hit", size_bytes=1_500, seconds=0.0, text=""): [
        "embed",
        "x@demo",
        "hit",
        "01234567",
        "0.01 MB",
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


@dataclass
class Clock:
    """A clock that tests set."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def step(done: int, unit: str = "steps", total: int = 100) -> Event:
    return Event(kind="progress", step="train-prefix", name="a", done=done, total=total, unit=unit)


def unit(done: int) -> Event:
    return Event(kind="progress", step="run", name="small", done=done, total=23, unit="units")


def lines_of(capsys: pytest.CaptureFixture[str], events: list[tuple[float, Event]]) -> list[str]:
    """Return what is printed where there is no terminal if events come at these times."""
    clock = Clock()
    with StepLines(clock=clock) as steps:
        for clock.now, event in events:
            steps(event)
    out, err = capsys.readouterr()
    assert out == ""
    return [" ".join(line.split()) for line in err.splitlines()]


def test_progress_without_a_terminal_is_a_line_each_half_minute(capsys):
    shown = lines_of(capsys, [(second, step(second)) for second in range(1, 100)])
    assert [line.split(",")[0] for line in shown] == [
        f"train-prefix a {done} of 100 steps" for done in (31, 61, 91)
    ]


def test_time_left_is_that_of_the_rest_at_the_pace_so_far(capsys):
    # 40 of 50 steps in 60 seconds: the last 50 take 75 more, which is written as 2 minutes.
    assert lines_of(capsys, [(0, step(10)), (60, step(50))]) == [
        "train-prefix a 50 of 100 steps, about 2 min left"
    ]


def test_whole_command_goes_on_while_its_steps_come_and_go(capsys):
    events = [
        (0, unit(0)),
        (10, step(10)),
        (20, DONE),
        (20, unit(1)),
        (21, step(1, unit="texts")),
        (40, DONE),
        (110, unit(5)),
    ]
    assert [line for line in lines_of(capsys, events) if "of" in line.split()] == [
        "run small 5 of 23 units, about 7 min left"
    ]


def test_work_that_is_left_decides_where_it_is_known(capsys):
    events = [(0, unit(0)), (60, replace(unit(1), to_do=3.0)), (100, replace(unit(2), to_do=nan))]
    assert lines_of(capsys, events) == [
        "run small 1 of 23 units, about 3 min left",
        "run small 2 of 23 units",
    ]


def test_pace_begins_anew_with_another_unit(capsys):
    events = [(0, step(0, "texts")), (50, step(100, "texts")), (51, step(1)), (60, step(2))]
    assert lines_of(capsys, events) == ["train-prefix a 100 of 100 texts"]


def test_quiet_shows_neither_steps_nor_progress(capsys):
    clock = Clock()
    with StepLines(quiet=True, clock=clock) as steps:
        steps(step(1))
        clock.now = 100
        steps(step(2))
        steps(DONE)
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
            event = Event(kind="progress", step="embed", name="a", done=1, total=4, unit="rows")
            steps(replace(event, text="loss 0.5"))
            steps.progress.refresh()
            steps(Event(kind="done", step="embed", name="a", key="0" * 32))
        shown = read_until(master, "done  00000000")
    os.close(master)
    assert (
        "1 of 4 rows, loss 0.5" in shown
        and shown.index("1 of 4") < shown.index("done  00000000")
        and not steps.progress.tasks
    )
