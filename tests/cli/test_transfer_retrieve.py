"""`prefixbank transfer retrieve`: a task's prefix, trained from the sources that are nearest to it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from prefixbank.store import Store
from prefixbank.store.artifact import Entry
from tests.cli.command import CommandLine, Ran
from tests.prepared import SMALL

TASK_SETTINGS = ("optim.epochs=2",)


def args_of(cli: CommandLine, *settings: str, task: str = "gamma") -> tuple[str, ...]:
    return ("transfer", "retrieve", "task=folder", f"task.path={cli.tasks / task}", *SMALL, "k=2", *settings)


def similar(cli: CommandLine, *settings: str) -> list[dict]:
    return json.loads(cli.done("transfer", "similar", "task=folder", f"task.path={cli.tasks / 'gamma'}", *SMALL, *settings).out)


def named(cli: CommandLine, ref: str) -> Entry:
    return Store(cli.store).resolve("prefix", ref)


def result_of(entry: Entry) -> dict:
    return json.loads(entry.file("result.json").read_text(encoding="utf-8"))


def prefix_of(entry: Entry) -> np.ndarray:
    return load_file(entry.file("prefix.safetensors"))["prefix"].astype(np.float64)


def warm(cli: CommandLine, source: str, *settings: str) -> Entry:
    """Train gamma from a source by hand."""
    cli.train("gamma", f"prefix.init=prefix/{source}", f"name=by-hand-{source}", *settings)
    return named(cli, f"prefix/by-hand-{source}")


def made(ran: Ran) -> list[str]:
    return [step for step, _, kind in ran.steps if kind == "done"]


def test_best_of_k_is_the_training_that_validates_best_of_those_from_the_nearest_sources(cli):
    ran = cli.done(*args_of(cli, "method=best-of-k", *TASK_SETTINGS))
    by_hand = {source: warm(cli, source, *TASK_SETTINGS) for source in ("alpha", "beta")}
    scores = {source: result_of(entry)["validation"] for source, entry in by_hand.items()}
    nearest = [row["task"] for row in similar(cli, *TASK_SETTINGS)]
    best = max(nearest, key=lambda source: scores[source])
    assert named(cli, "prefix/gamma").key == by_hand[best].key == ran.result["key"]
    assert made(ran) == ["task-embedding", "train-prefix", "train-prefix"] and f"validates best from prefix/{best}" in ran.err


def test_best_of_one_trains_from_the_nearest_source_only(cli):
    ran = cli.done(*args_of(cli, "k=1"))
    assert named(cli, "prefix/gamma").key == warm(cli, similar(cli)[0]["task"]).key and made(ran) == ["task-embedding", "train-prefix"]


def test_weighted_starts_from_the_mean_of_the_best_prefixes_by_similarity_of_the_early_ones(cli):
    cli.done(*args_of(cli, "method=weighted", "optim.epochs=0", "name=start"))
    weights = {row["task"]: row["similarity"] for row in similar(cli, "optim.epochs=0")}
    total = sum(weights.values())
    expected = sum(weight / total * prefix_of(named(cli, f"prefix/{task}")) for task, weight in weights.items())
    assert prefix_of(named(cli, "prefix/start")) == pytest.approx(expected, abs=1e-4)


def test_weighted_training_is_a_hit_the_second_time_and_shows_where_it_came_from(cli):
    first = cli.done(*args_of(cli, "method=weighted"))
    second = cli.done(*args_of(cli, "method=weighted"))
    assert made(first) == ["task-embedding", "average", "train-prefix"] and made(second) == []
    assert first.result == second.result
    (average,) = Store(cli.store).entries("average")
    entry = named(cli, "prefix/gamma")
    assert entry.document["inputs"]["init"] == average.files["prefix.safetensors"].sha256
    assert entry.info["init"]["task"] == "+".join(row["task"] for row in similar(cli))
    cli.done("cache", "gc", "--yes", "--grace-days", "0")
    assert {one.key for one in Store(cli.store).entries("average")} == {average.key}


def test_plan_says_what_waits_for_the_short_run(cli):
    ran = cli.done(*args_of(cli, "--dry-run"))
    assert "task-embedding" in ran.err and "needs" in ran.err and not Store(cli.store).entries("task_embedding")


def test_retrieved_prefix_takes_part_in_a_bank(cli):
    cli.done(*args_of(cli, "name=near"))
    assert cli.done("combine", "prefixes=[alpha,near]", "name=both").result["prefixes"] == ["alpha", "gamma"]


def test_more_sources_than_there_are_are_refused_before_the_short_run(cli):
    (fault,) = cli.expect_refusal(2, *args_of(cli, "k=3"))
    assert fault.what == "k=3, but 2 prefixes can be compared with gamma" and fault.fix == "k=2"


def test_no_candidate_is_refused(cli):
    (fault,) = cli.expect_refusal(2, *args_of(cli, "prefix.kind=soft"))
    assert fault.what.startswith("none of 2 prefixes")


def test_start_beside_those_that_are_retrieved_is_refused(cli):
    (fault,) = cli.expect_refusal(2, *args_of(cli, "prefix.init=alpha"))
    assert fault.what.startswith("prefix.init=alpha for a training that starts from what is retrieved")


@pytest.mark.parametrize("method", ["weighted", "best-of-k"])
def test_source_of_another_length_is_left_out_and_refused_when_named(cli, method: str):
    cli.train("omega", "prefix.length=3")
    assert "1 of 3 prefixes left out" in cli.done(*args_of(cli, f"method={method}", "--dry-run")).err
    (fault,) = cli.expect_refusal(2, *args_of(cli, f"method={method}", "sources=[alpha,omega]"))
    assert fault.what.endswith("has 3 slots, prefix.length=2 with prefix.init_fit=exact")


def test_source_of_another_length_is_a_start_where_that_is_asked_for(cli):
    cli.train("omega", "prefix.length=3")
    assert len(made(cli.done(*args_of(cli, "k=3", "prefix.init_fit=truncate")))) == 4
