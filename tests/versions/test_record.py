"""What is recorded is read as written, and differences say what changed and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.versions.record import Recorded, differences, read_record, write_record


def recorded(version: int, **digests: str) -> Recorded:
    definitions = {name: frozenset(of_name.split()) for name, of_name in digests.items()}
    return Recorded(version=version, definitions=definitions)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (None, recorded(1, mean="a"), "is not recorded"),
        (recorded(1, mean="a"), None, "is recorded but gone"),
        (
            recorded(1, mean="a"),
            recorded(1, mean="b"),
            "changed (mean); raise VERSION in steps/embed.py",
        ),
        (recorded(1, mean="a"), recorded(1, mean="a b"), "changed (mean)"),
        (recorded(1, mean="a"), recorded(1, mean="a", total="b"), "changed (+total)"),
        (recorded(1, mean="a", total="b"), recorded(1, mean="a"), "changed (-total)"),
        (recorded(1, mean="a"), recorded(2, mean="b"), "rose from 1 to 2"),
        (recorded(2, mean="a"), recorded(1, mean="a"), "fell from 2 to 1"),
    ],
)
def test_differences_say_what_changed(before: Recorded | None, after: Recorded | None, said: str):
    was, now = ({"embed": one} if one else {} for one in (before, after))
    (line,) = differences(was, now, {"embed": "steps/embed.py"})
    assert line.startswith("embed: ") and said in line


def test_no_difference_says_nothing():
    same = {"embed": recorded(1, mean="a")}
    assert differences(same, same, {"embed": "steps/embed.py"}) == []


def test_record_is_read_as_written(tmp_path: Path):
    steps = {
        "probe": recorded(2, mean="a", total="c"),
        "embed": recorded(1, mean="a b"),
    }
    write_record(steps, tmp_path / "versions.json")
    assert read_record(tmp_path / "versions.json") == steps


def test_record_that_is_not_there_is_empty(tmp_path: Path):
    assert read_record(tmp_path / "versions.json") == {}
