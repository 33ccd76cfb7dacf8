"""The report of an experiment on stdout."""

from __future__ import annotations

import sys

import pytest

from prefixbank.cli.study import first_section, print_report

REPORT = """# Experiment small

Encoder tiny.

## Mean over targets

| representation | mean score |
|---|---|
| plain encoder | 0.812 |

![scores](report.png)

## Scores on each target

| target |
|---|
| gamma |
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "report.md").write_text(REPORT, encoding="utf-8")
    (tmp_path / "report.png").touch()
    return tmp_path


def test_first_section_ends_before_the_next_heading_and_has_no_picture():
    kept = REPORT.split("\n![")[0]
    assert first_section(REPORT) == kept.strip()


def test_report_of_one_section_is_whole():
    assert first_section("# Title\n\n## One\n\ntext\n") == "# Title\n\n## One\n\ntext"


@pytest.mark.parametrize("terminal", [True, False])
def test_report_is_rendered_on_a_terminal_only(folder, monkeypatch, capsys, terminal):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    print_report(folder)
    out = capsys.readouterr().out
    row = next(line for line in out.splitlines() if "plain encoder" in line)
    assert row.strip() == ("plain encoder   0.812" if terminal else "| plain encoder | 0.812 |")
    assert ("#" in out, "gamma" in out) == (not terminal, False)
    assert out.splitlines()[-1] == f"chart:  {folder / 'report.png'}"
