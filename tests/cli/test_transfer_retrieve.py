"""`prefixbank transfer retrieve`.

A task's prefix, trained from the sources that are nearest to it.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from prefixbank.steps import average
from prefixbank.store.artifact import Entry
from prefixbank.store.key import key_of
from prefixbank.store.store import Store
from tests.cli.command import CommandLine, Fault, Ran, faults_in
from tests.prepared import SMALL, write_task

TASK_SETTINGS = ("optim.epochs=2",)


def args_of(cli: CommandLine, *settings: str, task: str = "gamma") -> tuple[str, ...]:
    return (
        "transfer",
        "retrieve",
        "task=folder",
        f"task.path={cli.tasks / task}",
        *SMALL,
        "k=2",
        *settings,
    )


def similar(cli: CommandLine, *settings: str) -> list[dict]:
    return json.loads(
        cli.done(
            "transfer",
            "similar",
            "task=folder",
            f"task.path={cli.tasks / 'gamma'}",
            *SMALL,
            *settings,
        ).out
    )


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
    ran = cli.done(*args_of(cli, "method=best_of_k", *TASK_SETTINGS))
    by_hand = {source: warm(cli, source, *TASK_SETTINGS) for source in ("alpha", "beta")}
    scores = {source: result_of(entry)["validation"] for source, entry in by_hand.items()}
    nearest = [row["task"] for row in similar(cli, *TASK_SETTINGS)]
    best = max(nearest, key=lambda source: scores[source])
    assert named(cli, "prefix/gamma").key == by_hand[best].key == ran.result["key"]
    assert (
        made(ran) == ["task-embedding", "train-prefix", "train-prefix"]
        and f"best validation score: from prefix/{best}" in ran.err
    )


def test_best_of_one_trains_from_the_nearest_source_only(cli):
    ran = cli.done(*args_of(cli, "k=1"))
    assert named(cli, "prefix/gamma").key == warm(cli, similar(cli)[0]["task"]).key and made(
        ran
    ) == ["task-embedding", "train-prefix"]


def test_weighted_starts_from_the_mean_of_the_best_prefixes_by_similarity_of_the_early_ones(cli):
    # Similarities that are far apart, so that equal weights would be seen.
    by_movement = ("compare=movement", "optim.weight_decay=0.1")
    cli.done(*args_of(cli, "method=weighted", *by_movement))
    weights = {row["task"]: max(row["similarity"], 0.0) for row in similar(cli, *by_movement)}
    total = sum(weights.values())
    expected = sum(
        weight / total * prefix_of(named(cli, f"prefix/{task}")) for task, weight in weights.items()
    )
    (mean,) = Store(cli.store).entries("average")
    assert prefix_of(mean) == pytest.approx(expected, abs=1e-3)
    equal = sum(prefix_of(named(cli, f"prefix/{task}")) for task in weights) / len(weights)
    assert prefix_of(mean) != pytest.approx(equal, abs=1e-3)


def test_weighted_training_is_a_hit_the_second_time_and_shows_where_it_came_from(cli):
    first = cli.done(*args_of(cli, "method=weighted"))
    second = cli.done(*args_of(cli, "method=weighted"))
    assert made(first) == ["task-embedding", "average", "train-prefix"] and made(second) == []
    assert first.result == second.result
    (mean,) = Store(cli.store).entries("average")
    entry = named(cli, "prefix/gamma")
    assert entry.document["inputs"]["init"] == mean.files["prefix.safetensors"].sha256
    assert entry.info["init"]["task"] == "alpha+beta" and {row["task"] for row in similar(cli)} == {
        "alpha",
        "beta",
    }
    cli.done("cache", "gc", "--yes", "--grace-days", "0")
    assert {one.key for one in Store(cli.store).entries("average")} == {mean.key}


def test_plan_says_what_waits_for_the_short_run(cli):
    ran = cli.done(*args_of(cli, "--dry-run"))
    assert (
        "task-embedding" in ran.err
        and "needs" in ran.err
        and not Store(cli.store).entries("task_embedding")
    )


def test_retrieved_prefix_takes_part_in_a_bank(cli):
    cli.done(*args_of(cli, "name=near"))
    assert cli.done("combine", "prefixes=[alpha,near]", "name=both").result["prefixes"] == [
        "alpha",
        "gamma",
    ]


def test_more_sources_than_there_are_are_refused_before_the_short_run(cli):
    (fault,) = cli.expect_refusal(2, *args_of(cli, "k=3"))
    assert fault.what == "k=3, but 2 prefixes can be compared with gamma" and fault.fix == "k=2"


def test_no_candidate_is_refused(cli):
    (fault,) = cli.expect_refusal(2, *args_of(cli, "prefix.kind=soft"))
    assert fault.what.startswith("none of 2 prefixes")


def test_start_beside_those_that_are_retrieved_is_refused(cli):
    (fault,) = cli.expect_refusal(2, *args_of(cli, "prefix.init=alpha"))
    assert fault.what == "prefix.init=alpha for training that starts from retrieved sources"


@pytest.mark.parametrize("method", ["weighted", "best_of_k"])
def test_source_of_another_length_is_left_out_and_refused_when_named(cli, method: str):
    cli.train("omega", "prefix.length=3")
    settings = (f"method={method}", "compare=movement")
    assert "1 of 3 prefixes left out" in cli.done(*args_of(cli, *settings, "--dry-run")).err
    (fault,) = cli.expect_refusal(2, *args_of(cli, *settings, "sources=[alpha,omega]"))
    assert fault.what.endswith("has 3 slots, prefix.length=2 with prefix.init_fit=exact")


def test_source_of_another_length_is_a_start_where_that_is_set(cli):
    cli.train("omega", "prefix.length=3")
    assert (
        len(made(cli.done(*args_of(cli, "k=3", "compare=movement", "prefix.init_fit=truncate"))))
        == 4
    )


def test_mixture_starts_from_one_prefix_of_the_tasks_behind_the_nearest_sources(cli):
    ran = cli.done(*args_of(cli, "method=mixture"))
    order = [row["task"] for row in similar(cli)]
    (mixture,) = [one for one in Store(cli.store).entries("train_prefix") if "tasks" in one.info]
    assert mixture.info["tasks"] == order and named(cli, "prefix/gamma").document["inputs"][
        "init"
    ] == sha_of(mixture)
    examples = [named(cli, f"prefix/{task}").document["inputs"]["examples"] for task in order]
    assert mixture.document["inputs"]["examples"] == examples
    assert made(ran) == ["task-embedding", "train-prefix", "train-prefix"]


def sha_of(prefix: Entry) -> str:
    return prefix.files["prefix.safetensors"].sha256


def test_mixture_of_sources_whose_rows_have_changed_is_refused(cli, tmp_path):
    moved = write_task(tmp_path / "moved")
    cli.done("train-prefix", "task=folder", f"task.path={moved}", *SMALL)
    (moved / "train.parquet").write_bytes((cli.tasks / "omega" / "train.parquet").read_bytes())
    (fault,) = refused(cli, "sources=[alpha,moved]")
    key = named(cli, "moved").short_key
    assert fault.what == f"the rows that prefix 'moved' {key} was trained on have changed"


def refused(cli: CommandLine, *settings: str) -> list[Fault]:
    """The errors of a mixture; only the short run tells which sources it is of, and is kept."""
    before = len(Store(cli.store).entries("train_prefix"))
    ran = cli(*args_of(cli, "method=mixture", *settings))
    assert ran.code == 2 and len(Store(cli.store).entries("train_prefix")) == before
    return faults_in(ran.err)


def test_mixture_is_of_the_kind_of_the_nearest_source(cli):
    cli.done(
        "train-prefix", "task=similarity", "task.max_rows=20", "task.max_validation_rows=20", *SMALL
    )
    cli.done(*args_of(cli, "method=mixture", "sources=[alpha,beta,similarity]"))
    (mixture,) = [one for one in Store(cli.store).entries("train_prefix") if "tasks" in one.info]
    assert set(mixture.info["tasks"]) == {"alpha", "beta"}
    (fault,) = refused(cli, "sources=[alpha,similarity]", "name=other")
    assert fault.what.startswith(
        "k=2, but 1 prefixes can be compared with other and are of the kind of"
    )


def test_mixture_finds_the_rows_of_its_sources_wherever_those_of_the_task_are(cli, tmp_path):
    write_task(tmp_path / "elsewhere" / "gamma")
    settings = (*SMALL, "k=2", "method=mixture", f"run.data_root={tmp_path / 'elsewhere'}")
    cli.done("transfer", "retrieve", "task=folder", "task.name=gamma", *settings)
    (mixture,) = [one for one in Store(cli.store).entries("train_prefix") if "tasks" in one.info]
    assert set(mixture.info["tasks"]) == {"alpha", "beta"}


def test_mean_does_not_depend_on_the_order_of_its_prefixes(cli):
    alpha, beta = (named(cli, f"prefix/{name}") for name in ("alpha", "beta"))
    first, second = (
        average.unit([alpha, beta], [0.25, 0.75], "a"),
        average.unit([beta, alpha], [0.75, 0.25], "b"),
    )
    assert (
        key_of(first.document)
        == key_of(second.document)
        != key_of(average.unit([alpha, beta], [0.75, 0.25], "c").document)
    )
