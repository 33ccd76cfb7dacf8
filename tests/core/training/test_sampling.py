"""How often each task is shown, which rows, in which batches.

Against plain loops and worked examples.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from prefixbank.core.training.sampling import (
    BUCKET_BATCHES,
    epoch_plan,
    length_groups,
    rows_each_epoch,
    rows_shown,
)

RULES = [
    {"sampling": "proportional", "temperature": 2.0, "size_cap": 0},
    {"sampling": "proportional", "temperature": 2.0, "size_cap": 50},
    {"sampling": "uniform", "temperature": 2.0, "size_cap": 0},
    {"sampling": "temperature", "temperature": 3.0, "size_cap": 0},
    {"sampling": "temperature", "temperature": 5.0, "size_cap": 70},
    {"sampling": "temperature", "temperature": 0.5, "size_cap": 0},
]
SIZES = [[1], [7], [3, 3], [1, 1000], [100, 57, 3000, 12], [333, 333, 333, 1, 2]]


def share_by_hand(size: int, rule: dict) -> float:
    counted = size if rule["size_cap"] == 0 or size < rule["size_cap"] else rule["size_cap"]
    if rule["sampling"] == "uniform":
        return 1.0
    return (
        float(counted)
        if rule["sampling"] == "proportional"
        else counted ** (1.0 / rule["temperature"])
    )


@pytest.mark.parametrize(
    "rule", RULES, ids=lambda rule: "-".join(str(value) for value in rule.values())
)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_counts_add_up_to_all_rows_and_are_the_shares_to_within_one_row(
    sizes: list[int], rule: dict
):
    counts = rows_each_epoch(sizes, **rule)
    whole = 0.0
    for size in sizes:
        whole += share_by_hand(size, rule)
    assert sum(counts) == sum(sizes)
    for size, count in zip(sizes, counts, strict=True):
        assert abs(count - sum(sizes) * share_by_hand(size, rule) / whole) < 1


@pytest.mark.parametrize(
    "sizes",
    [*SIZES, np.random.default_rng(0).integers(1, 400_000, 40).tolist()],
    ids=lambda sizes: f"{len(sizes)}",
)
def test_proportional_shows_each_task_as_often_as_it_has_rows(sizes: list[int]):
    assert rows_each_epoch(sizes, "proportional", temperature=2.0, size_cap=0) == tuple(sizes)


@pytest.mark.parametrize("rule", ["proportional", "uniform", "temperature"])
def test_single_task_is_shown_once(rule: str):
    assert rows_each_epoch([17], rule, temperature=2.0, size_cap=5) == (17,)


@pytest.mark.parametrize(
    ("rule", "cap", "counts"),
    [
        ("temperature", 0, (918, 9182)),  # 10 : 100
        ("temperature", 400, (3367, 6733)),  # 10 : 20
        ("proportional", 300, (2525, 7575)),  # 100 : 300
        ("uniform", 0, (5050, 5050)),
    ],
)
def test_counts_of_a_worked_example(rule: str, cap: int, counts: tuple[int, int]):
    assert rows_each_epoch([100, 10_000], rule, temperature=2.0, size_cap=cap) == counts


def test_rows_left_over_go_to_the_largest_fractions():
    assert rows_each_epoch([2, 3, 3], "uniform", temperature=1.0, size_cap=0) == (3, 3, 2)


@pytest.mark.parametrize(
    ("size", "count"), [(5, 5), (5, 2), (5, 7), (5, 13), (1, 4), (5, 0), (3, 9)]
)
def test_rows_of_all_epochs_are_one_walk_through_shuffles(size: int, count: int):
    walk = [
        row
        for epoch in range(6)
        for row in rows_shown(size, count, seed=3, task=1, epoch=epoch).tolist()
    ]
    assert len(walk) == 6 * count
    for start in range(0, len(walk) - size + 1, size):
        assert sorted(walk[start : start + size]) == list(range(size))


def test_shuffles_follow_each_other_in_new_orders():
    orders = {tuple(rows_shown(20, 20, seed=0, task=0, epoch=epoch).tolist()) for epoch in range(5)}
    assert len(orders) == 5


@pytest.mark.parametrize("changes", [{"seed": 4}, {"task": 2}, {"epoch": 1}], ids=str)
def test_rows_depend_on_seed_task_and_epoch(changes: dict[str, int]):
    given = {"seed": 3, "task": 1, "epoch": 0}
    one, other = (rows_shown(50, 50, **kind).tolist() for kind in (given, {**given, **changes}))
    assert one != other and one == rows_shown(50, 50, **given).tolist()


def plan(
    epoch: int = 0, counts: tuple[int, ...] = (23, 40), seed: int = 0
) -> list[tuple[int, list[int]]]:
    lengths = [
        np.random.default_rng(task).integers(3, 60, size) for task, size in enumerate((23, 40))
    ]
    return [
        (task, rows.tolist())
        for task, rows in epoch_plan(lengths, counts, batch_size=8, seed=seed, epoch=epoch)
    ]


def test_proportional_epoch_shows_each_row_once():
    seen = Counter((task, row) for task, rows in plan() for row in rows)
    assert seen == Counter((task, row) for task, size in enumerate((23, 40)) for row in range(size))


def test_epoch_shows_the_rows_of_each_task():
    found = {0: [], 1: []}
    for task, rows in plan(epoch=2, counts=(31, 32)):
        found[task] += rows
    for task, (size, count) in enumerate(((23, 31), (40, 32))):
        assert sorted(found[task]) == sorted(
            rows_shown(size, count, seed=0, task=task, epoch=2).tolist()
        )


def test_all_batches_but_a_tasks_last_are_full():
    sizes = Counter((task, len(rows)) for task, rows in plan())
    assert sizes == {(0, 8): 2, (0, 7): 1, (1, 8): 5}


def test_batches_of_the_tasks_are_mixed():
    tasks = [task for task, _ in plan()]
    assert tasks != sorted(tasks) and tasks != sorted(tasks, reverse=True)


def test_plan_is_a_function_of_seed_and_epoch():
    assert (
        plan(epoch=1) == plan(epoch=1)
        and plan(epoch=0) != plan(epoch=1)
        and plan(seed=1) != plan(seed=0)
    )


def test_task_that_is_not_shown_has_no_batch():
    assert {task for task, _ in plan(counts=(0, 63))} == {1}


def test_groups_are_cut_from_runs_sorted_by_length():
    lengths = np.random.default_rng(1).integers(1, 9, 500)
    order, size = np.random.default_rng(2).permutation(500), 4
    wanted, run = [], size * BUCKET_BATCHES
    for start in range(0, 500, run):
        ordered = sorted(order[start : start + run].tolist(), key=lambda row: lengths[row])
        for first in range(0, len(ordered), size):
            wanted.append(ordered[first : first + size])
    assert [group.tolist() for group in length_groups(lengths, order, size)] == wanted
