"""`prefixbank transfer similar`: source prefixes by their similarity to a task."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from prefixbank.commands.invocation import Invocation
from prefixbank.store.artifact import Entry
from prefixbank.store.store import Store
from tests.cli.command import CommandLine
from tests.commands import call
from tests.prepared import SMALL, write_task


def args_of(cli: CommandLine, *settings: str) -> tuple[str, ...]:
    return (
        "transfer",
        "similar",
        "task=folder",
        f"task.path={cli.tasks / 'gamma'}",
        *SMALL,
        *settings,
    )


def rows_of(cli: CommandLine, *settings: str) -> list[dict]:
    return json.loads(cli.done(*args_of(cli, *settings)).out)


def embedding(cli: CommandLine, key: str) -> np.ndarray:
    """The mean token of a task embedding, [L, 2HD]: keys and values of all heads side by side."""
    entry = Store(cli.store).get(key)
    tensor = load_file(entry.file("task_embedding.safetensors"))["prefix"]
    return np.stack([layer.mean(axis=2).reshape(-1) for layer in tensor]).astype(np.float64)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / math.sqrt(float(a @ a) * float(b @ b)))


def test_similarity_is_the_cosine_of_the_mean_tokens_of_both_task_embeddings(cli):
    rows = rows_of(cli)
    (target,) = Store(cli.store).entries("task_embedding")
    own = embedding(cli, target.key)
    assert [row["rank"] for row in rows] == [1, 2] and {row["source"] for row in rows} == {
        "prefix/alpha",
        "prefix/beta",
    }
    for row in rows:
        other = embedding(cli, row["key"])
        assert row["similarity"] == pytest.approx(
            cosine(own.reshape(-1), other.reshape(-1)), abs=1e-4
        )
        assert row["by_layer"] == pytest.approx(
            [cosine(a, b) for a, b in zip(own, other, strict=True)], abs=1e-4
        )
    assert rows[0]["similarity"] >= rows[1]["similarity"]


def test_short_run_is_a_hit_the_second_time(cli):
    first, second = cli.done(*args_of(cli)), cli.done(*args_of(cli))
    assert first.out == second.out and [kind for *_, kind in first.steps] == ["MISS", "done"]
    assert [kind for *_, kind in second.steps] == ["hit"]


def test_task_that_is_trained_already_needs_no_run(cli):
    rows = rows_of(cli)
    cli.train("gamma")
    ran = cli.done(*args_of(cli))
    assert json.loads(ran.out) == rows and ran.steps == []


def test_prefix_of_the_task_itself_is_no_source(cli):
    cli.train("gamma", "name=other", "seed=5")
    assert {row["source"] for row in rows_of(cli)} == {"prefix/alpha", "prefix/beta"}


def test_sources_can_be_named_and_measured_otherwise(cli):
    (row,) = rows_of(cli, "sources=[beta]", "similarity=per_token")
    entry = Store(cli.store).resolve("prefix", "beta")
    (target,) = Store(cli.store).entries("task_embedding")
    a, b = (
        load_file(one.file("task_embedding.safetensors"))["prefix"].astype(np.float64)
        for one in (entry, target)
    )
    tokens = [[one[:, :, :, slot].reshape(-1) for slot in range(one.shape[3])] for one in (a, b)]
    expected = np.mean([cosine(one, other) for one in tokens[0] for other in tokens[1]])
    assert row["similarity"] == pytest.approx(expected, abs=1e-4) and row["source"] == "prefix/beta"


def test_movement_is_the_task_embedding_without_its_start_values(cli):
    # A short run of no steps moves nowhere.
    before = rows_of(cli, "optim.epochs=0", "compare=movement")
    assert [row["similarity"] for row in before] == [0.0, 0.0]
    rows = rows_of(cli, "compare=movement")
    (target,) = [
        one
        for one in Store(cli.store).entries("task_embedding")
        if one.document["config"]["optim"]["epochs"] == 1
    ]
    for row in rows:
        source = Store(cli.store).get(row["key"])
        started = load_file(untrained(cli, row["task"]).file("prefix.safetensors"))["prefix"]
        moved = [
            (load_file(one.file("task_embedding.safetensors"))["prefix"] - started)
            .mean(axis=3)
            .reshape(-1)
            for one in (source, target)
        ]
        assert row["similarity"] == pytest.approx(
            cosine(*(one.astype(np.float64) for one in moved)), abs=1e-4
        )
    assert rows != rows_of(cli)


def untrained(cli: CommandLine, task: str) -> Entry:
    """The prefix that training starts from: that of a training of no epochs."""
    cli.train(task, "optim.epochs=0", f"name={task}-untrained")
    return Store(cli.store).resolve("prefix", f"{task}-untrained")


def test_values_are_compared_only_with_those_that_started_alike(cli):
    cli.train("omega", "seed=7", "name=elsewhere")
    cli.train("omega", "prefix.length=3", "name=longer")
    cli.train("omega", "prefix.init=alpha", "name=warm")
    ran = cli.done(*args_of(cli))
    assert {row["task"] for row in json.loads(ran.out)} == {
        "alpha",
        "beta",
    } and "3 of 5 prefixes left out" in ran.err
    faults = cli.expect_refusal(2, *args_of(cli, "sources=[alpha,elsewhere,warm]"))
    started = [
        "started from seed=7, the run on the task starts from seed=0",
        "started from prefix.init=prefix, the run on the task starts from",
    ]
    assert [
        fault.what.split(" ", 1)[1].startswith(message)
        for fault, message in zip(faults, started, strict=True)
    ] == [True, True]
    # All but the one from a trained prefix.
    assert len(json.loads(cli.done(*args_of(cli, "compare=movement")).out)) == 4


def test_movement_from_another_start_is_refused(cli):
    (fault,) = cli.expect_refusal(2, *args_of(cli, "compare=movement", "prefix.init=alpha"))
    assert (
        fault.what.startswith("the run on gamma has prefix.init=prefix")
        and "compare=weights" in fault.fix
    )
    cli.train("omega", "prefix.init=alpha", "name=warm")
    (fault,) = cli.expect_refusal(2, *args_of(cli, "compare=movement", "sources=[alpha,warm]"))
    assert fault.what.startswith("warm has prefix.init=prefix") or fault.what.startswith(
        "prefix/warm has prefix.init=prefix"
    )


def test_prefixes_that_cannot_be_compared_are_left_out_and_reported(cli):
    cli.train("omega", "prefix.kind=soft", "name=prompt")
    ran = cli.done(*args_of(cli))
    assert len(json.loads(ran.out)) == 2 and "1 of 3 prefixes left out" in ran.err


def test_prefix_that_is_named_and_cannot_be_compared_is_refused(cli):
    cli.train("omega", "prefix.kind=soft", "name=prompt")
    fault = cli.expect_fault(2, *args_of(cli, "sources=[alpha,prompt]"))
    assert (
        fault.what == "prefix/prompt has prefix.kind=soft, the short run prefix.kind=deep"
        and "prefix.kind=soft" in fault.fix
    )


def test_no_source_is_refused_before_the_short_run(cli):
    fault = cli.expect_fault(2, *args_of(cli, "prefix.kind=soft"))
    assert fault.what.startswith("none of 2 prefixes") and not Store(cli.store).entries(
        "task_embedding"
    )


def test_source_that_is_not_there_is_refused(cli):
    assert (
        "no prefix or key 'nosuch'" in cli.expect_fault(2, *args_of(cli, "sources=[nosuch]")).what
    )


def test_similar_task_is_ranked_before_a_far_one(cli, tmp_path: Path):
    near = write_task(tmp_path / "near", "gamma")
    (near / "train.parquet").write_bytes((cli.tasks / "gamma" / "train.parquet").read_bytes())
    cli.done(
        "train-prefix",
        "task=folder",
        f"task.path={near}",
        *SMALL,
        "task.max_rows=36",
        "optim.epochs=4",
        "prefix.task_embedding_fraction=1",
    )
    rows = rows_of(cli, "optim.epochs=4", "prefix.task_embedding_fraction=1")
    assert rows[0]["source"] == "prefix/near"


def test_python_gives_the_same_rows(cli):
    given = args_of(cli)[2:]
    assert call("transfer similar", *given, invocation=Invocation(store=cli.store)) == rows_of(cli)
