"""`prefixbank run`: a whole experiment, and what of it is made again."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from pathlib import Path

import pytest

from prefixbank.commands.invocation import Invocation
from prefixbank.runtime.events import Event
from prefixbank.store.store import Store
from tests.commands import call
from tests.prepared import SMALL, contents

SETTINGS = (
    "experiment=smoke",
    "experiment.sources=[alpha,beta]",
    "experiment.targets=[gamma]",
    "probe.bootstrap_samples=50",
    "probe.Cs=[1]",
    *SMALL,
)
UNITS = 8
"""Two prefixes, a bank, embeddings and probe for the plain encoder and for the bank, a report."""


@pytest.fixture
def args(cli) -> tuple[str, ...]:
    return ("run", *SETTINGS, f"run.data_root={cli.tasks}")


def events_of(cli, *settings: str) -> list[Event]:
    events: list[Event] = []
    call(
        "run",
        *SETTINGS,
        f"run.data_root={cli.tasks}",
        *settings,
        invocation=Invocation(store=cli.store, emit=events.append),
    )
    return events


def count(events: list[Event]) -> Counter[tuple[str, str]]:
    return Counter(
        (event.step, event.kind) for event in events if event.kind in ("hit", "miss", "waits")
    )


def test_experiment_ends_with_a_report(cli, args):
    result = cli.done(*args).result
    assert {path.name for path in Path(result["path"]).iterdir()} == {
        "report.json",
        "report.md",
        "report.html",
        "classes.csv",
        "report.png",
        "curves.png",
        "entry.json",
    }


def test_refs_lead_to_prefixes_bank_and_report(cli, args):
    cli.done(*args)
    names = {str(ref) for ref in Store(cli.store).refs()}
    assert {"prefix/alpha", "prefix/beta", "bank/smoke", "report/smoke"} <= names


def test_prefixes_that_were_trained_before_are_hits(cli, args):
    lines = cli.done(*args).steps
    assert [line for line in lines if line[0] == "train-prefix"] == [
        ("train-prefix", "alpha", "hit"),
        ("train-prefix", "beta", "hit"),
    ]


def test_progress_counts_the_units_that_are_made(cli):
    counts = [
        (event.done, event.total)
        for event in events_of(cli)
        if event.kind == "progress" and event.step == "run"
    ]
    assert counts == [(done, UNITS - 3) for done in range(UNITS - 2)]
    assert not [event for event in events_of(cli) if event.kind == "progress"]


def test_second_run_is_all_hits(cli, args):
    first = cli.done(*args)
    second = cli.done(*args)
    assert (Counter(kind for *_, kind in second.steps), second.out) == (
        {"note": 1, "hit": UNITS},
        first.out,
    )


def test_plan_is_counted_first(cli, args):
    assert f"{UNITS} units: 3 hits, {UNITS - 3} to run" in cli.done(*args).err.splitlines()[0]


def test_changed_recipe_of_one_source_trains_one_prefix(cli):
    events_of(cli)
    found = count(events_of(cli, "experiment.overrides.alpha=[optim.lr=0.5]"))
    assert (found["train-prefix", "miss"], found["train-prefix", "hit"]) == (1, 1)


def test_changed_recipe_of_one_source_makes_its_dependents_again_and_nothing_else(cli):
    events_of(cli)
    events = events_of(cli, "experiment.overrides.alpha=[optim.lr=0.5]")
    missed = [(event.step, event.name) for event in events if event.kind == "miss"]
    hits = {(event.step, event.name) for event in events if event.kind == "hit"}
    assert missed == [
        ("train-prefix", "alpha"),
        ("combine", "smoke"),
        ("embed", "gamma bank"),
        ("probe", "gamma bank"),
        ("report", "smoke"),
    ]
    assert hits == {
        ("train-prefix", "beta"),
        ("embed", "gamma plain encoder"),
        ("probe", "gamma plain encoder"),
    }


def test_training_again_to_the_same_bytes_stops_there(cli):
    events_of(cli)
    missed = [
        event.step
        for event in events_of(cli, "experiment.overrides.alpha=[optim.early_stopping_patience=5]")
        if event.kind == "miss"
    ]
    assert missed == ["train-prefix"]


def test_new_probe_settings_leave_prefixes_banks_and_embeddings_hits(cli):
    events_of(cli)
    missed = [
        event.step for event in events_of(cli, "probe.bootstrap_samples=60") if event.kind == "miss"
    ]
    assert missed == ["probe", "probe", "report"]


def test_new_target_trains_nothing(cli):
    events_of(cli)
    found = count(events_of(cli, "experiment.targets=[gamma,omega]"))
    assert (found["train-prefix", "miss"], found["combine", "miss"], found["probe", "miss"]) == (
        0,
        0,
        2,
    )


def test_dry_run_makes_nothing_and_names_every_unit(cli, args):
    before = contents(cli.store)
    ran = cli.done(*args, "--dry-run")
    assert (contents(cli.store), ran.out, len(ran.steps)) == (before, "", 1 + UNITS)


def test_dry_run_says_why_each_unit_is_a_miss(cli, args):
    err = cli.done(*args, "--dry-run", "experiment.overrides.alpha=[optim.lr=0.5]").err
    reasons = [line.split("MISS  ")[1] for line in err.splitlines() if "MISS" in line]
    assert reasons[0] == "optim.lr 0.03 -> 0.5" and {
        "needs train-prefix alpha",
        "needs combine smoke",
    } <= set(reasons)


def test_dry_run_of_a_new_store_makes_no_store(cli, args, tmp_path):
    ran = cli.done(*args, "--dry-run", "--store", str(tmp_path / "new"))
    assert f"{UNITS} units: 0 hits" in ran.err and not (tmp_path / "new").exists()


def test_run_in_a_new_store_makes_everything(cli, args, tmp_path):
    ran = cli.done(*args, "--store", str(tmp_path / "new"))
    assert Counter(kind for *_, kind in ran.steps) == {"note": 1, "MISS": UNITS, "done": UNITS}


def test_force_makes_every_unit_again(cli, args):
    cli.done(*args)
    assert Counter(kind for *_, kind in cli.done(*args, "--force").steps) == {
        "note": 1,
        "MISS": UNITS,
        "done": UNITS,
    }


def test_each_seed_gets_its_own_prefixes_and_bank(cli, args):
    cli.done(*args, "experiment.seeds=[0,1]")
    names = {str(ref) for ref in Store(cli.store).refs("prefix")} | {
        str(ref) for ref in Store(cli.store).refs("bank")
    }
    assert {
        "prefix/alpha-seed0",
        "prefix/beta-seed1",
        "bank/smoke-seed0",
        "bank/smoke-seed1",
    } <= names


def test_random_prefixes_are_a_column_and_get_no_ref(cli, args):
    ran = cli.done(*args, "experiment.representations=[plain,bank,random]")
    table = json.loads((Path(ran.result["path"]) / "report.json").read_text(encoding="utf-8"))
    assert table["columns"] == ["plain encoder", "bank", "random prefixes"]
    assert not [ref for ref in Store(cli.store).refs() if "random" in ref.name]


def test_table_output_is_the_first_section_of_the_report_and_where_all_of_it_is(cli, args):
    out = cli.done(*args, "--format", "table").out
    assert [line for line in out.splitlines() if line.startswith("#")] == [
        "# Experiment smoke",
        "## Mean over targets",
    ]
    closing = [line.split() for line in out.rstrip().rpartition("\n\n")[2].splitlines()]
    assert [(name, Path(path).name) for name, path in closing] == [
        ("report:", "report.md"),
        ("page:", "report.html"),
        ("chart:", "curves.png"),
        ("chart:", "report.png"),
    ]
    assert all(Path(path).is_file() for _, path in closing)


def test_table_output_names_the_copies_under_out(cli, args, tmp_path):
    out = cli.done(*args, "--format", "table", "--out", str(tmp_path / "copy")).out
    closing = [line.split()[1] for line in out.rstrip().rpartition("\n\n")[2].splitlines()]
    assert {Path(path).parent for path in closing} == {tmp_path / "copy"}
    assert all(Path(path).is_file() for path in closing)


def test_json_output_holds_the_scores(cli, args):
    result = cli.done(*args).result
    stored = json.loads((Path(result["path"]) / "report.json").read_text(encoding="utf-8"))
    assert result["rows"] == stored["rows"] and set(result["rows"]) == {"gamma", "mean"}


def test_csv_output_has_a_row_for_each_target_and_column(cli, args):
    rows = list(csv.DictReader(io.StringIO(cli.done(*args, "--format", "csv").out)))
    assert [(row["target"], row["column"]) for row in rows] == [
        (target, column) for target in ("gamma", "mean") for column in ("plain encoder", "bank")
    ]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("experiment.sources=[]", "without sources"),
        ("experiment.targets=[gamma,gamma]", "names gamma twice"),
        ("experiment.seeds=[1,1]", "names 1 twice"),
        ("experiment.overrides.alfa=[optim.lr=0.5]", "names 'alfa'"),
        ("experiment.overrides.alpha=[optim.lr=abc]", "experiment.overrides.alpha: optim.lr"),
        ("experiment.sources=[alpha,delta]", "delta'"),
    ],
)
def test_experiment_that_means_nothing_is_refused(cli, args, setting, message):
    assert message in cli.expect_fault(2, *args, setting).what


def test_choice_of_a_layer_is_refused_before_any_work_where_one_layer_is_kept(cli, args, tmp_path):
    """A plan of a new store gets to no embedding, whose own check would come too late."""
    fault = cli.expect_fault(
        2, *args, "probe.layers=best", "--dry-run", "--store", str(tmp_path / "new")
    )
    assert "experiment.probe_last_layers" in fault.fix


def test_choice_of_a_position_is_refused_before_any_work_where_there_is_one(cli, args, tmp_path):
    fault = cli.expect_fault(
        2, *args, "probe.positions=best", "--dry-run", "--store", str(tmp_path / "new")
    )
    assert fault.fix.startswith("'pooling.position=[mean,cls]'")


def test_unknown_task_of_an_experiment_is_refused_with_a_similar_name(cli):
    fault = cli.expect_fault(
        2, "run", *SETTINGS, "experiment.sources=[polrity]", "experiment.targets=[emotion]"
    )
    assert "did you mean 'polarity'?" in fault.what


@pytest.mark.slow
def test_transfer_study_makes_every_part(cli):
    result = cli.done(
        "run", "experiment=transfer_smoke", "encoder=tiny", "probe.bootstrap_samples=50"
    ).result
    files = {path.name for path in Path(result["path"]).iterdir()}
    assert {
        "report.json",
        "report.md",
        "report.html",
        "classes.csv",
        "report.png",
        "heatmap.png",
        "curves.png",
        "entry.json",
    } == files
    assert set(result["targets"]) == {"emotion", "similarity"} and len(result["columns"]) == 10


def test_update_study_counts_what_each_change_makes_anew(cli, args):
    changes = (
        "experiment.update.add=gamma",
        "experiment.update.refresh=alpha",
        "experiment.update.remove=beta",
    )
    ran = cli.done(
        *args,
        "experiment.targets=[]",
        "experiment.representations=[]",
        "finetune.epochs=1",
        "finetune.batch_size=20",
        *changes,
    )
    rows = {(row["change"], row["method"]): row for row in ran.result["update"]}
    examples = {place: row["examples"] for place, row in rows.items()}
    assert examples == {
        ("add gamma", "prefixes"): 40,
        ("add gamma", "multi-task"): 120,
        ("refresh alpha", "prefixes"): 40,
        ("refresh alpha", "multi-task"): 80,
        ("remove beta", "prefixes"): 0,
        ("remove beta", "multi-task"): 40,
    }
    assert all(row["others_unchanged"] for (_, method), row in rows.items() if method == "prefixes")
    assert all(row["flops"] > 0 and row["seconds"] > 0 for row in rows.values() if row["examples"])
    assert (Path(ran.result["path"]) / "update.png").is_file()
