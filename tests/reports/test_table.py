"""A report's numbers against plain loops over invented predictions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from prefixbank.reports.cells import MEAN
from prefixbank.reports.table import CostShares, Families, ratios
from tests.core.stats.test_holm import step_down
from tests.reports.studies import (
    COSTS,
    FACTS,
    ONE_SOURCE,
    RESAMPLES,
    RIGHT,
    ROWS,
    UPDATE,
    answers,
    labels_of,
    made_once,
    put_curve,
    put_probe,
    put_probes,
    small_study,
    table_of,
    update_study,
    whole_study,
)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return made_once(tmp_path_factory.mktemp("store"), whole_study)


def accuracy(target: str, column: str, seed: int) -> float:
    return float((answers(target, column, seed, RIGHT[column][seed]) == labels_of(target)).mean())


def mean(column: str, target: str, seeds: list[int]) -> float:
    return float(np.mean([accuracy(target, column, seed) for seed in seeds]))


@pytest.mark.parametrize("target", ROWS)
@pytest.mark.parametrize("column", RIGHT)
def test_cell_is_the_mean_accuracy_over_seeds(table, target, column):
    cell = table.rows[target].columns[column]
    assert cell.value == pytest.approx(mean(column, target, list(RIGHT[column])))
    assert cell.scores == pytest.approx(
        tuple(accuracy(target, column, seed) for seed in RIGHT[column])
    )


@pytest.mark.parametrize(
    ("column", "seeds"),
    [("plain encoder", ()), ("bank", (0, 1, 2)), ("multi-task encoder", (0, 2))],
)
def test_cell_names_its_seeds_and_the_plain_encoder_has_none(table, column, seeds):
    assert table.rows["mood"].columns[column].seeds == seeds


@pytest.mark.parametrize("column", RIGHT)
def test_mean_row_is_the_mean_over_targets(table, column):
    cell = table.rows[MEAN].columns[column]
    assert cell.value == pytest.approx(
        np.mean([mean(column, target, list(RIGHT[column])) for target in ROWS])
    )
    assert cell.scores == pytest.approx(
        tuple(
            np.mean([accuracy(target, column, seed) for target in ROWS]) for seed in RIGHT[column]
        )
    )


def test_difference_to_the_plain_encoder_uses_every_seed(table):
    found = table.rows["mood"].differences["plain encoder"]["bank"]
    assert found.value == pytest.approx(
        mean("bank", "mood", [0, 1, 2]) - mean("plain encoder", "mood", [0])
    )
    assert found.seeds == (0, 1, 2)


def test_difference_of_two_trained_columns_uses_the_seeds_that_both_have(table):
    found = table.rows["mood"].differences["multi-task encoder"]["bank"]
    assert found.value == pytest.approx(
        mean("bank", "mood", [0, 2]) - mean("multi-task encoder", "mood", [0, 2])
    )
    assert found.seeds == (0, 2)


def test_two_baselines_are_compared_once(table):
    differences = table.rows["mood"].differences
    assert {baseline: set(of) for baseline, of in differences.items()} == {
        "plain encoder": {"bank", "multi-task encoder"},
        "multi-task encoder": {"bank"},
    }


def test_columns_that_share_no_seed_are_not_compared(put):
    shares = {"first": {0: 0.5, 1: 0.6}, "second": {2: 0.7}}
    table = table_of(small_study(put_probes(put, shares)), 10)
    assert table.rows["mood"].differences == {} and table.families == Families(mean=0, targets=0)


def resample(generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Resampled by hand: the bank's mean over targets, and its difference to the multi-task encoder
    on the seeds that both have.
    """
    found: dict[str, list[float]] = {"bank": [], "difference": []}
    right = {
        (target, column, seed): answers(target, column, seed, share) == labels_of(target)
        for target in ROWS
        for column, by_seed in RIGHT.items()
        for seed, share in by_seed.items()
    }
    for _ in range(RESAMPLES):
        rows = {target: generator.integers(0, count, count) for target, count in ROWS.items()}
        scores = {key: one[rows[key[0]]].mean() for key, one in right.items()}
        shared, own = generator.choice([0, 2], 2), generator.choice([0, 1, 2], 3)
        bank = np.mean([scores[target, "bank", seed] for target in ROWS for seed in own])
        gaps = [
            scores[target, "bank", seed] - scores[target, "multi-task encoder", seed]
            for target in ROWS
            for seed in shared
        ]
        found["bank"].append(float(bank))
        found["difference"].append(float(np.mean(gaps)))
    return {name: np.array(values) for name, values in found.items()}


