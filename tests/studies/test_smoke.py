"""The smoke versions of whole studies, on the starter suite: every column, and then a hit."""

from __future__ import annotations

import json

import pytest

import prefixbank as pb
from prefixbank.config.commands import RunExperimentConfig
from prefixbank.config.compose import compose
from prefixbank.studies.representations import TITLES

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["families_smoke", "scalable_smoke"])
def test_smoke_study_compares_everything_and_is_then_a_hit(name, tmp_path):
    settings = [f"experiment={name}", "encoder=tiny", "run.threads=1"]
    found = pb.run("run", *settings, store=tmp_path).artifact
    report = json.loads((found.path / "report.json").read_text(encoding="utf-8"))
    config = compose(RunExperimentConfig, settings).experiment
    columns = {TITLES[name] for name in TITLES if name in config.representations}
    columns |= set(config.variants)
    assert set(report["columns"]) == columns
    for target in (*config.targets, "mean"):
        scores = report["rows"][target]["columns"]
        assert all(-1 <= scores[column]["value"] <= 1 for column in columns)
    assert set(report["costs"]) == (columns if config.cost_tokens else set())
    made = []
    again = pb.run("run", *settings, store=tmp_path, on_event=lambda event: made.append(event.kind))
    assert again.artifact.key == found.key and "done" not in made
