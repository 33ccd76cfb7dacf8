"""`prefixbank transfer map`: every source to every target."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from prefixbank.store.artifact import Entry
from prefixbank.store.store import Store
from tests.cli.command import CommandLine, Ran
from tests.prepared import SMALL, Prepared, copy_store
from tests.runtime.inline import Inline

ASKED = (
    "experiment=transfer_map_smoke",
    "experiment.sources=[alpha,beta]",
    "experiment.targets=[gamma,omega]",
    "experiment.seeds=[0,1]",
    "experiment.source_rows=0",
    "experiment.target_rows=20",
    "experiment.validation_rows=0",
    'experiment.transfer.overrides=["optim.epochs=2"]',
    "probe.bootstrap_samples=50",
    *SMALL,
)


def args_of(cli: CommandLine, *settings: str) -> tuple[str, ...]:
    return ("transfer", "map", *ASKED, f"run.data_root={cli.tasks}", *settings)


def made(ran: Ran) -> list[str]:
    return [step for step, _, kind in ran.steps if kind == "done"]


def by_hand(cli: CommandLine, target: str, source: str | None, seed: int) -> Entry:
    """The training that a cell of the map is, made by the commands for single ones."""
    if source:
        cli.train(source, f"seed={seed}", f"name={source}-{seed}")
    start = f"prefix.init=prefix/{source}-{seed}" if source else "prefix.init=random"
    cli.train(
        target,
        "task.max_rows=20",
        "optim.epochs=2",
        f"seed={seed}",
        start,
        f"name=by-hand-{target}-{source}-{seed}",
    )
    return Store(cli.store).resolve("prefix", f"by-hand-{target}-{source}-{seed}")


def scored(cli: CommandLine, trained: Entry) -> float:
    """Accuracy on test rows, from the predictions that the map kept."""
    (score,) = [
        one for one in Store(cli.store).entries("score_prefix") if one.info["prefix"] == trained.key
    ]
    tensors = load_file(score.file("predictions.safetensors"))
    return float((tensors["predictions"] == tensors["labels"]).mean())


@pytest.fixture(scope="module")
def mapped(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the whole map."""
    store = copy_store(prepared.store, tmp_path_factory.mktemp("mapped") / "store")
    cli = CommandLine(store=store, tasks=prepared.tasks)
    cli.done(*args_of(cli), "--store", str(store))
    return store


@pytest.fixture
def with_map(mapped: Path, prepared: Prepared, user_store: Path) -> CommandLine:
    return CommandLine(store=copy_store(mapped, user_store), tasks=prepared.tasks)


def test_gain_is_the_mean_over_seeds_of_a_warm_start_minus_a_cold_one(with_map):
    cli = with_map
    gains = cli.done(*args_of(cli)).result["gains"]
    before = len(Store(cli.store).entries("train_prefix"))
    for source in ("alpha", "beta"):
        for target in ("gamma", "omega"):
            differences = [
                scored(cli, by_hand(cli, target, source, seed))
                - scored(cli, by_hand(cli, target, None, seed))
                for seed in (0, 1)
            ]
            assert gains[source][target] == pytest.approx(np.mean(differences))
    assert len(Store(cli.store).entries("train_prefix")) == before  # by hand all were hits


def test_whole_map_is_planned_made_and_then_there(cli):
    plan = cli.done(*args_of(cli, "--dry-run"))
    assert (
        "needs train-prefix alpha-seed1" in plan.err
        and "map-report" in plan.err
        and not Store(cli.store).entries("score_prefix")
    )
    first = cli.done(*args_of(cli))
    counts = {
        step: len(Store(cli.store).entries(step))
        for step in ("train_prefix", "score_prefix", "average", "map_report")
    }
    # both sources and their mixture for each of 2 seeds; 2 targets and 2 seeds from cold, 2
    # sources, their mean and their mixture
    assert counts == {
        "train_prefix": 2 * 3 + 2 * 2 * 5,
        "score_prefix": 2 * 2 * 5,
        "average": 4,
        "map_report": 1,
    }
    second = cli.done(*args_of(cli))
    assert made(second) == [] and first.result == second.result


def test_report_names_every_way_to_choose(with_map):
    result = with_map.done(*args_of(with_map)).result
    (held_out, same) = (result["regimes"][name]["rows"] for name in ("held-out seeds", "same seed"))
    ways = {
        "cold start",
        "weighted top-2",
        "mixture top-2",
        "best of all by validation",
        "best of all by test",
    }
    assert (
        set(held_out)
        == set(same)
        == ways | {f"best of {how}{k}" for how in ("top-", "random ") for k in (1, 2)}
    )
    # Two of two are all.
    assert held_out["best of top-2"]["value"] == pytest.approx(
        held_out["best of random 2"]["value"]
    )


def test_weighted_start_is_the_mean_of_the_seeds_own_sources(cli):
    cli.done(*args_of(cli, 'experiment.transfer.overrides=["optim.epochs=0"]'))
    store = Store(cli.store)
    for average in store.entries("average"):
        files = [
            (one.files["prefix.safetensors"].sha256, one.file("prefix.safetensors"))
            for one in store.entries("train_prefix")
        ]
        by_sha = {sha: load_file(path)["prefix"] for sha, path in files}
        mean = sum(
            weight * by_sha[sha]
            for weight, sha in zip(
                average.document["config"]["weights"],
                average.document["inputs"]["prefixes"],
                strict=True,
            )
        )
        assert load_file(average.file("prefix.safetensors"))["prefix"] == pytest.approx(
            mean, abs=1e-5
        )
        assert sum(average.document["config"]["weights"]) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.slow
