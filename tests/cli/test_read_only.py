"""Stores that cannot be written, or are only read: what is there is a hit."""

from __future__ import annotations

import pytest

import prefixbank
from prefixbank.store.store import Store
from tests.prepared import contents
from tests.unwritable import unwritable

PROBE = ("probe", "bank=demo", "task=folder", "probe.bootstrap_samples=20")


@pytest.fixture
def commands(cli, lines):
    """Commands that embed, probe and predict."""
    task = f"task.path={cli.tasks / 'gamma'}"
    corpus = f"corpus.path={lines}"
    heads = "heads=[gamma]"
    return (
        ("embed", "bank=demo", corpus),
        ("embed", "bank=demo", corpus, "corpus.shard_rows=2", "name=shards"),
        (*PROBE, task, "name=gamma"),
        ("predict", "bank=demo", heads, corpus),
    )


def test_hits_need_no_permission_to_write(cli, commands):
    made = [cli.done(*command).result["key"] for command in commands]
    with unwritable(cli.store):
        ran = [cli.done(*command) for command in commands]
        vectors = prefixbank.load_bank("demo").embed(["good"])
    assert [one.result["key"] for one in ran] == made and vectors.shape[0] == 1
    assert {kind for one in ran for _, _, kind in one.steps} == {"hit"}


def test_hit_of_another_name_is_told_where_the_name_cannot_be_kept(cli, lines):
    typed = ("embed", "bank=demo", f"corpus.path={lines}")
    key = cli.done(*typed).result["key"]
    with unwritable(cli.store):
        ran = cli.done(*typed, "name=other")
    assert ran.result["key"] == key and "embeddings/other is not set to" in ran.err


def test_miss_in_a_store_that_cannot_be_written_is_refused(cli, lines):
    with unwritable(cli.store):
        fault = cli.expect_fault(1, "embed", "bank=demo", f"corpus.path={lines}")
    assert "Read-only file system" in fault.what


def test_other_store_gives_hits_and_stays_as_it_is(cli, commands, tmp_path, monkeypatch):
    made = [cli.done(*command).result["key"] for command in commands]
    before = contents(cli.store)
    monkeypatch.setenv("PREFIXBANK_STORE_READ", str(cli.store))
    own = ("--store", str(tmp_path / "own"))
    with unwritable(cli.store):
        ran = [cli.done(*command, *own) for command in commands]
        new = cli.done(*PROBE, f"task.path={cli.tasks / 'gamma'}", "probe.seed=3", "name=new", *own)
    assert [one.result["key"] for one in ran] == made
    assert {kind for one in ran for _, _, kind in one.steps} == {"hit"}
    assert new.steps[-1][2] == "done" and contents(cli.store) == before
    assert [entry.key for entry in Store(tmp_path / "own").entries()] == [new.result["key"]]
    rows = cli.done("cache", "ls", *own).result
    assert {row["store"] for row in rows if row["refs"] == ["bank/demo"]} == {str(cli.store)}
    assert {row["store"] for row in rows if row["refs"] == ["probe/new"]} == {own[1]}


def test_bank_of_another_store_is_not_stale_for_a_prefix_of_ones_own(
    cli, lines, tmp_path, monkeypatch
):
    monkeypatch.setenv("PREFIXBANK_STORE_READ", str(cli.store))
    own = ("--store", str(tmp_path / "own"))
    cli.train("alpha", "seed=5", *own)
    cli.done("embed", "bank=demo", f"corpus.path={lines}", *own)
    rows = cli.done("cache", "ls", "combine", *own).result
    assert rows and not [row["state"] for row in rows if row["state"]]
    cli.done("combine", "prefixes=[alpha,beta]", "name=demo", *own)
    cli.train("alpha", "seed=6", *own)
    fault = cli.expect_fault(2, "embed", "bank=demo", f"corpus.path={lines}", *own)
    assert "bank/demo is stale" in fault.what
