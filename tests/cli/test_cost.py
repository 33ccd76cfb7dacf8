"""`prefixbank cost`: what representations cost for one text and for N tasks."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file

import prefixbank as pb
from prefixbank.artifacts.json_files import read_json
from prefixbank.store.store import Store
from tests.cli.command import CommandLine
from tests.prepared import Prepared, copy_store

QUICK = ("optim.epochs=1", "optim.batch_size=20")
COUNT = ("cost", "rounds=0", "tokens=16")


@pytest.fixture(scope="module")
def taught(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a multi-task encoder, a student for one task and one for both."""
    store = copy_store(prepared.store, tmp_path_factory.mktemp("taught") / "store")
    cli, where = CommandLine(store=store, tasks=prepared.tasks), ("--store", str(store))
    root = f"run.data_root={prepared.tasks}"
    cli.done(
        *("train-multitask", "tasks=[alpha,beta]", root, "encoder=tiny", "name=both"),
        *(*QUICK, *where),
    )
    student = ("train-student", "teacher=multitask/both", "student.layers=1", root, *QUICK, *where)
    cli.done(*student, "tasks=[alpha]", "name=one")
    cli.done(*student, "name=all")
    return store


@pytest.fixture
def cli(prepared: Prepared, taught: Path, user_store: Path) -> CommandLine:
    return CommandLine(store=copy_store(taught, user_store), tasks=prepared.tasks)


def rows_of(cli: CommandLine, of: str, *settings: str) -> dict[str, dict]:
    rows = cli.done(*COUNT, f"of=[{of}]", *settings).result
    return {row["name"]: row for row in rows}


def test_student_of_one_layer_in_two_breaks_even_at_about_two_tasks(cli):
    rows = rows_of(cli, "multitask/both,student/one,student/all", "tasks=[1,3]")
    whole, one, every = rows["multitask/both"], rows["student/one"], rows["student/all"]
    assert (whole["serves"], one["serves"], every["serves"]) == (
        "all tasks",
        "one task",
        "all tasks",
    )
    assert one["operations"] * 2 == whole["operations"] and one["head_operations"] == 2 * 64 * 2
    assert one["break_even"] == pytest.approx(2.0, abs=0.01)
    assert whole["break_even"] is None and every["break_even"] is None
    assert one["operations_3"] == 3 * (one["operations"] + one["head_operations"])
    assert whole["operations_3"] == whole["operations"] + 3 * whole["head_operations"]
    assert (
        whole["operations_3"] < one["operations_3"] and whole["operations_1"] > one["operations_1"]
    )
    assert whole["milliseconds"] is None and one["break_even_seconds"] is None


def test_trained_numbers_and_operations_are_those_of_the_artifacts(cli):
    store = Store(cli.store)
    rows = rows_of(cli, "demo,none,student/one", "encoder=bank")
    prefixes = [store.resolve("prefix", name) for name in ("alpha", "beta")]
    numbers = sum(
        tensor.numel()
        for prefix in prefixes
        for tensor in load_file(prefix.file("prefix.safetensors")).values()
    )
    flops = sum(read_json(prefix, "result.json")["training_flops"] for prefix in prefixes)
    demo = rows["demo"]
    assert (demo["trained_parameters"], demo["training_operations"]) == (numbers, flops)
    assert (rows["none"]["trained_parameters"], rows["none"]["training_operations"]) == (0, 0)
    student = store.resolve("student", "one")
    weights = load_file(student.path / "encoder" / "model.safetensors")
    assert rows["student/one"]["trained_parameters"] == sum(one.numel() for one in weights.values())


def test_encoder_is_for_what_has_none_of_its_own(cli):
    rows = rows_of(cli, "none,multitask/both,demo", "encoder=tiny", "pooling=cls")
    operations = {name: row["operations"] for name, row in rows.items()}
    assert operations["none"] == operations["multitask/both"] < operations["demo"]


def test_bytes_are_those_of_the_stored_type(cli):
    assert rows_of(cli, "multitask/both")["multitask/both"]["bytes"] == 4 * 64
    assert rows_of(cli, "multitask/both", "vectors=binary")["multitask/both"]["bytes"] == 8


def test_seconds_are_measured_in_turns(cli):
    rows = cli.done(
        "cost", "of=[multitask/both,student/one]", "rounds=1", "texts=4", "tokens=16"
    ).result
    assert all(row["milliseconds"] > 0 for row in rows)
    assert rows[1]["break_even_seconds"] is None or rows[1]["break_even_seconds"] > 0


def test_python_returns_the_same_rows(cli):
    result = pb.run("cost", "of=[multitask/both]", "rounds=0")
    (row,) = result.rows
    assert row["name"] == "multitask/both" and row["tokens"] == 64


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ((), "nothing to count the cost of"),
        (("of=[none,none]",), "of names none twice"),
        (("of=[demo,bank/demo]",), "of names bank/demo twice"),
        (("of=[none]", "tasks=[2,2]"), "tasks=[2,2] names a number twice"),
        (("of=[student/two]",), "no student or key 'student/two'"),
        (("of=[multitask/both]", "tokens=100000"), "100000"),
        (("of=[multitask/both]", "tasks=[0]"), "tasks[0] = 0"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, tuple) else "",
)
def test_wrong_requests_are_refused(cli, settings, what):
    assert what in cli.expect_fault(2, "cost", *settings).what