def test_change_of_one_target_trains_that_one_again(with_map):
    ran = with_map.done(*args_of(with_map, 'experiment.overrides.gamma=["optim.lr=0.01"]'))
    assert {
        name.split("-")[0]
        for step, name, kind in ran.steps
        if kind == "done" and step == "train-prefix"
    } == {"gamma"}


def test_terminal_shows_the_report_and_where_its_charts_are(with_map):
    out = with_map.done(*args_of(with_map, "--format", "table")).out
    assert (
        out.startswith("# Transfer map transfer_map_smoke")
        and out.count("chart:") == 3
        and "best of random 1" in out
    )


def test_csv_has_a_row_for_each_way_to_choose(with_map):
    lines = with_map.done(*args_of(with_map, "--format", "csv")).out.splitlines()
    assert len(lines) == 1 + 2 * 9


@pytest.mark.slow
def test_workers_make_the_same_map(cli, monkeypatch, tmp_path: Path):
    workers = CommandLine(store=copy_store(cli.store, tmp_path / "elsewhere"), tasks=cli.tasks)
    driver = Inline()
    driver.instead(monkeypatch)
    less = ("experiment.seeds=[0]", "experiment.targets=[gamma]", "experiment.transfer.ks=[2]")
    ran = workers.done(*args_of(cli, *less, "run.driver=slurm", "--store", str(workers.store)))
    alone = cli.done(*args_of(cli, *less))
    assert driver.jobs and ran.result["gains"] == alone.result["gains"]
    first, second = (
        {entry.key: entry.digest for entry in Store(store).entries()}
        for store in (workers.store, cli.store)
    )
    assert first == second


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        (["experiment.transfer.ks=[1,3]"], "experiment.transfer.ks=[1, 3] with 2 sources"),
        (["experiment.transfer.ks=[1,1]"], "experiment.transfer.ks=[1, 1] with 2 sources"),
        (
            ["experiment.transfer.methods=[weighted,weighted]"],
            "experiment.transfer.methods names weighted, weighted",
        ),
        (
            ['experiment.transfer.overrides=["prefix.length=4"]'],
            "target gamma cannot start from source alpha: it has prefix.length=2, not 4",
        ),
        (
            ['experiment.transfer.overrides=["prefix.kind=soft"]'],
            "target gamma cannot start from source alpha: it has prefix.kind=deep",
        ),
        (
            ['experiment.transfer.overrides=["prefix.projection=mlp"]'],
            "prefix.projection=mlp for target gamma",
        ),
        (['experiment.overrides.alpha=["prefix.length=3"]'], "sources of 2 lengths: 2, 3"),
        (
            ["experiment.transfer.compare=movement", "prefix.kind=soft", "prefix.init=vocabulary"],
            "experiment.transfer.compare=movement with",
        ),
        (
            ["experiment.targets=[]"],
            ("an experiment without sources, without seeds, or without targets and update"),
        ),
        (["experiment.targets=[alpha]"], "alpha among both sources and targets"),
        (
            ["experiment.transfer.ks=[]"],
            "a transfer map without targets, or without a retrieval to compare",
        ),
        (
            ['experiment.transfer.overrides=["prefix.init=alpha"]'],
            "prefix.init=alpha for target gamma",
        ),
        (
            ['experiment.transfer.overrides=["optim.lrr=1"]'],
            "experiment.transfer.overrides: unknown setting 'optim.lrr'",
        ),
        (['experiment.overrides.delta=["optim.lr=1"]'], "experiment.overrides names 'delta'"),
        (
            ['experiment.transfer.overrides=["prefix.init_scale=1.0"]'],
            "experiment.transfer.compare=weights with prefix.init_scale of 0.5 and 1.0",
        ),
        (["experiment.transfer.compare=moved"], "experiment.transfer.compare = 'moved'"),
    ],
)
def test_map_that_means_nothing_is_refused(cli, settings: list[str], what: str):
    faults = cli.expect_refusal(2, *args_of(cli, *settings))
    assert any(fault.what.startswith(what) for fault in faults), faults


@pytest.mark.slow
def test_smoke_map_on_the_starter_suite(cli):
    result = cli.done("transfer", "map", "experiment=transfer_map_smoke", "encoder=tiny").result
    assert result["targets"] == ["emotion", "similarity"] and len(result["correlations"]) == (
        2 * 2 + 1
    ) * (1 + 2)
    assert {row["compare"] for row in result["correlations"]} == {
        "weights",
        "movement",
        "source alone",
    }
    charts = {name for name in Path(result["path"]).iterdir() if name.suffix == ".png"}
    assert {chart.name for chart in charts} == {"gains.png", "scatter.png", "similarity.png"}
    assert (
        json.loads((Path(result["path"]) / "report.json").read_text(encoding="utf-8"))["gains"]
        == result["gains"]
    )
