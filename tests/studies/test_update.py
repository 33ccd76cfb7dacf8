"""Rows of an update study from artifacts that hold nothing but what they need."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from prefixbank.reports.study import UpdateCost
from prefixbank.runtime.unit import Planned
from prefixbank.store.artifact import Entry
from prefixbank.studies.update import Change, others_unchanged, rows


@pytest.fixture
def training(put):
    """Publish what a training leaves behind."""

    def make(name: str, seconds: float | None = 1.5, **result: object) -> Entry:
        facts = {} if seconds is None else {"seconds": seconds}
        return put("train_prefix", {"result.json": result}, inputs={"name": name}, **facts)

    return make


@pytest.fixture
def bank(put):
    """Publish a bank: by task, the digest of its prefix and the numbers in it."""

    def make(**prefixes: tuple[str, list[float]]) -> Entry:
        def write(out: Path) -> None:
            tensors = {
                f"{place}.prefix": np.array(numbers, np.float32)
                for place, (_, numbers) in enumerate(prefixes.values())
            }
            save_file(tensors, out / "bank.safetensors")

        inputs = {"prefixes": [digest for digest, _ in prefixes.values()], "bytes": repr(prefixes)}
        return put("combine", write, inputs=inputs, tasks=list(prefixes))

    return make


@pytest.fixture
def blocks(put):
    """Publish a bank of blocks: by task, the digest of its prefix and the numbers in it."""

    def make(*, plain: bool = True, **prefixes: tuple[str, list[float]]) -> Entry:
        def write(out: Path) -> None:
            for place, (_, numbers) in enumerate(prefixes.values()):
                slots = {"slots": np.array(numbers, np.float32)}
                save_file(slots, out / f"{place}.prefix.safetensors")

        inputs = {"prefixes": [digest for digest, _ in prefixes.values()], "bytes": repr(prefixes)}
        config = {"combine": {"rule": "blocks", "plain": plain}, "blocks": list(prefixes)}
        return put("combine", write, inputs=inputs, config=config, tasks=list(prefixes))

    return make


def planned(entry: Entry) -> Planned:
    return Planned(step=entry.step, name="some", key=entry.key, made=entry)


ALPHA, BETA, GAMMA = ("a" * 64, [1.0, 2.0]), ("b" * 64, [3.0]), ("c" * 64, [4.0])


@pytest.fixture
def added(training, bank) -> Change:
    one = training("gamma", examples=30, training_flops=7_000)
    return Change(
        what="add gamma",
        task="gamma",
        method="prefixes",
        trainings=[planned(one)],
        banks=(
            planned(bank(alpha=ALPHA, beta=BETA)),
            planned(bank(alpha=ALPHA, beta=BETA, gamma=GAMMA)),
        ),
        others=("alpha", "beta"),
    )


def test_row_of_a_prefix_counts_its_training_and_the_combination(added):
    numbers = {"units": 2, "examples": 30, "flops": 7_000, "seconds": 1.5}
    again = {"passes": 1, "vectors": (1, 1), "others_refitted": 2}
    assert rows([added]) == [
        {"change": "add gamma", "method": "prefixes", **numbers, "others_unchanged": True, **again}
    ]


def test_row_of_multitask_training_counts_the_training_alone(training):
    encoder = training("all", seconds=9.0, examples=90, training_flops=60_000)
    change = Change(
        what="add gamma",
        task="gamma",
        method="multi-task",
        trainings=[planned(encoder)],
        others=("alpha", "beta"),
    )
    numbers = {"units": 1, "examples": 90, "flops": 60_000, "seconds": 9.0}
    again = {"passes": 1, "vectors": (1, 1), "others_refitted": 2}
    assert rows([change]) == [
        {
            "change": "add gamma",
            "method": "multi-task",
            **numbers,
            "others_unchanged": None,
            **again,
        }
    ]


def test_removal_by_prefixes_trains_nothing(bank):
    banks = (planned(bank(alpha=ALPHA, beta=BETA)), planned(bank(beta=BETA)))
    (row,) = rows(
        [Change(what="remove alpha", task="alpha", method="prefixes", trainings=[], banks=banks)]
    )
    assert (
        row["units"],
        row["examples"],
        row["flops"],
        row["seconds"],
        row["others_unchanged"],
    ) == (1, 0, 0, 0, True)


def test_several_trainings_add_up(training, added):
    more = training("delta", seconds=0.5, examples=12, training_flops=1_000)
    (row,) = rows([replace(added, trainings=[*added.trainings, planned(more)])])
    assert (row["units"], row["examples"], row["flops"], row["seconds"]) == (3, 42, 8_000, 2.0)


@pytest.mark.parametrize(("flops", "seconds"), [(None, 2.0), (5, None)])
def test_number_that_a_training_lacks_is_not_made_up(training, added, flops, seconds):
    other = training("old", seconds=seconds, examples=12, training_flops=flops)
    (row,) = rows([replace(added, trainings=[*added.trainings, planned(other)])])
    assert (row["flops"] is None, row["seconds"] is None, row["examples"]) == (
        flops is None,
        seconds is None,
        42,
    )


def test_others_are_unchanged_whatever_their_place(bank):
    before, after = bank(alpha=ALPHA, beta=BETA, gamma=GAMMA), bank(gamma=GAMMA, beta=BETA)
    assert others_unchanged(before, after, "alpha")


@pytest.mark.parametrize(
    "changed",
    [
        {"alpha": ("d" * 64, ALPHA[1])},
        {"alpha": (ALPHA[0], [1.0, 2.5])},
        {"alpha": (ALPHA[0], [1.0, 2.0, 0.0])},
        {"delta": GAMMA},
    ],
    ids=["digest", "number", "shape", "one more"],
)
def test_change_of_another_prefix_is_seen(bank, changed):
    before = bank(alpha=ALPHA, beta=BETA)
    assert not others_unchanged(before, bank(**{"alpha": ALPHA, "beta": BETA, **changed}), "beta")


def test_refreshed_prefix_itself_may_change(bank):
    assert others_unchanged(bank(alpha=ALPHA, beta=BETA), bank(alpha=ALPHA, beta=GAMMA), "beta")


def test_equal_numbers_of_other_bytes_are_a_change(bank):
    assert not others_unchanged(
        bank(alpha=(ALPHA[0], [0.0])), bank(alpha=(ALPHA[0], [-0.0])), "beta"
    )


def test_rows_have_the_fields_that_a_report_wants(added):
    assert set(rows([added])[0]) == {field.name for field in fields(UpdateCost)}


@pytest.mark.parametrize(
    ("after", "passes", "vectors"),
    [
        ({"alpha": ALPHA, "beta": BETA, "gamma": GAMMA}, 1, (1, 4)),
        ({"alpha": ALPHA, "beta": GAMMA}, 1, (1, 3)),
        ({"alpha": ALPHA}, 0, (0, 2)),
    ],
    ids=["add", "refresh", "remove"],
)
def test_change_of_a_source_makes_its_block_again_and_no_other(blocks, after, passes, vectors):
    banks = (planned(blocks(alpha=ALPHA, beta=BETA)), planned(blocks(**after)))
    change = Change(
        what="change",
        task="gamma" if "gamma" in after else "beta",
        method="prefixes",
        trainings=[],
        banks=banks,
        others=("alpha",),
    )
    (row,) = rows([change])
    assert (row["passes"], row["vectors"], row["others_refitted"]) == (passes, vectors, 0)
    assert row["others_unchanged"]


def test_block_of_another_source_that_changes_is_seen(blocks):
    banks = (planned(blocks(alpha=ALPHA, beta=BETA)), planned(blocks(alpha=GAMMA, beta=BETA)))
    change = Change(
        what="refresh beta",
        task="beta",
        method="prefixes",
        trainings=[],
        banks=banks,
        others=("alpha",),
    )
    (row,) = rows([change])
    assert row["others_refitted"] == 1 and not row["others_unchanged"]
