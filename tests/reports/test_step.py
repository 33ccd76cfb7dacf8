"""The report as a unit: what determines it, and what it publishes."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, replace

import pytest

from prefixbank.artifacts.summary import flat_rows, summary
from prefixbank.errors import UsageError
from prefixbank.reports import step as report
from prefixbank.reports.study import ReportColumn
from prefixbank.runtime.events import silent
from prefixbank.runtime.unit import run_unit
from tests.reports.studies import (
    RIGHT,
    ROWS,
    UPDATE,
    answers,
    labels_of,
    put_curve,
    put_probes,
    table_of,
    update_study,
    whole_study,
)


def changed(put, study, part: str):
    """The study with one part made from other artifacts, said otherwise, or in another order."""
    shares = {"alpha": {0: 0.9, 1: 0.9}, "beta": {0: 0.9, 1: 0.9}}
    probes = put_probes(put, {**RIGHT, "bank": {0: 0.9, 1: 0.9, 2: 0.9}})
    changes = {
        "probes": {"probes": probes},
        "singles": {"singles": put_probes(put, shares)},
        "without": {"without": put_probes(put, shares)},
        "curves": {"curves": {"alpha": {0: put_curve(put, "alpha", [0.1])}}},
        "update": {"update": UPDATE[:2]},
        "columns": {"columns": {**study.columns, "bank": ReportColumn(title="the bank", passes=8)}},
        "order of columns": {"columns": dict(reversed(study.columns.items()))},
        "order of targets": {"probes": dict(reversed(study.probes.items()))},
        "order of sources": {
            "singles": {target: dict(reversed(of.items())) for target, of in study.singles.items()}
        },
        "baselines": {"baselines": ("plain encoder",)},
        "bank": {"bank": "multi-task encoder"},
        "facts": {"facts": replace(study.facts, protocol=("Sources: all rows.",))},
    }
    return replace(study, **changes[part])


@pytest.mark.parametrize(
    "part",
    [
        "probes",
        "singles",
        "without",
        "curves",
        "update",
        "columns",
        "order of columns",
        "order of targets",
        "order of sources",
        "baselines",
        "bank",
        "facts",
    ],
)
def test_key_follows_every_part_of_the_study(put, part):
    study = whole_study(put)
    first, same, other = (
        report.unit(one, bootstrap_samples=10).document
        for one in (study, whole_study(put), changed(put, study, part))
    )
    assert first == same != other


def test_key_follows_the_resamples(put):
    study = whole_study(put)
    assert (
        report.unit(study, bootstrap_samples=10).document
        != report.unit(study, bootstrap_samples=20).document
    )


def test_unit_publishes_the_table_under_the_experiments_name(store, put):
    study = whole_study(put)
    entry = run_unit(store, report.unit(study, bootstrap_samples=500), silent)
    assert json.loads(entry.file("report.json").read_text(encoding="utf-8")) == json.loads(
        json.dumps(asdict(table_of(study, 500)))
    )
    assert set(entry.files) == {
        "report.json",
        "report.md",
        "report.html",
        "classes.csv",
        "report.png",
        "heatmap.png",
        "cost.png",
        "update.png",
        "curves.png",
    }
    assert store.ref("report", "study").key == entry.key


def test_each_class_has_a_line_for_each_probe(store, put):
    study = whole_study(put)
    entry = run_unit(store, report.unit(study, bootstrap_samples=10), silent)
    with entry.file("classes.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    probes = [
        (target, column, seed)
        for target in ROWS
        for column, by_seed in RIGHT.items()
        for seed in by_seed
    ]
    assert [
        (line["target"], line["representation"], int(line["seed"]), line["label"]) for line in lines
    ] == [(*probe, label) for probe in probes for label in ("no", "yes")]
    for line in lines:
        labels = labels_of(line["target"])
        found = answers(
            line["target"],
            line["representation"],
            int(line["seed"]),
            RIGHT[line["representation"]][int(line["seed"])],
        )
        number = ("no", "yes").index(line["label"])
        right = ((found == number) & (labels == number)).sum()
        assert float(line["recall"]) == pytest.approx(right / (labels == number).sum())
        assert float(line["precision"]) == pytest.approx(right / (found == number).sum())
        assert float(line["support"]) == (labels == number).sum()


def test_report_is_flattened_to_its_cells(store, put):
    entry = run_unit(store, report.unit(whole_study(put), bootstrap_samples=10), silent)
    assert [(row["target"], row["column"]) for row in flat_rows(summary(entry))] == [
        (name, column) for name in (*ROWS, "mean") for column in RIGHT
    ]


def test_report_without_targets_is_flattened_to_its_costs(store, put):
    entry = run_unit(store, report.unit(update_study(put), bootstrap_samples=10), silent)
    written = json.loads(json.dumps(list(map(asdict, UPDATE))))
    assert flat_rows(summary(entry)) == written


def test_comparison_with_what_is_not_made_is_refused(put):
    with pytest.raises(
        UsageError, match="compares with 'other', which the experiment does not make"
    ):
        whole_study(put, baselines=("plain encoder", "other"))
    with pytest.raises(UsageError, match="compares with 'whole'"):
        whole_study(put, bank="whole")
