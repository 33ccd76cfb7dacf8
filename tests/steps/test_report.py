"""A report's numbers against a computation by hand, and its files."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from prefixbank.steps import report
from prefixbank.steps.events import silent
from prefixbank.steps.json_files import write_json
from prefixbank.steps.report_files import chart, markdown, table_rows, write_report
from prefixbank.steps.report_table import MEAN, tabulate
from prefixbank.steps.units import run_unit
from prefixbank.store import Entry

FACTS = {"experiment": "study", "encoder": "tiny", "sources": ["alpha", "beta"], "seeds": [0, 1]}
ROWS = {"mood": 200, "topic": 80}
RIGHT = {"plain encoder": (0.6,), "bank": (0.8, 0.7)}
"""Share of right predictions, about: one probe of the plain encoder, one for each of two seeds of the bank."""
RESAMPLES = 2000


def answers(target: str) -> tuple[np.ndarray, dict[str, list[np.ndarray]]]:
    """Labels and the predictions of each column's probes, seeded."""
    generator = np.random.default_rng(len(target))
    labels = generator.integers(0, 2, ROWS[target])
    flips = {column: [generator.random(ROWS[target]) > share for share in shares] for column, shares in RIGHT.items()}
    return labels, {column: [np.where(flip, 1 - labels, labels) for flip in several] for column, several in flips.items()}


@pytest.fixture
def probe(put):
    """Publish a probe with given predictions."""

    def make(labels: np.ndarray, *predictions: np.ndarray, metric: str = "accuracy", name: str = "") -> Entry:
        def write(out: Path) -> None:
            write_json(out / "probe.json", {"metric": metric, "labels": [] if metric == "pearson" else ["no", "yes"]})
            save_file({"labels": labels, **{f"{n}.predictions": one for n, one in enumerate(predictions)}}, out / "predictions.safetensors")

        digest = [labels.tolist(), [one.tolist() for one in predictions], name]
        return put("probe", write, inputs={"of": digest})

    return make


@pytest.fixture
def probes(probe) -> dict[str, dict[str, list[Entry]]]:
    made: dict[str, dict[str, list[Entry]]] = {}
    for target in ROWS:
        labels, of_column = answers(target)
        made[target] = {column: [probe(labels, one) for one in several] for column, several in of_column.items()}
    return made


@pytest.fixture
def table(probes):
    return tabulate(FACTS, probes, RESAMPLES)


def accuracy_of(target: str, column: str) -> np.ndarray:
    labels, of_column = answers(target)
    return np.array([(one == labels).mean() for one in of_column[column]])


@pytest.mark.parametrize("target", ROWS)
@pytest.mark.parametrize("column", RIGHT)
def test_cell_is_the_mean_accuracy_over_seeds(table, target, column):
    cell = table["rows"][target]["columns"][column]
    assert cell["value"] == pytest.approx(accuracy_of(target, column).mean())
    assert cell["scores"] == pytest.approx(accuracy_of(target, column))


@pytest.mark.parametrize("target", ROWS)
def test_difference_is_that_of_the_means(table, target):
    expected = accuracy_of(target, "bank").mean() - accuracy_of(target, "plain encoder").mean()
    assert table["rows"][target]["differences"]["bank"]["value"] == pytest.approx(expected)


@pytest.mark.parametrize("column", RIGHT)
def test_mean_row_is_the_mean_over_targets(table, column):
    expected = np.mean([accuracy_of(target, column).mean() for target in ROWS])
    assert table["rows"][MEAN]["columns"][column]["value"] == pytest.approx(expected)


def test_mean_row_gives_the_score_of_each_seed(table):
    expected = np.mean([accuracy_of(target, "bank") for target in ROWS], axis=0)
    assert table["rows"][MEAN]["columns"]["bank"]["scores"] == pytest.approx(expected)


