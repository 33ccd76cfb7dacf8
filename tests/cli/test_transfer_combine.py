"""`prefixbank transfer combine`: a bank of the prefixes that are most similar to a task."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from prefixbank.commands.invocation import Invocation
from prefixbank.store.store import Store
from tests.cli.command import CommandLine, Ran
from tests.commands import call
from tests.prepared import SMALL, contents


@pytest.fixture
def three(cli: CommandLine) -> CommandLine:
    """A store with the prefixes alpha, beta and omega."""
    cli.train("omega")
    return cli


def similar_to(cli: CommandLine, *settings: str, task: str = "gamma") -> tuple[str, ...]:
    return (
        "transfer",
        "combine",
        "task=folder",
        f"task.path={cli.tasks / task}",
        *SMALL,
        *settings,
    )


def ranking(cli: CommandLine, *settings: str) -> list[dict]:
    args = ("task=folder", f"task.path={cli.tasks / 'gamma'}", *SMALL, *settings)
    return json.loads(cli.done("transfer", "similar", *args).out)


def shares(similarities: list[float]) -> list[float]:
    return [one / sum(similarities) for one in similarities]


def logged(ran: Ran) -> list[tuple[str, float, float]]:
    found = re.findall(r"\d+\. (\S+): similarity (\S+), weight (\S+)", ran.err)
    return [(name, float(similarity), float(weight)) for name, similarity, weight in found]


def test_bank_holds_the_most_similar_prefixes_in_order(three):
    rows = ranking(three)
    made = three.done(*similar_to(three, "k=2", "name=near")).result
    assert (made["name"], made["prefixes"]) == ("near", [row["task"] for row in rows[:2]])


def test_weights_are_similarities_scaled_to_a_sum_of_one(three):
    expected = shares([row["similarity"] for row in ranking(three)])
    assert three.done(*similar_to(three, "name=near")).result["weights"] == pytest.approx(expected)


def test_each_prefix_is_logged_with_similarity_and_weight(three):
    rows = ranking(three)
    weights = shares([row["similarity"] for row in rows])
    expected = [
        (row["source"], row["similarity"], pytest.approx(weight, abs=1e-4))
        for row, weight in zip(rows, weights, strict=True)
    ]
    assert logged(three.done(*similar_to(three, "name=near"))) == expected


def test_bank_is_the_one_that_naming_its_prefixes_and_weights_makes(three):
    made = three.done(*similar_to(three, "k=2", "name=near")).result
    names, weights = ",".join(made["prefixes"]), ",".join(map(repr, made["weights"]))
    named = three.done(
        "combine", f"prefixes=[{names}]", f"combine.weights=[{weights}]", "name=named"
    )
    assert named.result["key"] == made["key"] and named.steps == [("combine", "named", "hit")]


@pytest.mark.parametrize(("normalize", "weight"), [("true", 0.5), ("false", 1.0)])
def test_with_equal_weights_it_is_the_bank_of_these_prefixes_alone(three, normalize, weight):
    equal = ("weight_by_similarity=false", f"combine.normalize_weights={normalize}")
    ran = three.done(*similar_to(three, "k=2", *equal, "name=near"))
    named = three.done(
        "combine",
        f"prefixes=[{','.join(ran.result['prefixes'])}]",
        f"combine.normalize_weights={normalize}",
        "name=named",
    )
    assert named.result["key"] == ran.result["key"] and ran.result["weights"] == [weight] * 2
    assert [one for _, _, one in logged(ran)] == [weight] * 2


def test_candidates_can_be_named_and_measured_otherwise(three):
    rows = ranking(three, "sources=[omega,alpha]", "similarity=per_token")
    made = three.done(
        *similar_to(three, "sources=[omega,alpha]", "similarity=per_token", "k=2", "name=near")
    ).result
    assert made["prefixes"] == [row["task"] for row in rows]
    assert made["weights"] == pytest.approx(shares([row["similarity"] for row in rows]))


def test_candidate_may_be_named_by_its_key(three):
    key = Store(three.store).resolve("prefix", "beta").key
    assert three.done(*similar_to(three, f"sources=[{key[:8]}]", "k=1", "name=near")).result[
        "prefixes"
    ] == ["beta"]


def test_rule_and_pooling_are_those_of_the_settings(three):
    path = three.done(*similar_to(three, "combine=mean_vectors", "k=2", "name=near")).result["path"]
    config = Store(three.store).resolve("bank", "near").document["config"]
    assert config["combine"]["rule"] == "mean_vectors" and path.endswith(
        Store(three.store).ref("bank", "near").key
    )


def test_name_is_the_tasks_unless_given(three):
    assert three.done(*similar_to(three, "k=1")).result["name"] == "gamma-similar"


def test_everything_is_a_hit_the_second_time(three):
    first, second = (three.done(*similar_to(three, "k=2", "name=near")) for _ in range(2))
    assert first.out == second.out and {kind for *_, kind in second.steps} == {"hit", "note"}


def test_plan_waits_for_the_short_run_and_makes_nothing(three):
    before = contents(three.store)
    ran = three.done(*similar_to(three, "k=2", "name=near", "--dry-run"))
    assert contents(three.store) == before and ran.out == ""
    assert [line.split()[0] for line in ran.err.splitlines()] == [
        "task-embedding",
        "combine",
    ] and "needs task-embedding" in ran.err


def test_plan_after_the_short_run_says_what_the_bank_will_hold(three):
    rows = ranking(three)
    ran = three.done(*similar_to(three, "k=2", "name=near", "--dry-run"))
    assert [name for name, *_ in logged(ran)] == [row["source"] for row in rows[:2]] and ran.steps[
        -1
    ] == ("combine", "near", "MISS")


def test_python_gives_the_bank_and_in_a_plan_waits(three):
    settings, options = (
        similar_to(three, "k=2", "name=near")[2:],
        Invocation(store=three.store, dry_run=True),
    )
    assert not call("transfer combine", *settings, invocation=options).is_made
    made = call("transfer combine", *settings, invocation=Invocation(store=three.store))
    assert made.entry.info["name"] == "near"


def test_sweep_makes_a_bank_for_each_size(three):
    rows = three.done(
        *similar_to(three, "--sweep", "k=1,2,3", "name=near", "--format", "json")
    ).result
    assert [len(row["prefixes"]) for row in rows] == [1, 2, 3]


def test_sweep_makes_a_bank_for_each_task(cli):
    paths = ",".join(str(cli.tasks / name) for name in ("gamma", "omega"))
    rows = cli.done(
        "transfer", "combine", "--sweep", "task=folder", f"task.path={paths}", *SMALL, "k=1"
    ).result
    made = [Store(cli.store).resolve("bank", f"{name}-similar").key for name in ("gamma", "omega")]
    assert [row["key"] for row in rows] == made


def test_bank_is_stale_when_a_member_moves(three, lines):
    name = three.done(*similar_to(three, "k=1", "name=near")).result["prefixes"][0]
    three.train(name, "seed=1")
    assert (
        f"bank/near is stale: prefix/{name} was"
        in three.expect_fault(2, "embed", "bank=near", f"corpus.path={lines}").what
    )


def test_own_prefix_is_no_candidate(three):
    three.train("gamma", "seed=5")
    assert "gamma" not in three.done(*similar_to(three, "name=near")).result["prefixes"]


def test_own_prefix_is_none_either_when_the_task_has_a_few_of_its_rows(three):
    three.train("gamma")
    assert (
        "gamma"
        not in three.done(*similar_to(three, "task.max_rows=20", "name=near")).result["prefixes"]
    )


def test_own_prefix_that_is_named_is_refused(three):
    three.train("gamma", "task.max_rows=20")
    fault = three.expect_fault(2, *similar_to(three, "sources=[gamma,alpha]", "k=1", "name=near"))
    assert (fault.what, fault.fix) == ("prefix/gamma was trained on gamma itself", "leave it out")


def test_prefix_with_two_names_is_one_candidate(three):
    three.train("alpha", "name=again")
    assert sorted(three.done(*similar_to(three, "name=near")).result["prefixes"]) == [
        "alpha",
        "beta",
        "omega",
    ]


def test_more_than_there_are_is_refused_before_the_short_run(three):
    fault = three.expect_fault(2, *similar_to(three, "k=4", "name=near"))
    assert (fault.what, fault.fix) == ("k=4, but 3 prefixes can be compared with gamma", "k=3")
    assert not Store(three.store).entries("task_embedding")


def test_no_candidate_is_refused(three):
    assert (
        "none of 3 prefixes"
        in three.expect_fault(2, *similar_to(three, "prefix.kind=soft", "name=near")).what
    )


def test_candidate_of_another_kind_that_is_named_is_refused(three):
    three.train("omega", "prefix.kind=soft", "name=prompt")
    fault = three.expect_fault(2, *similar_to(three, "sources=[alpha,prompt]", "k=1"))
    assert fault.what == "prefix/prompt has prefix.kind=soft, the short run prefix.kind=deep"


def test_settings_that_do_not_go_together_are_refused_at_once(cli):
    wrong = ("combine.weights=[1,2]", "combine=concat_vectors")
    faults = cli.expect_refusal(2, *similar_to(cli, *wrong))
    assert [fault.what for fault in faults] == [
        "combine.weights=[1.0, 2.0] for prefixes that are still to be chosen",
        "combine=concat_vectors with weight_by_similarity=true",
    ]


@pytest.mark.parametrize("setting", ["combine.normalize_weights=false", "combine=concat_vectors"])
def test_weights_that_mean_nothing_are_refused(cli, setting):
    fault = cli.expect_fault(2, *similar_to(cli, setting))
    assert fault.what == f"{setting} with weight_by_similarity=true"
    assert "weight_by_similarity=false" in fault.fix


def test_combine_has_no_settings_of_a_selection(cli):
    faults = cli.expect_refusal(2, "combine", "task=polarity", "k=2", "encoder=tiny", "name=near")
    assert [fault.what for fault in faults] == [
        "unknown setting 'task'",
        "unknown setting 'k'",
        "unknown setting 'encoder'",
    ]


def test_equal_similarities_weigh_the_same(three, monkeypatch):
    from prefixbank.core.stats import similarity

    monkeypatch.setattr(
        similarity,
        "similarity_matrix",
        lambda measure, sources, targets: np.full((len(sources), 1), 0.9),
    )
    assert three.done(*similar_to(three, "name=near")).result["weights"] == pytest.approx(
        [1 / 3] * 3
    )


def test_mean_of_prefixes_is_of_one_length(three):
    three.train("omega", "prefix.length=3", "name=longer")
    settings = ("combine=mean_prefixes", "compare=movement", "k=2", "name=near")
    fault = three.expect_fault(2, *similar_to(three, *settings, "sources=[alpha,longer]"))
    assert fault.what.endswith("has 3 slots, the run on the task 2") and not Store(
        three.store
    ).entries("task_embedding")
