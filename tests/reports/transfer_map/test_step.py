"""The report on a transfer map as a unit: what determines it, and what it publishes."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from prefixbank.reports.transfer_map import step as map_report
from prefixbank.reports.transfer_map.study import Trained
from prefixbank.reports.transfer_map.table import tabulate
from prefixbank.runtime.events import silent
from prefixbank.runtime.unit import run_unit
from tests.reports.transfer_map.maps import answers, put_prefix, put_score, whole_map

PARTS = [
    "facts",
    "similarity",
    "compare",
    "ks",
    "sources",
    "cold",
    "score",
    "warm",
    "combined",
    "order of sources",
    "order of targets",
]


def changed(put, study, part: str):
    """The map with one part made from another artifact, said otherwise, or in another order."""
    other = put_prefix(put, "mood", "otherwise", 0)
    first, scored = (
        study.cold["mood"][0],
        put_score(put, "mood", answers("mood", "alpha", 2), "otherwise"),
    )
    swapped = Trained(prefix=other, score=first.score)
    alpha = {**study.warm["mood"], "alpha": {**study.warm["mood"]["alpha"], 0: swapped}}
    changes = {
        "facts": {"facts": replace(study.facts, protocol=())},
        "similarity": {"comparison": replace(study.comparison, similarity="per_token")},
        "compare": {"comparison": replace(study.comparison, compare="movement")},
        "ks": {"ks": (1, 3)},
        "sources": {"sources": {**study.sources, "alpha": {**study.sources["alpha"], 0: other}}},
        "cold": {"cold": {**study.cold, "mood": {**study.cold["mood"], 0: swapped}}},
        "score": {
            "cold": {**study.cold, "mood": {**study.cold["mood"], 0: replace(first, score=scored)}}
        },
        "warm": {"warm": {**study.warm, "mood": alpha}},
        "combined": {"combined": {}},
        "order of sources": {"sources": dict(reversed(study.sources.items()))},
        "order of targets": {"cold": dict(reversed(study.cold.items()))},
    }
    return replace(study, **changes[part])


@pytest.mark.parametrize("part", PARTS)
def test_key_follows_every_part_of_the_map(put, part):
    study = whole_map(put)
    first, same, other = (
        map_report.unit(one, bootstrap_samples=10).document
        for one in (study, whole_map(put), changed(put, study, part))
    )
    assert first == same != other


def test_key_follows_the_resamples(put):
    study = whole_map(put)
    assert (
        map_report.unit(study, bootstrap_samples=10).document
        != map_report.unit(study, bootstrap_samples=20).document
    )


def test_unit_publishes_the_table_under_the_experiments_name(store, put):
    study = whole_map(put)
    entry = run_unit(store, map_report.unit(study, bootstrap_samples=10), silent)
    assert json.loads(entry.file("report.json").read_text(encoding="utf-8")) == json.loads(
        json.dumps(asdict(tabulate(study, 10)))
    )
    assert set(entry.files) == {
        "report.json",
        "report.md",
        "report.html",
        "gains.png",
        "similarity.png",
        "scatter.png",
    }
    assert (entry.step, store.ref("report", "map").key) == ("map_report", entry.key)


def test_same_map_gives_the_same_bytes(store, put):
    made = map_report.unit(whole_map(put), bootstrap_samples=10)
    first, second = (run_unit(store, made, silent, force=force) for force in (False, True))
    assert first.digest == second.digest


def test_map_of_one_pair_and_seed_has_all_its_files(store, put):
    whole = whole_map(put, seeds=(0,))
    alpha, mood = whole.sources["alpha"], whole.cold["mood"]
    warm = {"mood": {"alpha": whole.warm["mood"]["alpha"]}}
    entry = run_unit(
        store,
        map_report.unit(
            replace(
                whole,
                ks=(1,),
                sources={"alpha": alpha},
                cold={"mood": mood},
                warm=warm,
                combined={},
            ),
            bootstrap_samples=10,
        ),
        silent,
    )
    text = entry.file("report.md").read_text(encoding="utf-8")
    assert (
        len(entry.files) == 6 and "nan" not in text and "the rank correlation is undefined" in text
    )