def test_intervals_of_means_agree_with_a_bootstrap_by_hand(table):
    samples = resample(np.random.default_rng(0))
    row = table.rows[MEAN]
    for found, expected in (
        (row.columns["bank"], samples["bank"]),
        (row.differences["multi-task encoder"]["bank"], samples["difference"]),
    ):
        assert [found.low, found.high] == pytest.approx(
            np.quantile(expected, [0.025, 0.975]), abs=0.012
        )


def test_p_value_agrees_with_a_bootstrap_by_hand(table):
    below = (resample(np.random.default_rng(1))["difference"] <= 0).mean()
    assert table.rows[MEAN].differences["multi-task encoder"]["bank"].p == pytest.approx(
        2 * below, abs=0.03
    )


def test_interval_is_wider_when_seeds_differ(put):
    labels = labels_of("mood")
    right = put_probe(put, labels, labels)
    wrong = put_probe(put, labels, 1 - labels)
    cell = (
        table_of(small_study({"mood": {"plain": {0: right}, "bank": {0: right, 1: wrong}}}), 400)
        .rows["mood"]
        .columns["bank"]
    )
    assert (cell.low, cell.value, cell.high) == (0.0, 0.5, 1.0)


def test_differences_are_paired(put):
    labels, plain = labels_of("mood"), answers("mood", "plain", 0, 0.6)
    better = plain.copy()
    wrong = np.flatnonzero(better != labels)[:3]
    better[wrong] = labels[wrong]
    table = table_of(
        small_study(
            {
                "mood": {
                    "plain": {0: put_probe(put, labels, plain)},
                    "bank": {0: put_probe(put, labels, better)},
                }
            }
        )
    )
    found, alone = (
        table.rows["mood"].differences["plain"]["bank"],
        table.rows["mood"].columns["bank"],
    )
    assert 0 <= found.low <= found.value == pytest.approx(3 / 200)
    assert found.high - found.low < (alone.high - alone.low) / 2


def test_equal_predictions_differ_by_nothing(put):
    labels, same = labels_of("mood"), answers("mood", "bank", 0, 0.6)
    one, other = (put_probe(put, labels, same, name=name) for name in ("one", "other"))
    found = (
        table_of(small_study({"mood": {"plain": {0: one}, "bank": {0: other}}}))
        .rows["mood"]
        .differences["plain"]["bank"]
    )
    assert (found.value, found.low, found.high, found.p, found.significant) == (
        0.0,
        0.0,
        0.0,
        1.0,
        False,
    )


@pytest.mark.parametrize(("family", "names"), [("mean", [MEAN]), ("targets", list(ROWS))])
def test_p_values_of_means_and_of_single_targets_are_two_families(table, family, names):
    found = [
        one for name in names for of in table.rows[name].differences.values() for one in of.values()
    ]
    assert getattr(table.families, family) == len(found) == 3 * len(names)
    assert [one.significant for one in found] == step_down([one.p for one in found], 0.05)
    assert [one.p_holm < 0.05 for one in found] == [one.significant for one in found]


def test_few_resamples_become_as_many_as_the_correction_needs(put):
    table = table_of(whole_study(put), 10)
    assert table.bootstrap_samples == 80 * 6 and 2 / (table.bootstrap_samples + 1) * 6 < 0.05


def test_single_prefixes_are_compared_with_the_plain_encoder(table):
    singles = table.singles
    scores = [
        (answers("mood", "single beta", seed, share) == labels_of("mood")).mean()
        for seed, share in ONE_SOURCE["beta"].items()
    ]
    assert (singles.compared_with, singles.sources, list(singles.rows["beta"])) == (
        "plain encoder",
        ("alpha", "beta"),
        [*ROWS, MEAN],
    )
    assert singles.rows["beta"]["mood"].difference.value == pytest.approx(
        np.mean(scores) - mean("plain encoder", "mood", [0])
    )