def resample(target: str, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Scores of both columns for resamples of the test rows, the same rows for both, by index."""
    labels, of_column = answers(target)
    rows = generator.integers(0, len(labels), (RESAMPLES, len(labels)))
    plain, bank = (np.mean([(one == labels) for one in of_column[column]], axis=0)[rows].mean(axis=1) for column in RIGHT)
    return plain, bank


@pytest.mark.parametrize("target", ROWS)
def test_intervals_agree_with_a_bootstrap_by_hand(table, target):
    plain, bank = resample(target, np.random.default_rng(0))
    row = table["rows"][target]
    for found, samples in (
        (row["columns"]["bank"], bank),
        (row["columns"]["plain encoder"], plain),
        (row["differences"]["bank"], bank - plain),
    ):
        assert [found["low"], found["high"]] == pytest.approx(np.quantile(samples, [0.025, 0.975]), abs=0.02)


def test_interval_of_the_mean_agrees_with_a_bootstrap_by_hand(table):
    generator = np.random.default_rng(0)
    samples = [resample(target, generator) for target in ROWS]
    difference = np.mean([bank - plain for plain, bank in samples], axis=0)
    found = table["rows"][MEAN]["differences"]["bank"]
    assert [found["low"], found["high"]] == pytest.approx(np.quantile(difference, [0.025, 0.975]), abs=0.02)


def test_differences_are_paired(probe):
    labels, of_column = answers("mood")
    better = of_column["plain encoder"][0].copy()
    wrong = np.flatnonzero(better != labels)[:3]
    better[wrong] = labels[wrong]
    row = tabulate(FACTS, {"mood": {"plain": [probe(labels, of_column["plain encoder"][0])], "bank": [probe(labels, better)]}}, RESAMPLES)
    found, alone = row["rows"]["mood"]["differences"]["bank"], row["rows"]["mood"]["columns"]["bank"]
    assert (
        0 <= found["low"] <= found["value"] == pytest.approx(3 / 200) and found["high"] - found["low"] < (alone["high"] - alone["low"]) / 2
    )


def test_equal_predictions_differ_by_nothing(probe):
    labels, of_column = answers("mood")
    one, other = (probe(labels, of_column["bank"][0], name=name) for name in ("one", "other"))
    found = tabulate(FACTS, {"mood": {"plain": [one], "bank": [other]}}, RESAMPLES)["rows"]["mood"]["differences"]["bank"]
    assert (found["value"], found["low"], found["high"]) == (0.0, 0.0, 0.0)


def test_draws_of_a_few_shot_probe_count_like_seeds(probe):
    labels, of_column = answers("mood")
    row = tabulate(FACTS, {"mood": {"plain": [probe(labels, *of_column["bank"])]}}, 10)["rows"]["mood"]
    assert row["columns"]["plain"]["scores"] == pytest.approx(accuracy_of("mood", "bank"))


def test_regression_is_scored_by_its_metric(probe):
    generator = np.random.default_rng(0)
    labels = generator.normal(size=60)
    predictions = labels + generator.normal(size=60)
    row = tabulate(FACTS, {"mood": {"plain": [probe(labels, predictions, metric="pearson")]}}, 10)["rows"]["mood"]
    assert row["columns"]["plain"]["value"] == pytest.approx(np.corrcoef(labels, predictions)[0, 1])


def test_table_says_what_it_is_about(table):
    kept = {name: table[name] for name in ("experiment", "encoder", "sources", "seeds", "columns", "baseline", "targets", "resamples")}
    assert kept == {
        **FACTS,
        "columns": ["plain encoder", "bank"],
        "baseline": "plain encoder",
        "targets": ["mood", "topic"],
        "resamples": RESAMPLES,
    }


def test_markdown_has_a_row_for_each_target_and_the_mean(table):
    lines = [line for line in markdown(table).splitlines() if line.startswith("| ")]
    assert [line.split(" | ")[0] for line in lines] == ["| target", "| mood", "| topic", "| mean"]


def test_markdown_cells_are_the_tables_numbers(table):
    cell = table["rows"]["mood"]["columns"]["bank"]
    difference = table["rows"]["mood"]["differences"]["bank"]
    text = markdown(table)
    assert f"{cell['value']:.3f} [{cell['low']:.3f}, {cell['high']:.3f}]" in text
    assert f"{difference['value']:+.3f} [{difference['low']:+.3f}, {difference['high']:+.3f}]" in text


def test_markdown_rows_are_as_wide_as_the_header(table):
    header, rows = table_rows(table)
    assert {len(row) for row in rows} == {len(header)} == {5}


def test_markdown_names_encoder_sources_seeds_and_test_rows(table):
    text = markdown(table)
    assert all(
        said in text
        for said in ("# Experiment study", "Encoder tiny", "alpha, beta", "here: 0, 1;", "mood 200, topic 80", f"{RESAMPLES} resamples")
    )


def test_chart_has_a_bar_for_each_cell(table):
    (axes,) = chart(table).axes
    heights = sorted(bar.get_height() for bar in axes.patches)
    assert heights == pytest.approx(sorted(table["rows"][row]["columns"][column]["value"] for row in (*ROWS, MEAN) for column in RIGHT))


def size_of(png: bytes) -> tuple[int, int]:
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", png[16:24])


def test_png_is_an_image_with_something_on_it(table, tmp_path):
    from matplotlib.image import imread

    write_report(tmp_path, table)
    width, height = size_of((tmp_path / "report.png").read_bytes())
    pixels = imread(tmp_path / "report.png")
    assert 500 < width < 1500 and 300 < height < 800
    assert pixels.shape[:2] == (height, width) and 0.02 < (pixels[..., :3].min(axis=2) < 0.9).mean() < 0.6


def test_same_table_gives_the_same_bytes(table, tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        write_report(tmp_path / name, table)
    names = ("report.json", "report.md", "report.png")
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes() for name in names)


def test_unit_publishes_the_table_under_the_experiments_name(store, probes, table):
    facts = report.Facts(experiment="study", encoder="tiny", sources=("alpha", "beta"), seeds=(0, 1))
    entry = run_unit(store, report.unit(facts, probes, resamples=RESAMPLES), silent)
    assert json.loads(entry.file("report.json").read_text(encoding="utf-8")) == json.loads(json.dumps(table))
    assert store.ref("report", "study").key == entry.key


def test_key_follows_the_probes(store, probe):
    labels, of_column = answers("mood")
    facts = report.Facts(experiment="study", encoder="tiny", sources=("alpha",), seeds=(0,))
    first, second = ({"mood": {"plain": [probe(labels, one)]}} for one in of_column["bank"])
    keys = [report.unit(facts, one, resamples=10).document for one in (first, first, second)]
    assert keys[0] == keys[1] != keys[2]
