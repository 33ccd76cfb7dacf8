"""`prefixbank cache`: looking into the store and looking after it."""

from __future__ import annotations

import csv
import io
import shlex
from datetime import datetime

import numpy as np
import pytest

import prefixbank
from prefixbank.cli.cache import STEPS
from prefixbank.store.store import Store
from tests.prepared import contents
from tests.versions.record import read_record


def key_of(cli, kind: str, name: str) -> str:
    return Store(cli.store).ref(kind, name).key


def listed(cli, *args: str) -> list[dict]:
    return cli.done("cache", "ls", *args).result


def test_list_has_a_row_for_each_artifact_oldest_first(cli):
    rows = listed(cli)
    assert [row["step"] for row in rows] == [
        "tiny-encoder",
        "train-prefix",
        "train-prefix",
        "combine",
    ]
    assert sorted(row["created"] for row in rows) == [row["created"] for row in rows]


def test_list_names_refs_and_sizes(cli):
    row = listed(cli, "combine")[0]
    entry = Store(cli.store).resolve("bank", "demo")
    assert (row["key"], row["refs"], row["size_bytes"]) == (
        entry.key[:8],
        ["bank/demo"],
        sum(one.size_bytes for one in entry.files.values()),
    )
    assert datetime.fromisoformat(row["created"]).tzinfo is not None


def test_list_of_a_step_leaves_the_others_out(cli):
    assert [row["refs"] for row in listed(cli, "train-prefix")] == [
        ["prefix/alpha"],
        ["prefix/beta"],
    ]


def test_list_of_an_unknown_step_is_refused_with_a_similar_one(cli):
    fault = cli.expect_fault(2, "cache", "ls", "train-prefx")
    assert fault.what == "no step 'train-prefx'; did you mean 'train-prefix'?"


def test_every_step_that_has_code_can_be_listed():
    variants = {"task-embedding"}  # a short run of train-prefix
    assert set(STEPS) - variants == {step.replace("_", "-") for step in read_record()}


def test_store_that_is_a_file_is_refused(cli, tmp_path):
    (tmp_path / "file").write_text("x")
    fault = cli.expect_fault(2, "cache", "ls", "--store", str(tmp_path / "file"))
    assert fault.what.endswith("which is a file")


def test_list_of_an_empty_store_is_empty(cli, tmp_path):
    assert listed(cli, "--store", str(tmp_path / "new")) == []
    assert (
        cli.done("cache", "ls", "--format", "table", "--store", str(tmp_path / "new")).out
        == "nothing to show\n"
    )


def test_list_shows_a_stale_bank_with_the_command_that_renews_it(cli):
    cli.train("alpha", "seed=1")
    (row,) = listed(cli, "combine")
    state, command = row["state"].split(": ", 1)
    cli.done(*shlex.split(command)[1:])
    states = {tuple(one["refs"]): one["state"] for one in listed(cli, "combine")}
    assert state == "stale (prefix/alpha moved)" and states == {(): "", ("bank/demo",): ""}


def test_list_as_csv_has_a_header(cli):
    rows = list(csv.DictReader(io.StringIO(cli.done("cache", "ls", "--format", "csv").out)))
    assert [row["step"] for row in rows][-1] == "combine" and set(rows[0]) == {
        "step",
        "key",
        "size_bytes",
        "created",
        "refs",
        "state",
    }
    refs = [row["refs"] for row in rows if row["refs"]]
    assert refs == ["prefix/alpha", "prefix/beta", "bank/demo"]


def test_show_gives_document_files_and_facts(cli):
    shown = cli.done("cache", "show", "bank/demo").result
    entry = Store(cli.store).resolve("bank", "demo")
    assert (shown["key"], shown["digest"], shown["document"]) == (
        entry.key,
        entry.digest,
        entry.document,
    )
    assert set(shown["files"]) == {"bank.json", "bank.safetensors"} and shown["info"]["tasks"] == [
        "alpha",
        "beta",
    ]


@pytest.mark.parametrize("form", ["bank/demo", "demo", "key", "short"])
def test_show_takes_refs_names_and_keys(cli, form):
    key = key_of(cli, "bank", "demo")
    name = {"key": key, "short": key[:6]}.get(form, form)
    assert cli.done("cache", "show", name).result["key"] == key


def test_show_of_an_unknown_name_is_refused_with_a_similar_one(cli):
    assert "did you mean 'demo'?" in cli.expect_fault(2, "cache", "show", "dmo").what


def test_why_names_what_differs(cli):
    first = key_of(cli, "prefix", "alpha")
    second = cli.train("alpha", "optim.lr=0.5", "seed=3").result["key"]
    out = cli.done("cache", "why", second, first).out.splitlines()
    assert out == [
        f"train_prefix {first[:8]} -> {second[:8]}",
        "  optim.lr 0.03 -> 0.5",
        "  seed 0 -> 3",
    ]


def test_why_compares_with_the_most_similar_one(cli):
    second = cli.train("alpha", "seed=3").result["key"]
    assert cli.done("cache", "why", second).out.splitlines()[1:] == ["  seed 0 -> 3"]


def test_why_of_an_artifact_with_itself_finds_nothing(cli):
    assert cli.done("cache", "why", "bank/demo", "demo").out.splitlines()[1:] == [
        "  the same document"
    ]


def test_why_of_the_only_one_of_its_step_is_refused(cli):
    fault = cli.expect_fault(2, "cache", "why", "bank/demo")
    assert "is the only artifact of its step" in fault.what


def test_verify_of_a_sound_store_counts_it(cli):
    assert cli.done("cache", "verify").out == "4 good, 0 damaged\n"


