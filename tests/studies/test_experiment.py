"""The graph of an experiment, in a plan and in a run."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

from prefixbank.config.commands import RunExperimentConfig
from prefixbank.config.compose import compose, compose_task, override_recipe, vary_experiment
from prefixbank.config.schema import TaskConfig
from prefixbank.errors import UsageError
from prefixbank.runtime.context import Context
from prefixbank.runtime.events import Event
from prefixbank.store.store import Store
from prefixbank.studies.experiment import Experiment, run_experiment
from prefixbank.studies.graph import Graph
from prefixbank.studies.protocol import study_facts
from tests.prepared import SMALL, copy_store

QUICK = (
    "experiment=smoke",
    "experiment.sources=[alpha,beta]",
    "experiment.targets=[gamma]",
    "probe.bootstrap_samples=20",
    "probe.Cs=[1]",
    *SMALL,
)


@pytest.fixture
def copy(prepared, tmp_path) -> Store:
    """A copy of the prepared store."""
    return Store(copy_store(prepared.store, tmp_path / "copy"))


@pytest.fixture
def run(prepared, copy):
    """Run or plan an experiment in the copy.

    Return a handle of the report, and all events.
    """

    def go(*settings: str, dry_run: bool = False):
        events: list[Event] = []
        config = compose(RunExperimentConfig, [*QUICK, *settings])
        experiment = Experiment(
            config=config,
            find_task=lambda name: TaskConfig(name=name, path=str(prepared.tasks / name)),
            change=override_recipe,
            vary=vary_experiment,
        )
        return run_experiment(
            Context(copy, config.run, emit=events.append, dry_run=dry_run), experiment
        ), events

    return go


def units(events: list[Event]) -> list[tuple[str, str, str]]:
    return [
        (event.kind, event.step, event.name)
        for event in events
        if event.kind in ("hit", "miss", "waits")
    ]


def test_plan_waits_for_what_is_still_to_be_made(run):
    _, events = run("experiment.overrides.alpha=[seed=1,optim.lr=0.5]", dry_run=True)
    assert units(events) == [
        ("miss", "train-prefix", "alpha"),
        ("hit", "train-prefix", "beta"),
        ("miss", "embed", "gamma plain encoder"),
        ("waits", "probe", "gamma plain encoder"),
        ("waits", "combine", "smoke"),
        ("waits", "embed", "gamma bank"),
        ("waits", "probe", "gamma bank"),
        ("waits", "report", "smoke"),
    ]


def test_run_makes_what_the_plan_said(run):
    planned = units(run(dry_run=True)[1])
    made = units(run()[1])
    assert [unit[1:] for unit in planned] == [unit[1:] for unit in made]
    assert [kind == "hit" for kind, *_ in planned] == [kind == "hit" for kind, *_ in made]


def test_plan_after_a_run_is_all_hits(run):
    report, _ = run()
    planned, events = run(dry_run=True)
    assert planned.key == report.key and {kind for kind, *_ in units(events)} == {"hit"}


def test_first_event_counts_hits_and_misses(run):
    assert [run()[1][0].text for _ in range(2)] == [
        "8 units: 3 hits, 5 to run",
        "8 units: 8 hits, 0 to run",
    ]


def test_random_prefixes_start_apart_and_are_untrained(run, copy):
    before = {entry.key for entry in copy.entries("train_prefix")}
    run("experiment.representations=[plain,bank,random]")
    entries = [entry for entry in copy.entries("train_prefix") if entry.key not in before]
    tensors = [load_file(entry.file("prefix.safetensors"))["prefix"] for entry in entries]
    steps = [
        json.loads(entry.file("result.json").read_text(encoding="utf-8"))["steps"]
        for entry in entries
    ]
    assert steps == [0, 0] and tensors[0].shape == tensors[1].shape and not np.array_equal(*tensors)


def test_bank_of_each_seed_is_one_column(run):
    report, _ = run("experiment.seeds=[0,1]")
    table = json.loads(report.entry.file("report.json").read_text(encoding="utf-8"))
    cells = table["rows"]["gamma"]["columns"]
    assert (len(cells["bank"]["scores"]), len(cells["plain encoder"]["scores"])) == (2, 1)


def test_prefixes_are_not_trained_for_what_needs_none(run):
    _, events = run(
        "experiment.representations=[plain,multitask]", "finetune.epochs=1", dry_run=True
    )
    assert [step for _, step, _ in units(events)] == [
        "train-multitask",
        "embed",
        "probe",
        "embed",
        "probe",
        "report",
    ]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["pooling=cls"], "Vectors: cls pooling of the last layer."),
        (
            ["experiment.probe_last_layers=3", "probe.layers=last"],
            "Vectors: mean pooling of the last layer.",
        ),
        (
            ["experiment.probe_last_layers=3"],
            "Vectors: mean pooling of the last 3 layers, side by side.",
        ),
        (
            ["experiment.probe_last_layers=2", "probe.layers=best"],
            (
                "Vectors: mean pooling of one of the last 2 layers; cross-validation on train "
                "chooses the layer."
            ),
        ),
        (
            ["pooling.layers=[0,2]", "pooling.position=[mean,cls]"],
            "Vectors: mean and cls pooling, side by side, of layers 0 and 2, side by side.",
        ),
        (
            [
                "pooling.layers=[0,1,2]",
                "pooling.position=[mean,cls]",
                "probe.layers=best",
                "probe.positions=best",
            ],
            (
                "Vectors: mean or cls pooling of one of layers 0, 1 and 2; cross-validation on "
                "train chooses the position and layer."
            ),
        ),
        (
            ["pooling.layers=[0,2]", "probe.layers=last"],
            "Vectors: mean pooling of layer 2.",
        ),
        (
            ["pooling.layers=mean_last", "pooling.last_k=2"],
            "Vectors: mean pooling of the last 2 layers, averaged.",
        ),
        (["pooling.layers=single", "pooling.layer=1"], "Vectors: mean pooling of layer 1."),
    ],
    ids=str,
)
def test_report_says_which_layers_were_read(run, settings, said):
    report, _ = run("experiment.representations=[plain]", *settings)
    assert (
        said in json.loads(report.entry.file("report.json").read_text(encoding="utf-8"))["protocol"]
    )


def test_report_says_that_all_rows_were_scored_in_outer_folds(run):
    settings = ("probe=nested_cv", "probe.outer_folds=3")
    report, _ = run("experiment.representations=[plain]", *settings)
    protocol = json.loads(report.entry.file("report.json").read_text(encoding="utf-8"))["protocol"]
    assert protocol[-1].endswith("each row scored once, in 3 outer folds over all rows.")


def test_report_says_which_rows_were_scored(run):
    report, _ = run("experiment.representations=[plain]", "probe.score_on=validation")
    assert json.loads(report.entry.file("report.json").read_text(encoding="utf-8"))["protocol"][
        -1
    ].endswith("scored once on validation.")


def with_similarity(prepared, *settings: str) -> Experiment:
    """An experiment with a regression among its targets."""
    config = compose(RunExperimentConfig, [*QUICK, *settings])
    targets = replace(config.experiment, targets=("gamma", "similarity"))
    return Experiment(
        config=replace(config, experiment=targets),
        find_task=lambda name: (
            compose_task(name)
            if name == "similarity"
            else TaskConfig(name=name, path=str(prepared.tasks / name))
        ),
        change=override_recipe,
        vary=vary_experiment,
    )


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ("joint", "both texts in one input."),
        ("separate", "each text alone to u and v, then u, v, |u - v| and u * v."),
        ("both", "both texts in one input, beside u, v, |u - v| and u * v of each text alone."),
        ("best", "or both; chosen by cross-validation on train."),
    ],
)
def test_report_says_how_pairs_were_read(prepared, copy, pairs, said):
    experiment = with_similarity(prepared, f"pairs={pairs}")
    graph = Graph(context=Context(copy, experiment.config.run), experiment=experiment)
    (line,) = [line for line in study_facts(graph).protocol if line.startswith("Pairs")]
    assert line.startswith("Pairs (similarity): ") and line.endswith(said)


def test_protocol_says_how_probes_are_weighted_calibrated_and_cut(prepared, copy):
    settings = (
        "probe.class_weight=balanced",
        "probe.calibration=temperature",
        "probe.threshold=precision",
    )
    lines = []
    for given in ((), settings):
        experiment = with_similarity(prepared, *given)
        graph = Graph(context=Context(copy, experiment.config.run), experiment=experiment)
        lines += [one for one in study_facts(graph).protocol if one.startswith("Probe: ")]
    assert lines[0].startswith("Probe: linear, strength by")
    assert lines[1].startswith(
        "Probe: linear, balanced class weights, temperature calibration on validation, thresholds "
        "by precision of 0.9 on validation, strength by"
    )


def test_probe_settings_that_do_not_fit_a_target_are_refused_before_any_work(prepared, copy):
    experiment = with_similarity(prepared, "probe.class_weight=balanced")
    events: list[Event] = []
    context = Context(copy, experiment.config.run, emit=events.append)
    with pytest.raises(UsageError, match="balanced on task 'similarity', a regression"):
        run_experiment(context, experiment)
    assert units(events) == []


@pytest.mark.parametrize(
    ("setting", "start"),
    [
        ("pooling.norm=layer", "Vectors: "),
        ('experiment.finetuned=["pooling.norm=layer"]', "Multi-task encoder: "),
    ],
)
def test_report_says_what_was_scaled(run, setting, start):
    report, _ = run("experiment.representations=[plain,multitask]", "finetune.epochs=1", setting)
    protocol = json.loads(report.entry.file("report.json").read_text(encoding="utf-8"))["protocol"]
    assert any(line.startswith(start) and "scaled to mean 0" in line for line in protocol)


def test_report_of_single_texts_is_silent_about_pairs(run):
    report, _ = run("experiment.representations=[plain]")
    protocol = json.loads(report.entry.file("report.json").read_text(encoding="utf-8"))["protocol"]
    assert not any(line.startswith("Pairs") for line in protocol)