def test_banks_without_a_source_are_compared_with_the_bank_on_shared_seeds(table):
    gaps = [
        (
            answers(target, "without alpha", seed, ONE_SOURCE["alpha"][seed]) == labels_of(target)
        ).mean()
        - accuracy(target, "bank", seed)
        for target in ROWS
        for seed in (0, 1)
    ]
    assert table.without.rows["alpha"][MEAN].difference.value == pytest.approx(np.mean(gaps))


def test_curve_is_validation_over_the_share_of_training(table):
    assert table.curves == {"alpha": {0: ((0.5, 0.5), (1.0, 0.6)), 1: ((0.5, 0.55), (1.0, 0.5))}}


def test_curve_of_no_training_is_empty(put):
    study = replace(update_study(put), curves={"alpha": {0: put_curve(put, "none", [])}})
    assert table_of(study).curves == {"alpha": {0: ()}}


def test_update_ratios_are_prefixes_over_multitask(table):
    assert table.update == UPDATE
    assert table.update_ratios == (
        CostShares(change="add gamma", examples=100 / 900, flops=0.75, seconds=0.25),
        CostShares(change="remove beta", examples=0.0, flops=0.0, seconds=None),
    )


def test_change_that_one_method_was_measured_on_has_no_ratio():
    assert ratios(UPDATE[:1]) == ()


def test_validation_is_the_mean_over_targets_and_seeds(table):
    for column, by_seed in RIGHT.items():
        scores = [accuracy(target, column, seed) - 0.01 for target in ROWS for seed in by_seed]
        assert table.validation[column] == pytest.approx(np.mean(scores))


def test_probes_without_validation_rows_have_no_mean(put):
    labels = labels_of("mood")
    probes = {"mood": {"plain": {0: put_probe(put, labels, labels, folds=5)}}}
    assert table_of(small_study(probes)).validation == {"plain": None}


def test_cost_of_tasks_is_that_of_a_loop_over_them(table):
    head = 2 * 100 * 2
    for column, operations in COSTS.items():
        cost = table.costs[column]
        for tasks, counted in cost.by_tasks.items():
            passes = tasks if column == "multi-task encoder" else 1
            assert counted == passes * operations + tasks * head
    assert tuple(table.costs["bank"].by_tasks) == (1, 2, 4, 8, 16, 32)


def test_break_even_is_where_both_cost_the_same(table):
    tasks = table.costs["multi-task encoder"].break_even
    head = 2 * 100 * 2
    assert tasks * (25_000 + head) == pytest.approx(100_000 + tasks * head)
    assert table.costs["plain encoder"].break_even is table.costs["bank"].break_even is None


def test_report_states_its_facts(table):
    assert {name: getattr(table, name) for name in vars(FACTS)} == vars(FACTS)
    assert (table.columns, table.baseline, table.targets) == (
        tuple(RIGHT),
        "plain encoder",
        tuple(ROWS),
    )
    row = table.target_rows["topic"]
    assert (row.metric, row.split, row.outer_folds) == ("accuracy", "test", None)
    assert (row.train_rows, row.test_rows, row.draws) == (50, 80, 1)


def test_report_on_update_cost_alone_has_no_scores(put):
    table = table_of(update_study(put))
    assert (table.rows, table.columns, table.targets, table.singles.sources) == ({}, (), (), ())


def test_one_training_is_not_paired_with_every_seed_of_the_others(put):
    shares = {"first": {0: 0.5}, "second": {0: 0.5, 1: 0.9}}
    study = small_study(put_probes(put, shares))
    untrained = table_of(study, 10).rows["mood"].differences["first"]["second"]
    columns = {name: replace(column, trained=True) for name, column in study.columns.items()}
    trained = table_of(replace(study, columns=columns), 10).rows["mood"].differences
    assert (untrained.seeds, trained["first"]["second"].seeds) == ((0, 1), (0,))
    assert untrained.value > trained["first"]["second"].value
