"""`prefixbank train-student`, and its encoder where a bank can stand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import prefixbank
from prefixbank.artifacts.embeddings import read_vectors
from prefixbank.store.store import Store
from tests.cli.command import CommandLine, Ran
from tests.prepared import Prepared, copy_store

QUICK = ("optim.epochs=1", "optim.batch_size=20")
PROBE = ("probe.bootstrap_samples=20", "probe.Cs=[1]")


@pytest.fixture(scope="module")
def taught(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a teacher of alpha and beta."""
    store = copy_store(prepared.store, tmp_path_factory.mktemp("taught") / "store")
    CommandLine(store=store, tasks=prepared.tasks).done(
        *teaching(prepared.tasks), "--store", str(store)
    )
    return store


@pytest.fixture
def cli(prepared: Prepared, taught: Path, user_store: Path) -> CommandLine:
    """The command line; its default store is a copy of that one."""
    return CommandLine(store=copy_store(taught, user_store), tasks=prepared.tasks)


def teaching(tasks: Path) -> tuple[str, ...]:
    named = ("tasks=[alpha,beta]", f"run.data_root={tasks}")
    return ("train-multitask", *named, "name=both", "encoder=tiny", *QUICK)


def args(cli: CommandLine, *settings: str) -> tuple[str, ...]:
    return (
        "train-student",
        "teacher=multitask/both",
        "student.layers=1",
        f"run.data_root={cli.tasks}",
        *QUICK,
        *settings,
    )


def distilled(cli: CommandLine, *settings: str) -> Ran:
    return cli.done(*args(cli, *settings))


def test_student_of_all_tasks_tells_its_scores_and_those_of_its_teacher(cli):
    result = distilled(cli).result
    assert (result["step"], result["name"]) == ("train-student", "alpha-beta")
    assert (result["tasks"], result["examples"], result["train_rows"]) == (
        ["alpha", "beta"],
        80,
        80,
    )
    assert result["validation"] == pytest.approx(np.mean(result["scores"]))
    teacher = Store(cli.store).resolve("multitask", "both")
    known = cli.done(*teaching(cli.tasks)).result
    assert (known["key"], result["teacher_scores"]) == (teacher.key, known["scores"])


def test_student_of_one_task_is_that_of_a_list_of_it(cli):
    path = ("task=folder", f"task.path={cli.tasks / 'beta'}")
    by_task, by_path = distilled(cli, *path), distilled(cli, path[1])
    by_list = distilled(cli, "tasks=[beta]")
    assert by_task.result["key"] == by_path.result["key"] == by_list.result["key"]
    assert [kind for *_, kind in by_list.steps] == ["hit"]
    assert Store(cli.store).ref("student", "beta").key == by_task.result["key"]


def test_dry_run_says_what_differs_and_makes_nothing(cli):
    distilled(cli)
    ran = distilled(cli, "--dry-run", "student.temperature=4")
    assert ran.out == "" and ran.err.endswith("MISS  student.temperature 2.0 -> 4.0\n")


def test_sweep_keeps_the_best_under_its_name(cli):
    ran = distilled(cli, "tasks=[alpha]", "--sweep", "student.soft_weight=0.1,0.9", "optim.lr=1e-3")
    best = max(ran.result, key=lambda row: row["validation"])["key"]
    assert len({row["key"] for row in ran.result}) == 2
    assert Store(cli.store).ref("student", "alpha").key == best


def test_student_stands_where_a_bank_can(cli, lines):
    distilled(cli, "tasks=[alpha]", "name=small")
    gamma = ("task=folder", f"task.path={cli.tasks / 'gamma'}")
    ran = cli.done("probe", "bank=student/small", *gamma, *PROBE)
    assert ran.steps[0] == ("embed", "gamma@student-small", "MISS")
    assert ran.result["encoder"] == "student/small"
    cli.done("embed", "bank=student/small", f"corpus.path={lines}", "name=texts")
    texts = lines.read_text(encoding="utf-8").splitlines()
    vectors = prefixbank.load_bank("student/small").embed(texts)
    stored = read_vectors(Store(cli.store).resolve("embeddings", "texts"), "part-00000")
    np.testing.assert_allclose(vectors, stored, atol=1e-5)
    found = cli.done("search", "embeddings=texts", texts[1], "k=1").result
    assert (found[0] if isinstance(found, list) else found)["row"] == 1
    predicted = ("bank=student/small", "heads=[gamma@student-small]", f"corpus.path={lines}")
    assert cli.done("predict", *predicted).result["rows"] == 3


def test_bare_name_of_a_student_is_refused_with_the_whole_one(cli):
    distilled(cli, "name=small")
    assert cli.expect_fault(2, "probe", "bank=small", "task=emotion").fix == "bank=student/small"


def test_bare_name_of_a_student_is_no_teacher_but_said(cli):
    distilled(cli, "name=small")
    fault = cli.expect_fault(2, *args(cli, "teacher=small"))
    assert fault.fix == "teacher=student/small"


def test_student_deeper_than_its_teacher_is_refused(cli):
    fault = cli.expect_fault(2, *args(cli, "student.layers=3"))
    assert (fault.expected, fault.fix) == ("1 to 2", "student.layers=1")


def test_teacher_of_another_task_is_refused(cli):
    fault = cli.expect_fault(2, *args(cli, "tasks=[gamma]"))
    assert fault.expected == "a task that it was trained on: alpha, beta"
    assert "'tasks=[alpha,beta,gamma]'" in fault.fix


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("tasks=[beta]", "task=polarity"), "a single task beside tasks=[beta]"),
        (("tasks=[alpha,alpha]",), "tasks names alpha twice"),
        (("teacher=",), "no teacher given"),
        (("teacher=bothh",), "did you mean 'both'?"),
        (("teacher=bank/demo",), "teacher=bank/demo"),
        (("teacher=student/none",), "no student or key 'student/none'"),
        (("student.layers=0",), "student.layers = 0"),
        (("student.soft_weight=1.5",), "student.soft_weight = 1.5"),
        (("student.temperature=0",), "student.temperature = 0"),
        (("task.mixture=[alpha,beta]",), "where a single task is wanted"),
        (("pooling=cls",), "unknown setting 'pooling'"),
        (("multitask.pairs=separate",), "unknown setting 'multitask.pairs'"),
    ],
    ids=lambda one: one if isinstance(one, str) else " ".join(one),
)
def test_wrong_settings_are_refused(cli, settings, said):
    assert said in cli.expect_fault(2, *args(cli, *settings)).what


def test_artifact_that_is_no_encoder_is_no_teacher(cli):
    key = Store(cli.store).ref("bank", "demo").key
    fault = cli.expect_fault(2, *args(cli, f"teacher={key}"))
    assert fault.what == f"teacher={key} is the result of combine"
