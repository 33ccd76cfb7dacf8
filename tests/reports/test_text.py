"""A report as Markdown.

Its tables hold the table's numbers, and only sections that have something are there.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from prefixbank.reports.cells import MEAN
from prefixbank.reports.grid import Grid, interval, markdown_table, number, text_cell
from prefixbank.reports.render import Chart
from prefixbank.reports.text import markdown
from tests.reports.studies import (
    labels_of,
    made_once,
    put_probe,
    small_study,
    table_of,
    update_study,
    whole_study,
)

CHARTS = (Chart(name="report.png", caption="Scores"),)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return made_once(tmp_path_factory.mktemp("store"), whole_study)


@pytest.fixture(scope="module")
def text(table) -> str:
    return markdown(table, CHARTS)


def section(text: str, title: str) -> list[list[str]]:
    """The rows of the table under a heading, header first."""
    below = text.split(f"## {title}\n", maxsplit=1)[1].split("\n## ", maxsplit=1)[0]
    lines = [line for line in below.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def headings(text: str) -> list[str]:
    return [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]


def test_every_part_has_its_section(text):
    assert headings(text) == [
        "Mean over targets",
        "Scores on each target",
        "Differences to plain encoder",
        "Differences to multi-task encoder",
        "How to read the numbers",
        "Transfer of single prefixes",
        "What is lost without one source",
        "What one text costs",
        "What a change of the sources costs",
    ]


def test_parts_that_are_empty_have_no_section(put):
    assert headings(markdown(table_of(update_study(put)), ())) == [
        "What a change of the sources costs"
    ]
    labels = labels_of("mood")
    alone = small_study({"mood": {"plain": {0: put_probe(put, labels, labels)}}})
    assert headings(markdown(table_of(alone), ())) == [
        "Mean over targets",
        "Scores on each target",
        "How to read the numbers",
    ]


def test_every_table_is_as_wide_as_its_header(text):
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("| ")]
    assert len(tables) == 9 and all(
        len({line.count("|") for line in lines}) == 1 for lines in tables
    )


def test_first_table_has_passes_seeds_means_and_differences(table, text):
    header, plain, bank, _ = section(text, "Mean over targets")
    row = table.rows[MEAN]
    difference = row.differences["plain encoder"]["bank"]
    assert header == [
        "representation",
        "passes",
        "seeds",
        "mean score",
        "on validation",
        "minus plain encoder",
        "minus multi-task encoder",
    ]
    assert plain == [
        "plain encoder",
        "1",
        "none",
        interval(row.columns["plain encoder"]),
        f"{table.validation['plain encoder']:.3f}",
        "-",
        "-",
    ]
    assert bank[:4] == ["the bank", "1", "3", interval(row.columns["bank"])]
    assert bank[5].startswith(
        f"{difference.value:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}] p"
    )


def test_scores_have_a_row_for_each_target_and_the_mean(table, text):
    rows = section(text, "Scores on each target")[1:]
    cell = table.rows["topic"].columns["bank"]
    assert [row[:4] for row in rows] == [
        ["mood", "accuracy", "50", "200"],
        ["topic", "accuracy", "50", "80"],
        ["mean", "", "", ""],
    ]
    assert rows[1][5] == f"{cell.value:.3f} [{cell.low:.3f}, {cell.high:.3f}]"


def test_scores_of_each_seed_are_listed(table, text):
    scores = table.rows[MEAN].columns["multi-task encoder"].scores
    assert f"- multi-task encoder: {scores[0]:.3f} (seed 0), {scores[1]:.3f} (seed 2)" in text
    assert (
        f"- plain encoder: {table.rows[MEAN].columns['plain encoder'].value:.3f} (no seed)" in text
    )


@pytest.mark.parametrize(
    ("p_holm", "significant", "said"),
    [(0.0321, True, "p 0.032 *"), (0.0001, True, "p <0.001 *"), (1.0, False, "p 1.000")],
)
def test_difference_shows_the_corrected_p_value_and_marks_significance(
    table, p_holm, significant, said
):
    row = table.rows["mood"]
    differences = row.differences["plain encoder"]
    bank = replace(differences["bank"], p_holm=p_holm, significant=significant)
    changed = {**row.differences, "plain encoder": {**differences, "bank": bank}}
    other = replace(table, rows={**table.rows, "mood": replace(row, differences=changed)})
    assert section(markdown(other, ()), "Differences to plain encoder")[1][1].endswith(f"] {said}")


def test_text_says_what_intervals_and_p_values_cover(table, text):
    for said in (
        "2,000 resamples",
        "95 %",
        "With 3 seeds",
        "Holm",
        "3 differences of means over targets, and 6 on single targets",
        "`*` marks",
    ):
        assert said in text


def test_text_says_when_no_seeds_are_covered(put):
    labels = labels_of("mood")
    alone = small_study(
        {
            "mood": {
                "plain": {0: put_probe(put, labels, labels)},
                "bank": {0: put_probe(put, labels, 1 - labels)},
            }
        }
    )
    assert "cover test rows only" in markdown(table_of(alone), ())


def test_text_says_which_rows_are_scored(put, text):
    labels = labels_of("mood")
    folded = small_study({"mood": {"plain": {0: put_probe(put, labels, labels, folds=5)}}})
    assert "- Scores: test rows by a probe fitted on train rows;" in text
    assert (
        "- Scores: every row of a target by a probe fitted on the other 4 of 5 folds;"
        in markdown(table_of(folded), ())
    )


def test_text_says_that_scores_are_means_of_few_shot_draws(put):
    labels = labels_of("mood")
    alone = small_study({"mood": {"plain": {0: put_probe(put, labels, labels, 1 - labels)}}})
    assert "mean of 2 few-shot draws" in markdown(table_of(alone), ())


def test_text_names_encoder_sources_seeds_and_protocol(text):
    for said in (
        "# Experiment study",
        "Encoder tiny.",
        "alpha, beta; no source",
        "seeds: 0, 1, 2.",
        "- Sources: 50 rows.",
    ):
        assert said in text


def test_transfer_shows_the_difference_of_each_source_and_target(table, text):
    header, alpha, _ = section(text, "Transfer of single prefixes")
    by_target = table.singles.rows["alpha"]
    assert header == ["source", "mood", "topic", "mean"]
    assert alpha[1:3] == [
        f"{by_target[target].difference.value:+.3f}" for target in ("mood", "topic")
    ]


def test_left_out_source_shows_the_loss_of_the_bank(table, text):
    row = section(text, "What is lost without one source")[2]
    found = table.without.rows["beta"][MEAN].difference
    assert row[:2] == [
        "beta",
        f"{-found.value:+.3f} [{-found.high:+.3f}, {-found.low:+.3f}]",
    ]


def test_update_shows_amounts_and_shares(text):
    rows = section(text, "What a change of the sources costs")
    blocks, vector = ["1", "1 of 9", "0"], ["1", "1 of 1", "2"]
    assert rows[1] == ["add gamma", "prefixes", "1", "100", "3e+12", "2.0", "yes", *blocks]
    assert rows[2] == ["add gamma", "multi-task", "1", "900", "4e+12", "8.0", "-", *vector]
    below = table_after(text, "share of multi-task training:")
    assert below == [
        ["change", "examples", "flops", "seconds"],
        ["add gamma", "0.1111", "0.7500", "0.2500"],
        ["remove beta", "0.0000", "0.0000", "-"],
    ]


def table_after(text: str, after: str) -> list[list[str]]:
    lines = [
        line for line in text.split(after, maxsplit=1)[1].splitlines() if line.startswith("| ")
    ]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_cost_says_what_serves_all_tasks_and_from_where_on_it_is_cheaper(table, text):
    rows = {row[0]: row[1:] for row in section(text, "What one text costs")}
    assert rows["the bank"][1:5] == ["all tasks", "1.3e+05", "400", "-"]
    assert rows["multi-task encoder"][1:5] == ["one task", "25000.0", "400", "4.0"]
    assert rows["plain encoder"][0] == f"{table.rows[MEAN].columns['plain encoder'].value:.3f}"
    assert "from which plain encoder costs less" in text


def test_charts_stand_at_the_end(text):
    assert text.endswith("\n\n![Scores](report.png)\n")


def test_study_without_protocol_leaves_no_gap(put):
    study = update_study(put)
    text = markdown(table_of(replace(study, facts=replace(study.facts, protocol=()))), ())
    assert "\n\n\n" not in text


@pytest.mark.parametrize(
    ("value", "said"), [(-0.0001, "+0.000"), (0.0126, "+0.013"), (-0.2, "-0.200")]
)
def test_difference_that_rounds_to_zero_is_not_negative(value, said):
    assert number(value, signed=True) == said


def test_paragraphs_and_items_are_one_line_each(text):
    prose = [line for line in text.splitlines() if line and not line.startswith(("|", "#", "!"))]
    assert all(line[-1] in ".:)" for line in prose), [
        line for line in prose if line[-1] not in ".:)"
    ]


def test_bars_in_names_do_not_break_a_table():
    grid = Grid(header=("a|b",), rows=((text_cell("c|d"),),))
    assert markdown_table(grid).splitlines() == [r"| a\|b |", "|---|", r"| c\|d |"]