def test_gc_without_yes_deletes_nothing(cli):
    (cli.store / "refs" / "bank" / "demo.json").unlink()
    before = contents(cli.store)
    out = cli.done("cache", "gc", "--grace-days", "0").out
    planned = [
        line
        for line in out.splitlines()
        if "no ref or pin leads to it" in line and "/combine/" in line
    ]
    assert (
        contents(cli.store) == before
        and len(planned) == 1
        and out.endswith("nothing deleted without --yes\n")
    )


def test_gc_keeps_what_is_young(cli):
    (cli.store / "refs" / "bank" / "demo.json").unlink()
    before = contents(cli.store)
    cli.done("cache", "gc", "--yes")
    assert contents(cli.store) == before


def test_gc_keeps_what_refs_need(cli, lines):
    digests = {
        entry.key: entry.digest
        for step in ("train_prefix", "combine")
        for entry in Store(cli.store).entries(step)
    }
    vectors = prefixbank.load_bank("demo").embed(["good"])
    cli.done("cache", "gc", "--yes", "--grace-days", "0")
    left = {key: Store(cli.store).get(key).digest for key in digests}
    assert left == digests and np.array_equal(prefixbank.load_bank("demo").embed(["good"]), vectors)


def test_gc_deletes_what_nothing_needs(cli):
    key = key_of(cli, "bank", "demo")
    (cli.store / "refs" / "bank" / "demo.json").unlink()
    cli.done("cache", "gc", "--yes", "--grace-days", "0")
    store = Store(cli.store)
    assert store.get(key) is None and {str(ref) for ref in store.refs()} == {
        "prefix/alpha",
        "prefix/beta",
    }
    assert [verdict.ok for verdict in store.verify()] == [True] * len(store.entries())


def test_gc_keeps_the_prefixes_of_a_bank_that_has_a_ref(cli):
    for name in ("alpha", "beta"):
        (cli.store / "refs" / "prefix" / f"{name}.json").unlink()
    cli.done("cache", "gc", "--yes", "--grace-days", "0")
    assert len(Store(cli.store).entries("train_prefix")) == 2


def test_gc_keeps_what_is_pinned(cli):
    key = key_of(cli, "bank", "demo")
    cli.done("cache", "pin", "bank/demo")
    (cli.store / "refs" / "bank" / "demo.json").unlink()
    cli.done("cache", "gc", "--yes", "--grace-days", "0")
    assert Store(cli.store).get(key) is not None


def test_gc_deletes_what_is_no_longer_pinned(cli):
    key = key_of(cli, "bank", "demo")
    (cli.store / "refs" / "bank" / "demo.json").unlink()
    said = [cli.done("cache", "pin", key, *flag).out for flag in ((), ("--remove",), ("--remove",))]
    cli.done("cache", "gc", "--yes", "--grace-days", "0")
    assert (
        said == [f"pinned {key[:8]}\n", f"unpinned {key[:8]}\n", f"{key[:8]} was not pinned\n"]
        and Store(cli.store).get(key) is None
    )


def test_pin_of_an_unknown_name_is_refused(cli):
    assert "'nothing'" in cli.expect_fault(2, "cache", "pin", "nothing").what


def test_deleted_artifacts_are_made_again(cli, lines):
    cli.done("embed", "bank=demo", f"corpus.path={lines}")
    digest = Store(cli.store).resolve("embeddings", "lines@demo").digest
    (cli.store / "refs" / "embeddings" / "lines@demo.json").unlink()
    cli.done("cache", "gc", "--yes", "--grace-days", "0")
    ran = cli.done("embed", "bank=demo", f"corpus.path={lines}")
    assert (ran.steps[-1][-1], Store(cli.store).get(ran.result["key"]).digest) == ("done", digest)


def test_negative_grace_is_refused(cli):
    before = contents(cli.store)
    assert (
        cli("cache", "gc", "--yes", "--grace-days", "-1").code == 2
        and contents(cli.store) == before
    )


def test_rm_shows_what_goes_and_removes_nothing_without_yes(cli):
    before = contents(cli.store)
    out = cli.done("cache", "rm", "bank/demo").out.splitlines()
    assert out[0].split() == ["ref", "bank/demo"] and " combine " in out[1]
    assert out[-1].startswith("1 refs, 1 artifacts") and contents(cli.store) == before


def test_rm_of_a_prefix_keeps_it_while_a_bank_was_made_from_it(cli):
    key = key_of(cli, "prefix", "alpha")
    out = cli.done("cache", "rm", "prefix/alpha", "--yes").out
    assert "stays" in out and "(bank/demo)" in out
    assert Store(cli.store).get(key) is not None and Store(cli.store).ref("prefix", "alpha") is None
    assert prefixbank.load_bank("demo").embed(["good"]).shape[0] == 1


def test_rm_by_key_of_what_a_bank_was_made_from_is_refused(cli):
    fault = cli.expect_fault(2, "cache", "rm", key_of(cli, "prefix", "alpha"), "--yes")
    assert "(bank/demo) was made from" in fault.what
    cli.done(*shlex.split(fault.fix.partition("    ")[0])[1:], "--yes")
    assert {str(ref) for ref in Store(cli.store).refs()} == {"prefix/beta"}


def test_what_was_removed_is_made_again(cli, lines):
    cli.done("embed", "bank=demo", f"corpus.path={lines}")
    digest = Store(cli.store).resolve("embeddings", "lines@demo").digest
    cli.done("cache", "rm", "embeddings/lines@demo", "--yes")
    ran = cli.done("embed", "bank=demo", f"corpus.path={lines}")
    assert (ran.steps[-1][-1], Store(cli.store).get(ran.result["key"]).digest) == ("done", digest)
