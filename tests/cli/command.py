"""The command line as tests use it.

Run a command, look at what it wrote, expect it to be refused.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer import testing
from typer.main import get_command

from prefixbank.cli.app import app
from tests.prepared import SMALL, contents, half_made

made_once = cache(get_command)
"""Typer reads the signatures of all commands anew for each call, which takes 50 ms."""
FAULT_LINES = ("error: ", "expected: ", "fix: ")


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def result(self) -> Any:
        """The JSON on stdout."""
        return json.loads(self.out)

    @property
    def steps(self) -> list[tuple[str, str, str]]:
        """Step, name and `hit`, `MISS`, `done` or `note` of each line on stderr."""
        found = (
            re.match(r"(\S+) +(\S.*?) {2,}(hit|MISS|done|note)\b", line)
            for line in self.err.splitlines()
        )
        return [(match[1], match[2], match[3]) for match in found if match]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One error in its three lines."""

    what: str
    expected: str
    fix: str


def faults_in(err: str) -> list[Fault]:
    """Read the errors on stderr.

    Lines before the first one are steps, after it nothing but three lines for each may come.
    """
    lines = err.splitlines()
    start = next(
        (number for number, line in enumerate(lines) if line.startswith("error: ")), len(lines)
    )
    lines = lines[start:]
    assert lines and len(lines) % 3 == 0, err
    for number, line in enumerate(lines):
        assert line.startswith(FAULT_LINES[number % 3]) and line.partition(": ")[2].strip(), err
    texts = [line.partition(": ")[2] for line in lines]
    return [
        Fault(what=what, expected=expected, fix=fix)
        for what, expected, fix in zip(*[iter(texts)] * 3, strict=True)
    ]


@dataclass(frozen=True, kw_only=True)
class CommandLine:
    """`prefixbank` in this process, with a store and tasks of the test's own."""

    store: Path
    tasks: Path

    def __call__(self, *args: str, input: str | bytes | None = None) -> Ran:
        """Run a command; anything but an orderly end is raised."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(testing, "_get_command", made_once)
            result = testing.CliRunner().invoke(app, list(args), input=input)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(code=result.exit_code, out=result.stdout, err=result.stderr)

    def done(self, *args: str, input: str | bytes | None = None) -> Ran:
        """Run a command that has to succeed."""
        ran = self(*args, input=input)
        assert ran.code == 0, ran.err
        return ran

    def train(self, name: str, *settings: str) -> Ran:
        """Train the prefix of one of the tasks with the smallest settings."""
        return self.done(
            "train-prefix", "task=folder", f"task.path={self.tasks / name}", *SMALL, *settings
        )

    def expect_refusal(
        self, code: int, *args: str, input: str | bytes | None = None
    ) -> list[Fault]:
        """Run a command that has to end with `code`, its errors in three lines, nothing on stdout
        and the store as it was.
        """
        before = contents(self.store)
        ran = self(*args, input=input)
        assert (ran.code, ran.out) == (code, ""), ran
        assert contents(self.store) == before and not half_made(self.store)
        return faults_in(ran.err)

    def expect_fault(self, code: int, *args: str, input: str | bytes | None = None) -> Fault:
        """As `expect_refusal`, for a command with a single fault."""
        (fault,) = self.expect_refusal(code, *args, input=input)
        return fault
