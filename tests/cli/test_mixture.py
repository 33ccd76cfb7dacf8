"""`prefixbank train-prefix task.mixture=[...]`.

One prefix of several tasks, and where such a prefix is used.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from prefixbank.commands.invocation import Invocation
from prefixbank.store.artifact import Entry
from prefixbank.store.store import Store
from tests.cli.command import CommandLine, Ran
from tests.commands import call
from tests.prepared import SMALL, copy_store
from tests.runtime.inline import Inline

STARTER = (
    "train-prefix",
    "task.mixture=[polarity,topic]",
    *SMALL,
    "task.max_rows=30",
    "task.max_validation_rows=10",
)


def args_of(cli: CommandLine, tasks: str = "alpha,beta", *settings: str) -> tuple[str, ...]:
    return (
        "train-prefix",
        f"task.mixture=[{tasks}]",
        f"run.data_root={cli.tasks}",
        *SMALL,
        *settings,
    )


def trained(cli: CommandLine, tasks: str = "alpha,beta", *settings: str) -> Ran:
    return cli.done(*args_of(cli, tasks, *settings))


def entry_of(cli: CommandLine, name: str) -> Entry:
    return Store(cli.store).resolve("prefix", name)


def test_result_tells_the_mean_score_and_each(cli):
    ran = trained(cli)
    assert ran.steps == [
        ("train-prefix", "alpha-beta", "MISS"),
        ("train-prefix", "alpha-beta", "done"),
    ]
    assert (ran.result["task"], ran.result["train_rows"], ran.result["steps"]) == (
        "alpha+beta",
        80,
        4,
    )
    assert ran.result["validation"] == pytest.approx(np.mean(ran.result["scores"]))
    assert "validation mean" in ran.err and "alpha 0." in ran.err
    assert entry_of(cli, "alpha-beta").key == ran.result["key"]


def test_starter_tasks_need_no_file_and_limits_apply_to_each(cli):
    result = cli.done(*STARTER, "name=two").result
    path = Path(result["path"])
    tasks = json.loads((path / "result.json").read_text(encoding="utf-8"))["tasks"]
    assert [task["train_rows"] for task in tasks] == [30, 30] and entry_of(cli, "two").info[
        "tasks"
    ] == ["polarity", "topic"]


def test_second_run_is_a_hit_and_a_dry_run_says_what_differs(cli):
    trained(cli)
    assert [kind for *_, kind in trained(cli).steps] == ["hit"]
    ran = trained(cli, "alpha,beta", "task.size_cap=7", "--dry-run")
    assert ran.out == "" and ran.err.endswith("MISS  mixture.size_cap 0 -> 7\n")


def test_prefix_of_a_mixture_is_combined_and_embeds(cli, lines):
    trained(cli, "alpha,beta,omega", "name=three")
    ran = cli.done("combine", "prefixes=[three,alpha]", "name=both")
    assert "2 prefixes, concat_prefixes: alpha+beta+omega, alpha" in ran.err
    cli.done("embed", "bank=both", f"corpus.path={lines}")


@pytest.mark.parametrize(
    "settings", [("prefix=gated",), ("prefix=mlp",), ("prefix.kind=soft", "prefix.init=labels")]
)
def test_every_kind_of_prefix_is_trained(cli, settings: tuple[str, ...]):
    assert trained(cli, "alpha,beta", *settings).result["steps"] == 4


def test_prefix_starts_from_one_of_a_mixture_and_the_other_way_round(cli):
    source = trained(cli).result["path"]
    made = cli.train("gamma", "prefix.init=alpha-beta", "optim.epochs=0").result["path"]
    assert np.array_equal(
        *(load_file(Path(path) / "prefix.safetensors")["prefix"] for path in (source, made))
    )
    assert entry_of(cli, "gamma").info["init"]["task"] == "alpha+beta"
    assert trained(cli, "beta,gamma", "prefix.init=alpha").result["steps"] == 4


def test_other_encoder_of_a_mixture_is_reported_with_the_command(cli):
    trained(cli)
    fault = cli.expect_fault(
        2, "train-prefix", "task=emotion", "prefix.length=2", "prefix.init=alpha-beta"
    )
    assert "prefixbank train-prefix 'task.mixture=[alpha,beta]' encoder=minilm" in fault.fix


def test_mixture_is_a_source_of_other_tasks_only(cli):
    trained(cli)
    trained(cli, "alpha,gamma")
    rows = cli.done(
        "transfer", "similar", "task=folder", f"task.path={cli.tasks / 'gamma'}", *SMALL
    ).result
    assert {row["task"] for row in rows} == {"alpha", "beta", "alpha+beta"}


def test_worker_makes_the_same(cli, tmp_path, monkeypatch):
    settings: Any = args_of(cli)[1:]
    here = call(
        "train-prefix",
        *settings,
        invocation=Invocation(store=copy_store(cli.store, tmp_path / "other")),
    ).entry
    driver = Inline().instead(monkeypatch)
    options = Invocation(store=cli.store)
    there = call("train-prefix", *settings, "run.driver=slurm", invocation=options).entry
    assert [job["groups"] for job in driver.jobs] == [((here.key,),)]
    assert (there.key, there.digest, there.info["tasks"]) == (
        here.key,
        here.digest,
        here.info["tasks"],
    )


def test_sweep_goes_through_mixtures(cli):
    rows = cli.done(
        "train-prefix",
        "--sweep",
        "task.mixture=[alpha,beta],[alpha,gamma]",
        f"run.data_root={cli.tasks}",
        *SMALL,
    ).result
    assert [row["task"] for row in rows] == ["alpha+beta", "alpha+gamma"]


@pytest.fixture
def conf_of_both(tmp_path: Path) -> Path:
    """`--conf-dir` with the mixture `both`."""
    file = tmp_path / "conf" / "task" / "both.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(
        "mixture: [polarity, topic]\nmax_rows: 20\nmax_validation_rows: 10\n", encoding="utf-8"
    )
    return file.parents[1]


def test_yaml_file_can_be_a_mixture(cli, conf_of_both):
    named = ("task=both", "--conf-dir", str(conf_of_both))
    assert cli.done("train-prefix", *named, *SMALL).result["task"] == "polarity+topic"
    fault = cli.expect_fault(2, "train-multitask", "tasks=[both,emotion]", *named[1:])
    assert fault.what == "task.mixture=[polarity,topic] where a single task is wanted"
    assert cli.expect_fault(2, "probe", "bank=none", *named).what == fault.what


@pytest.mark.parametrize("command", [("probe", "bank=none"), ("transfer", "similar")])
@pytest.mark.parametrize("task", [(), ("task=emotion",)])
def test_other_commands_refuse_a_mixture(cli, command: tuple[str, ...], task: tuple[str, ...]):
    fault = cli.expect_fault(2, *command, *task, "task.mixture=[polarity,topic]")
    assert (
        "where a single task is wanted" in fault.what
        and "train-prefix" in fault.expected
        and fault.fix == "task=polarity"
    )


@pytest.mark.parametrize(
    ("setting", "named"),
    [("task=emotion", "task.name, task.source"), ("task.path=folder", "task.path")],
)
def test_data_set_beside_a_mixture_is_refused(cli, setting: str, named: str):
    fault = cli.expect_fault(2, *args_of(cli), setting)
    assert (
        fault.what == f"task.mixture=[alpha,beta] beside a data set of its own ({named})"
        and "'task.mixture=[alpha,beta]'" in fault.fix
    )


def test_names_given_twice_and_single_names_are_refused_together(cli):
    twice, single = cli.expect_refusal(2, *args_of(cli, "alpha,alpha"))
    assert twice.what == "task.mixture names alpha twice"
    assert (
        single.what == "task.mixture=[alpha,alpha] is a single task"
        and single.fix == "prefixbank train-prefix task=alpha"
    )


def test_empty_mixture_is_none(cli):
    assert cli.expect_fault(2, "train-prefix", "task.mixture=[]").what == "no task given"


def test_unknown_tasks_are_refused_together_with_similar_name(cli):
    faults = cli.expect_refusal(2, "train-prefix", "task.mixture=[polaritty,topic,emotoin]", *SMALL)
    assert [fault.what.rpartition("; ")[2] for fault in faults] == [
        "did you mean 'polarity'?",
        "did you mean 'emotion'?",
    ]


def test_kinds_that_clash_are_refused_by_name(cli):
    fault = cli.expect_fault(2, "train-prefix", "task.mixture=[polarity,similarity,topic]", *SMALL)
    assert "classification: polarity, topic; regression: similarity" in fault.what
    assert fault.fix == "prefixbank train-prefix 'task.mixture=[polarity,topic]'"


def test_shown_settings_name_the_mixture_and_nothing_that_is_open(cli):
    out = cli.done("config", "show", "train-prefix", "task.mixture=[polarity,topic]").out
    assert (
        "mixture:\n  - polarity\n  - topic\n  size_cap: 524288" in out
        and "still to be chosen" not in out
    )
