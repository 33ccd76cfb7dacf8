"""Names of artifacts."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefixbank.errors import UsageError
from prefixbank.names import MAX_LENGTH, as_name, check_name, check_utf8, is_name


@given(st.text())
def test_name_made_of_any_text_is_one(text: str):
    assert is_name(as_name(text, empty="empty"))


@given(st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._@]{0,20}", fullmatch=True))
def test_name_stays_as_it_is(text: str):
    assert as_name(text, empty="empty") == text


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("mein t\u00e4sk (2)", "mein-t-sk-2"),
        ("-.-a", "a"),
        ("\u00e4", "none"),
        ("", "none"),
        ("x" * 200, "x" * MAX_LENGTH),
    ],
)
def test_name_is_like_the_text(text: str, name: str):
    assert as_name(text, empty="none") == name


def test_refused_name_comes_with_one_that_may_be_used():
    with pytest.raises(UsageError) as caught:
        check_name("task", "a b", setting="task.name")
    assert caught.value.fix == "task.name=a-b"


@given(st.binary(max_size=20).filter(lambda name: b"\0" not in name))
def test_bytes_that_are_not_utf8_are_refused(name: bytes):
    try:
        name.decode("utf-8")
    except UnicodeDecodeError:
        with pytest.raises(UsageError, match="a path is not UTF-8"):
            check_utf8("a path", os.fsdecode(name))
    else:
        check_utf8("a path", os.fsdecode(name))
