"""The report on a transfer map as Markdown.

Its tables hold the table's numbers, and its sentences say what they show.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from prefixbank.reports.grid import interval, number, with_p_value
from prefixbank.reports.render import Chart
from prefixbank.reports.transfer_map.retrieval import BOUND, COLD, ORACLE, random, top
from prefixbank.reports.transfer_map.table import tabulate
from prefixbank.reports.transfer_map.text import markdown
from tests.reports.test_text import headings, section
from tests.reports.transfer_map.maps import ROWS, SOURCES, made_map, whole_map

CHARTS = (Chart(name="gains.png", caption="Gains"),)
HEADLINE = "Choosing a source: held-out seeds (main result)"
SPEED = "How soon a warm start reaches a cold start's final score"


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return made_map(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def text(table) -> str:
    return markdown(table, CHARTS)


def changed(table, regime: str, **differences):
    """The report with other values in the difference of top-1 to a cold start, and to random-1."""
    choices = table.regimes[regime]
    row = choices.rows[top(1)]
    row = replace(row, minus_cold=replace(row.minus_cold, **differences))
    against = {**choices.against_random, 1: replace(choices.against_random[1], **differences)}
    other = replace(choices, rows={**choices.rows, top(1): row}, against_random=against)
    return replace(table, regimes={**table.regimes, regime: other})


def correlated(table, index: int, **spearman):
    """The report with another rank correlation in one row."""
    rows = list(table.correlations)
    rows[index] = replace(rows[index], spearman=replace(rows[index].spearman, **spearman))
    return replace(table, correlations=tuple(rows))


def paced(table, **positive):
    """The report with another speed of the pairs that gain."""
    speed = replace(table.speed, positive=replace(table.speed.positive, **positive))
    return replace(table, speed=speed)


def test_every_part_has_its_section_and_charts_stand_at_the_end(text):
    assert headings(text) == [
        HEADLINE,
        "Choosing a source: same seed",
        "Each target: held-out seeds",
        "Gains from each source",
        "Does similarity tell which source helps",
        SPEED,
        "How to read the numbers",
    ]
    assert text.endswith("\n![Gains](gains.png)\n")


def test_every_table_is_as_wide_as_its_header(text):
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("| ")]
    assert len(tables) == 6
    assert all(len({line.count("|") for line in lines}) == 1 for lines in tables)


def test_retrieval_table_holds_scores_and_corrected_differences(table, text):
    found, rows = table.regimes["held-out seeds"], section(text, HEADLINE)[1:]
    assert [row[0] for row in rows] == [
        name + {BOUND: " (upper bound)", "mixture top-3": " (seeds 0)"}.get(name, "")
        for name in found.rows
    ]
    assert [row[1] for row in rows] == [interval(row) for row in found.rows.values()]
    of_top = dict(zip(found.rows, rows, strict=True))[top(1)]
    assert of_top[2:4] == [
        with_p_value(found.rows[top(1)].minus_cold),
        with_p_value(found.against_random[1]),
    ]


def test_upper_bound_is_not_tested(text):
    (row,) = (row for row in section(text, HEADLINE) if row[0].startswith(BOUND))
    assert row[2].endswith("not tested") and "p " not in row[2]


def test_targets_table_has_the_cells_of_the_headline_regime(table, text):
    names = [COLD, top(1), random(1), top(2), random(2), ORACLE]
    cells = table.regimes["held-out seeds"].targets
    rows = section(text, "Each target: held-out seeds")
    assert rows[0][3:] == names
    assert [row[3:] for row in rows[1:]] == [
        [interval(cells[target][name]) for name in names] for target in ROWS
    ]


def test_gains_table_has_a_dash_where_nothing_was_trained(table, text):
    rows = section(text, "Gains from each source")[1:]
    assert rows[SOURCES.index("beta")][1:] == [
        number(table.gains["beta"]["mood"], signed=True),
        number(table.gains["beta"]["topic"], signed=True),
        "-",
        number(table.gains["beta"]["mean"], signed=True),
    ]
    assert "`-`: not trained (1 of 12 pairs)" in text


@pytest.mark.parametrize(
    ("significant", "value", "said", "so"),
    [
        (True, 0.1, "scores higher than", "similarity adds to"),
        (True, -0.1, "scores lower than", "similarity takes away from"),
        (
            False,
            0.1,
            "does not differ significantly from",
            "there is no evidence that similarity adds to",
        ),
    ],
)
def test_sentences_say_no_more_than_the_corrected_tests(table, significant, value, said, so):
    text = markdown(changed(table, "held-out seeds", significant=significant, value=value), ())
    assert f"- best of top-1 {said} a cold start and {said} best of random 1: {so} what" in text


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.1, 0.4, "lies above zero"),
        (-0.4, -0.1, "lies below zero"),
        (-0.1, 0.4, "contains zero"),
        (None, None, "is undefined"),
    ],
)
def test_correlation_is_read_by_its_interval(table, low, high, said):
    text = markdown(correlated(table, 0, low=low, high=high), ())
    _, _, below = text.partition("- average_tokens of weights over all layers, 11 pairs:")
    assert said in below.split("\n", 1)[0]


@pytest.mark.parametrize(
    ("median", "never", "cell", "said"),
    [
        (0.5, 1, "0.50", "takes fewer steps than"),
        (2.0, 1, "2.00", "takes more steps than"),
        (None, 5, "never", "about half of the trainings or more never"),
    ],
)
def test_speed_is_read_by_its_median(table, median, never, cell, said):
    text = markdown(paced(table, median=median, never=never), ())
    assert section(text, SPEED)[1][-1] == cell and said in text


def test_speed_without_a_pair_that_gains_is_said(table):
    none = {"pairs": 0, "never_pairs": 0, "trainings": 0, "never": 0, "undefined": 0}
    text = markdown(paced(table, **none, median=None), ())
    assert section(text, SPEED)[1][-1] == "-"
    assert "No training from a source that gains" in text


def test_numbers_that_are_not_there_are_explained(table):
    same = table.regimes["same seed"]
    rows = {
        name: replace(row, share_of_oracle_gain=None, error_reduction_targets=2)
        for name, row in same.rows.items()
    }
    other = replace(table, regimes={**table.regimes, "same seed": replace(same, rows=rows)})
    text = markdown(correlated(other, 1, value=None, low=None, high=None), ())
    assert {row[-1] for row in section(text, "Choosing a source: same seed")[1:]} == {"-"}
    for said in (
        "A row has no share of the oracle's gain if",
        "Error reduction is the mean over 2 of 3 targets",
        "`-`: undefined, because",
    ):
        assert text.count(said) == 1
    assert "nan" not in text and "None" not in text


def test_one_seed_says_what_is_left_out(put):
    text = markdown(tabulate(whole_map(put, seeds=(1,)), 10), ())
    assert headings(text)[0] == "Choosing a source: same seed" and "redraw test rows only" in text
    assert "the table with held-out seeds is left out" in text


def test_short_list_longer_than_the_sources_is_said(put):
    text = markdown(tabulate(whole_map(put, ks=(4,)), 10), ())
    assert "- A short list of 4 holds all sources of beta." in text
