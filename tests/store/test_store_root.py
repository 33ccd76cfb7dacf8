from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest

from prefixbank.env import store_root
from prefixbank.errors import UsageError


def test_store_root_is_the_flag_before_the_variable(tmp_path):
    assert (
        store_root(tmp_path / "flag", environ={"PREFIXBANK_STORE": "/variable"})
        == tmp_path / "flag"
    )


def test_store_root_is_the_variable_before_the_default():
    assert store_root(environ={"PREFIXBANK_STORE": "/variable"}) == Path("/variable")


@pytest.mark.parametrize("environ", [{}, {"PREFIXBANK_STORE": ""}])
def test_store_root_is_in_the_cache_folder_of_the_user_by_default(environ):
    assert (
        store_root(environ=environ)
        == Path(platformdirs.user_cache_dir("prefixbank", appauthor=False)) / "store"
    )


def test_store_root_reads_the_variable_of_this_process(monkeypatch):
    monkeypatch.setenv("PREFIXBANK_STORE", "/variable")
    assert store_root() == Path("/variable")


def test_store_root_is_absolute_when_the_flag_is_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert store_root("here") == tmp_path / "here"


def test_store_root_knows_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert store_root("~/here") == tmp_path / "here"


def test_store_root_refuses_an_empty_flag():
    with pytest.raises(UsageError, match="--store is empty"):
        store_root("")
