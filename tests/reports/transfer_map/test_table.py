"""The numbers of the report on a transfer map, against plain loops over invented trainings."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
import torch

from prefixbank.errors import DataError, UsageError
from prefixbank.reports.cells import MEAN, Difference
from prefixbank.reports.transfer_map.retrieval import BOUND, COLD, ORACLE, random, top
from prefixbank.reports.transfer_map.table import Speed, speed, tabulate
from tests.core.stats.test_holm import step_down
from tests.reports.transfer_map.maps import (
    RESAMPLES,
    ROWS,
    SEEDS,
    SHAPE,
    SOURCES,
    TOPS,
    answers,
    curve_of,
    embedding,
    labels_of,
    made_map,
    put_score,
    put_trained,
    score,
    sources_of,
    validation,
    whole_map,
)

REGIMES = {
    "held-out seeds": lambda seed: [other for other in SEEDS if other != seed],
    "same seed": lambda seed: [seed],
}
COMBINED = {"weighted top-3": SEEDS, "mixture top-3": SEEDS[:1]}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return made_map(tmp_path_factory.mktemp("store"))


def mean_token(task: str, seed: int, layers: slice = slice(None)) -> np.ndarray:
    """The mean of a task embedding's tokens.

    Keys and values of all heads of some layers side by side.
    """
    values = embedding(task, seed).double().numpy()[layers]
    tokens = [np.concatenate([values[..., slot, :].ravel()]) for slot in range(SHAPE[3])]
    return np.mean(tokens, axis=0)


def similarity(source: str, target: str, seeds, layers: slice = slice(None)) -> float:
    """Mean over seeds of the cosine."""
    found = []
    for seed in seeds:
        a, b = mean_token(source, seed, layers), mean_token(target, seed, layers)
        found.append(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    return float(np.mean(found))


def best_validation(target: str, sources, seeds) -> str:
    return max(
        sources, key=lambda source: np.mean([validation(target, source, seed) for seed in seeds])
    )


def chosen(target: str, name: str, seed: int, regime: str) -> str:
    """The source that a row of the table starts from."""
    seeds = REGIMES[regime](seed)
    if name == ORACLE:
        return best_validation(target, sources_of(target), seeds)
    if name == BOUND:
        return max(sources_of(target), key=lambda source: score(target, source, seed))
    nearest = sorted(sources_of(target), key=lambda source: -similarity(source, target, seeds))
    return best_validation(target, nearest[: int(name.removeprefix("best of top-"))], seeds)


def random_score(target: str, k: int, seed: int, regime: str) -> float:
    sets = itertools.combinations(sources_of(target), k)
    return float(
        np.mean(
            [
                score(target, best_validation(target, one, REGIMES[regime](seed)), seed)
                for one in sets
            ]
        )
    )


def row_score(target: str, name: str, seed: int, regime: str) -> float:
    if name == COLD or name in COMBINED:
        return score(target, name.replace(COLD, ""), seed)
    if name.startswith("best of random "):
        return random_score(target, int(name.removeprefix("best of random ")), seed, regime)
    return score(target, chosen(target, name, seed, regime), seed)


def row_mean(name: str, regime: str, seeds=SEEDS, targets=tuple(ROWS)) -> float:
    return float(
        np.mean([row_score(target, name, seed, regime) for target in targets for seed in seeds])
    )


NAMES = [COLD, top(1), random(1), top(2), random(2), *COMBINED, ORACLE, BOUND]
EVERY_CELL = [(regime, name) for regime in REGIMES for name in NAMES]


def seeds_of(name: str) -> tuple[int, ...]:
    return COMBINED.get(name, SEEDS)


def test_rows_stand_in_order_and_the_regime_to_believe_first(table):
    assert list(table.regimes) == list(REGIMES) and table.headline == "held-out seeds"
    assert [list(found.rows) for found in table.regimes.values()] == [NAMES, NAMES]


@pytest.mark.parametrize(("regime", "name"), EVERY_CELL)
def test_row_is_the_mean_of_what_was_chosen(table, regime, name):
    row = table.regimes[regime].rows[name]
    assert row.value == pytest.approx(row_mean(name, regime, seeds_of(name)))
    assert row.seeds == seeds_of(name)


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("target", ROWS)
@pytest.mark.parametrize("name", [top(1), top(2), ORACLE, BOUND])
def test_chosen_sources_are_named(table, regime, target, name):
    found = table.regimes[regime].chosen[target][name]
    assert found == {seed: chosen(target, name, seed, regime) for seed in SEEDS}


@pytest.mark.parametrize("target", ROWS)
def test_cells_of_a_target_are_its_own_means(table, target):
    cells = table.regimes["held-out seeds"].targets[target]
    assert {name: cell.value for name, cell in cells.items()} == {
        name: pytest.approx(row_mean(name, "held-out seeds", seeds_of(name), (target,)))
        for name in NAMES
    }


@pytest.mark.parametrize(
    ("regime", "name"), [(regime, name) for regime, name in EVERY_CELL if name != COLD]
)
def test_difference_to_a_cold_start_is_over_shared_seeds(table, regime, name):
    found, seeds = table.regimes[regime].rows[name].minus_cold, seeds_of(name)
    assert found.value == pytest.approx(
        row_mean(name, regime, seeds) - row_mean(COLD, regime, seeds)
    )


@pytest.mark.parametrize("k", TOPS)
def test_top_k_is_compared_with_random_k(table, k):
    found = table.regimes["held-out seeds"].against_random[k]
    assert found.value == pytest.approx(
        row_mean(top(k), "held-out seeds") - row_mean(random(k), "held-out seeds")
    )


def by_hand(name: str, regime: str, bootstrap_samples: int) -> np.ndarray:
    """Row minus cold start, resampled over rows and seeds.

    Predictions of random lists are not resampled this way.
    """
    generator, found = np.random.default_rng(0), []
    right = {
        (target, seed, row): answers(target, start, seed) == labels_of(target)
        for target in ROWS
        for seed in SEEDS
        for row, start in ((COLD, ""), (name, chosen(target, name, seed, regime)))
    }
    for _ in range(bootstrap_samples):
        rows = {target: generator.integers(0, count, count) for target, count in ROWS.items()}
        seeds = generator.choice(SEEDS, len(SEEDS))
        gaps = [
            right[target, seed, name][rows[target]].mean()
            - right[target, seed, COLD][rows[target]].mean()
            for target in ROWS
            for seed in seeds
        ]
        found.append(np.mean(gaps))
    return np.array(found)


def test_interval_of_a_difference_agrees_with_a_bootstrap_by_hand(table):
    found = table.regimes["held-out seeds"].rows[top(1)].minus_cold
    assert [found.low, found.high] == pytest.approx(
        np.quantile(by_hand(top(1), "held-out seeds", 2000), [0.025, 0.975]), abs=0.02
    )


@pytest.mark.parametrize("regime", REGIMES)
def test_p_values_of_a_table_are_one_family_without_the_upper_bound(table, regime):
    found = table.regimes[regime]
    family = [row.minus_cold for name, row in found.rows.items() if name not in (COLD, BOUND)]
    family += found.against_random.values()
    assert found.family == len(family) == 9 and type(found.rows[BOUND].minus_cold) is Difference
    assert [one.significant for one in family] == step_down([one.p for one in family], 0.05)
    assert table.bootstrap_samples == max(RESAMPLES, 80 * 9)


@pytest.mark.parametrize(("regime", "name"), EVERY_CELL)
def test_error_reduction_is_the_mean_over_targets(table, regime, name):
    reductions = []
    for target in ROWS:
        mean, cold = (row_mean(one, regime, seeds_of(name), (target,)) for one in (name, COLD))
        reductions.append((mean - cold) / (1 - cold))
    assert table.regimes[regime].rows[name].error_reduction == pytest.approx(np.mean(reductions))


@pytest.mark.parametrize(("regime", "name"), EVERY_CELL)
def test_share_of_oracle_gain_is_a_ratio_of_summed_gains(table, regime, name):
    mean, cold, oracle = (row_mean(one, regime, seeds_of(name)) for one in (name, COLD, ORACLE))
    assert table.regimes[regime].rows[name].share_of_oracle_gain == pytest.approx(
        (mean - cold) / (oracle - cold)
    )


def gain(source: str, target: str) -> float:
    return float(np.mean([score(target, source, seed) - score(target, "", seed) for seed in SEEDS]))


def test_gains_are_means_over_seeds_and_a_target_lacks_itself(table):
    for source in SOURCES:
        expected = {target: gain(source, target) for target in ROWS if target != source}
        assert table.gains[source] == {
            **{
                target: pytest.approx(expected[target]) if target in expected else None
                for target in ROWS
            },
            MEAN: pytest.approx(np.mean(list(expected.values()))),
        }


def pairs() -> list[tuple[str, str]]:
    return [(source, target) for source in SOURCES for target in ROWS if source != target]


def reduction(source: str, target: str) -> float:
    return gain(source, target) / (1 - np.mean([score(target, "", seed) for seed in SEEDS]))


@pytest.mark.parametrize("layer", ["all", 0, 2])
def test_correlations_equal_scipy(table, layer):
    (row,) = (
        row
        for row in table.correlations
        if (row.similarity, row.compare, row.layer) == ("average_tokens", "weights", layer)
    )
    layers = slice(None) if layer == "all" else slice(layer, layer + 1)
    x, y = (
        [similarity(*pair, SEEDS, layers) for pair in pairs()],
        [reduction(*pair) for pair in pairs()],
    )
    assert row.pearson.value == pytest.approx(scipy.stats.pearsonr(x, y).statistic)
    assert row.spearman.value == pytest.approx(scipy.stats.spearmanr(x, y).statistic)
    assert row.spearman.pairs == len(x)


def test_correlation_within_targets_is_over_the_sources_of_each(table):
    row, expected = table.correlations[0], {}
    for target in ROWS:
        x, y = zip(
            *[
                (similarity(source, target, SEEDS), gain(source, target))
                for source in sources_of(target)
            ],
            strict=True,
        )
        expected[target] = scipy.stats.spearmanr(x, y).statistic
    assert row.within.by_target.spearman == pytest.approx(expected)
    assert (row.within.spearman, row.within.targets) == (
        pytest.approx(np.mean(list(expected.values()))),
        3,
    )


def test_both_similarities_of_weights_and_movement_have_all_layers_and_each_alone(table):
    similarities = itertools.product(("weights", "movement"), ("average_tokens", "per_token"))
    ways = [*similarities, ("source alone", "least_movement")]
    expected = [
        (compare, name, layer) for compare, name in ways for layer in ("all", *range(SHAPE[0]))
    ]
    assert [(row.compare, row.similarity, row.layer) for row in table.correlations] == expected


@pytest.mark.parametrize("layer", ["all", 0, 2])
def test_control_ranks_sources_by_how_little_they_moved_whatever_the_target(table, layer):
    (row,) = (
        row
        for row in table.correlations
        if (row.similarity, row.layer) == ("least_movement", layer)
    )
    layers = slice(None) if layer == "all" else slice(layer, layer + 1)

    def moved(source: str) -> float:
        lengths = []
        for seed in SEEDS:
            torch.manual_seed(seed)
            lengths.append(
                float((embedding(source, seed) - torch.randn(*SHAPE) * 0.5)[layers].norm())
            )
        return float(np.mean(lengths))

    x, y = [-moved(source) for source, _ in pairs()], [reduction(*pair) for pair in pairs()]
    assert row.spearman.value == pytest.approx(scipy.stats.spearmanr(x, y).statistic)
    assert row.pearson.value == pytest.approx(scipy.stats.pearsonr(x, y).statistic, abs=1e-5)


def test_movement_is_left_out_where_a_start_is_not_known(put):
    study = whole_map(put)
    first = study.sources["alpha"][0]
    document = {
        **first.document,
        "config": {**first.document["config"], "prefix": {"init": "prefix", "projection": "none"}},
    }
    warm = {
        **study.sources,
        "alpha": {**study.sources["alpha"], 0: replace(first, document=document)},
    }
    table = tabulate(replace(study, sources=warm), 10)
    assert {row.compare for row in table.correlations} == {"weights"}


def test_all_tasks_are_compared_with_each_other_once(table):
    tasks, values = table.between.tasks, table.between.similarity
    assert tasks == (*SOURCES, "mood", "topic")
    for (row, one), (column, other) in itertools.product(enumerate(tasks), repeat=2):
        assert values[row][column] == pytest.approx(similarity(one, other, SEEDS))


def steps_to(goal: float, curve) -> int | None:
    return next(
        (
            event["step"]
            for event in curve
            if event["validation"] is not None and event["validation"] >= goal
        ),
        None,
    )


def ratios(source: str, target: str) -> list[float]:
    found = []
    for seed in SEEDS:
        cold, warm = curve_of(target, "", seed), curve_of(target, source, seed)
        steps = steps_to(cold[-1]["validation"], warm)
        found.append(np.inf if steps is None else steps / steps_to(cold[-1]["validation"], cold))
    return found


def test_speed_counts_what_never_gets_there_as_slowest(table):
    of_pair = [ratios(*pair) for pair in pairs()]
    flat = [ratio for one in of_pair for ratio in one]
    assert table.speed.all == Speed(
        pairs=len(of_pair),
        never_pairs=sum(np.isinf(one).all() for one in of_pair),
        trainings=len(flat),
        never=sum(np.isinf(flat)),
        undefined=0,
        median=np.median(flat),
    )


def test_speed_of_pairs_that_gain_leaves_out_the_others(put):
    gains = np.full((len(SOURCES), len(ROWS)), -0.1)
    gains[0, 1] = 0.1
    found = speed(whole_map(put), gains).positive
    flat = ratios("alpha", "topic")
    assert (found.pairs, found.trainings, found.never) == (1, 3, sum(np.isinf(flat)))
    assert found.median == (None if np.isinf(np.median(flat)) else pytest.approx(np.median(flat)))


def test_one_seed_has_no_table_with_held_out_seeds(put):
    table = tabulate(whole_map(put, seeds=(1,)), 10)
    assert list(table.regimes) == [table.headline] == ["same seed"]
    assert table.regimes["same seed"].rows[ORACLE].value == pytest.approx(
        row_mean(ORACLE, "same seed", (1,))
    )


def test_short_list_longer_than_the_sources_holds_them_all(put):
    rows = tabulate(whole_map(put, ks=(9,)), 10).regimes["held-out seeds"].rows
    assert rows[top(9)].value == rows[random(9)].value == rows[ORACLE].value


def test_cold_start_without_errors_has_no_error_reduction(put):
    study = whole_map(put)
    right = put_score(put, "mood", labels_of("mood"), "all right")
    perfect = {seed: replace(one, score=right) for seed, one in study.cold["mood"].items()}
    table = tabulate(replace(study, cold={**study.cold, "mood": perfect}), 10)
    row = table.regimes["held-out seeds"].rows[top(1)]
    assert row.error_reduction_targets == 2 and table.error_reductions["alpha"]["mood"] is None
    assert table.correlations[0].spearman.pairs == len(pairs()) - 4


def test_trainings_scored_on_other_rows_are_refused(put):
    study = whole_map(put)
    cold = {**study.cold, "mood": {**study.cold["mood"], 0: put_trained(put, "topic", "", 0)}}
    with pytest.raises(
        DataError, match="predictions for 'mood' were scored on different test rows"
    ):
        tabulate(replace(study, cold=cold), 10)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda study: {"ks": ()}, "short lists of no sources"),
        (lambda study: {"ks": (0, 1)}, "short lists of 0, 1 sources"),
        (lambda study: {"warm": {**study.warm, "mood": {}}}, "'mood' was trained from no source"),
        (
            lambda study: {"sources": {name: study.sources[name] for name in SOURCES[1:]}},
            "from 'alpha', which is not a source",
        ),
        (
            lambda study: {"cold": {**study.cold, "mood": {0: study.cold["mood"][0]}}},
            r"'mood' from a cold start has seeds \[0\]",
        ),
        (
            lambda study: {"combined": {"mix": {"mood": study.cold["mood"]}}},
            "'mix' does not have the same seeds on all targets",
        ),
    ],
)
def test_map_with_holes_is_refused(put, change, said):
    study = whole_map(put)
    with pytest.raises(UsageError, match=said):
        replace(study, **change(study))
