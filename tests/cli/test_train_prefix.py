"""`prefixbank train-prefix`, from its settings to the artifact."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from prefixbank.store.store import Store
from tests.cli.command import CommandLine
from tests.prepared import SMALL, contents, write_task


def train_args(cli: CommandLine, name: str = "gamma", *settings: str) -> tuple[str, ...]:
    return ("train-prefix", "task=folder", f"task.path={cli.tasks / name}", *SMALL, *settings)


def test_artifact_holds_prefix_task_embedding_head_curve_and_result(cli):
    path = Path(cli.train("gamma").result["path"])
    tensors = {"prefix.safetensors", "task_embedding.safetensors", "head.safetensors"}
    assert {file.name for file in path.iterdir()} == tensors | {
        "curve.jsonl",
        "result.json",
        "entry.json",
    }


def test_prefix_has_the_shape_that_the_result_says(cli):
    result = cli.train("gamma", "prefix.length=3").result
    (tensor,) = load_file(Path(result["path"]) / "prefix.safetensors").values()
    assert (list(tensor.shape), tensor.dtype.name) == (result["shape"], "float32") and result[
        "shape"
    ] == [2, 2, 4, 3, 16]


def test_rows_are_counted_as_often_as_they_were_shown(cli):
    path = Path(cli.train("gamma", "optim.epochs=3").result["path"])
    assert json.loads((path / "result.json").read_text(encoding="utf-8"))["examples"] == 3 * 40


def test_time_is_among_the_facts_and_not_in_a_file(cli):
    entry = Store(cli.store).get(cli.train("gamma").result["key"])
    assert entry.info["seconds"] > 0 and not any(
        "seconds" in (entry.path / name).read_text(errors="ignore") for name in entry.files
    )


def test_curve_has_a_line_for_each_step_and_epoch(cli):
    path = Path(cli.train("gamma", "optim.epochs=2", "optim.batch_size=20").result["path"])
    curve = [
        json.loads(line) for line in (path / "curve.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert [("validation" in line, line["step"]) for line in curve] == [
        (False, 1),
        (False, 2),
        (True, 2),
        (False, 3),
        (False, 4),
        (True, 4),
    ]


def test_ref_is_named_after_the_task(cli):
    key = cli.train("gamma").result["key"]
    assert Store(cli.store).ref("prefix", "gamma").key == key


def test_ref_is_named_as_asked(cli):
    key = cli.train("gamma", "name=mine").result["key"]
    store = Store(cli.store)
    assert (store.ref("prefix", "mine").key, store.ref("prefix", "gamma")) == (key, None)


def test_key_ignores_the_name(cli):
    assert cli.train("gamma", "name=mine").result["key"] == cli.train("gamma").result["key"]


@pytest.mark.parametrize(
    "setting",
    [
        "run.threads=1",
        "run.device=cpu",
        "run.embed_tokens=100",
        "run.checkpoint_every_s=0",
        "run.tracker_dir=elsewhere",
    ],
)
def test_key_ignores_how_to_run(cli, setting):
    ran = cli.train("alpha", setting)
    assert ran.steps == [("train-prefix", "alpha", "hit")]


@pytest.mark.parametrize(
    "setting",
    [
        "seed=1",
        "optim.lr=0.5",
        "prefix.length=3",
        "pooling=cls",
        "max_length_tokens=64",
        "prefix=gated",
    ],
)
def test_key_follows_what_can_change_the_result(cli, setting):
    ran = cli.done(*train_args(cli, "alpha", setting, "--dry-run"))
    assert ran.steps == [("train-prefix", "alpha", "MISS")]


def test_key_follows_the_rows_and_not_their_place(cli, tmp_path):
    shutil.copytree(cli.tasks / "alpha", tmp_path / "moved")
    ran = cli.done("train-prefix", "task=folder", f"task.path={tmp_path / 'moved'}", *SMALL)
    assert ran.steps == [("train-prefix", "moved", "hit")]


def test_key_ignores_test_rows(cli, tmp_path):
    folder = shutil.copytree(cli.tasks / "alpha", tmp_path / "alpha")
    shutil.copyfile(cli.tasks / "beta" / "test.parquet", folder / "test.parquet")
    ran = cli.done("train-prefix", "task=folder", f"task.path={folder}", *SMALL)
    assert ran.steps == [("train-prefix", "alpha", "hit")]


def test_second_run_is_a_hit(cli):
    first, second = cli.train("gamma"), cli.train("gamma")
    assert (
        [kind for *_, kind in first.steps],
        [kind for *_, kind in second.steps],
        second.out,
    ) == (["MISS", "done"], ["hit"], first.out)


def test_hit_moves_the_ref_back(cli):
    first = cli.train("gamma").result["key"]
    cli.train("gamma", "seed=1")
    cli.train("gamma")
    assert Store(cli.store).ref("prefix", "gamma").key == first


def test_same_key_trained_again_has_the_same_digest(cli):
    entry = Store(cli.store).resolve("prefix", "alpha")
    shutil.rmtree(entry.path)
    cli.train("alpha")
    again = Store(cli.store).get(entry.key)
    assert (again.digest, again.info["created"] != entry.info["created"]) == (entry.digest, True)


def test_force_trains_again_to_the_same_digest(cli):
    before = Store(cli.store).resolve("prefix", "alpha")
    ran = cli.train("alpha", "--force")
    after = Store(cli.store).get(before.key)
    assert ([kind for *_, kind in ran.steps], after.digest, after.info["forced"]) == (
        ["MISS", "done"],
        before.digest,
        True,
    )


def test_miss_says_what_differs(cli):
    err = cli.train("alpha", "optim.lr=0.5").err
    assert "MISS  optim.lr 0.03 -> 0.5\n" in err


def test_miss_of_a_first_artifact_says_so(cli, tmp_path):
    err = cli.train("alpha", "--store", str(tmp_path / "new"), "--dry-run").err
    assert "MISS  new\n" in err


def test_dry_run_makes_nothing(cli):
    before = contents(cli.store)
    ran = cli.done(*train_args(cli, "gamma", "--dry-run"))
    assert (contents(cli.store), ran.out, ran.steps) == (
        before,
        "",
        [("train-prefix", "gamma", "MISS")],
    )


def test_dry_run_makes_no_store_where_there_is_none(cli, tmp_path):
    cli.done(*train_args(cli, "gamma", "--dry-run", "--store", str(tmp_path / "new")))
    assert not (tmp_path / "new").exists()


def test_dry_run_names_the_key_that_a_run_gets(cli, tmp_path):
    made = cli.train("gamma", "--store", str(tmp_path / "new")).result["key"]
    planned = cli.done(
        *train_args(cli, "gamma", "--dry-run", "--store", str(tmp_path / "new"))
    ).result["key"]
    assert planned == made


def test_dry_run_of_a_hit_shows_it(cli):
    ran = cli.done(*train_args(cli, "alpha", "--dry-run"))
    assert (ran.steps, ran.result["key"]) == (
        [("train-prefix", "alpha", "hit")],
        Store(cli.store).ref("prefix", "alpha").key,
    )


def test_quiet_leaves_stderr_empty(cli):
    ran = cli.train("gamma", "--quiet")
    assert (ran.err, ran.result["task"]) == ("", "gamma")


def test_quiet_still_reports_errors(cli):
    assert "no task folder" in cli.expect_fault(2, *train_args(cli, "delta", "--quiet")).what


def test_csv_is_a_header_and_a_row(cli):
    out = cli.train("alpha", "--format", "csv").out
    (row,) = csv.DictReader(io.StringIO(out))
    assert (row["step"], row["task"], row["train_rows"]) == ("train-prefix", "alpha", "40")


def test_table_of_one_result_has_a_line_for_each_fact(cli):
    lines = dict(
        line.split(maxsplit=1) for line in cli.train("alpha", "--format", "table").out.splitlines()
    )
    assert (lines["what"].strip(), lines["step"].strip(), lines["task"].strip()) == (
        "value",
        "train-prefix",
        "alpha",
    )
    assert str(cli.store) in lines["path"]


def test_store_flag_wins_over_the_environment(cli, tmp_path):
    result = cli.train("alpha", "--store", str(tmp_path / "other")).result
    assert Path(result["path"]).is_relative_to(tmp_path / "other")


def test_note_says_what_the_loader_did(cli, tmp_path):
    folder = write_task(tmp_path / "delta")
    (folder / "validation.parquet").unlink()
    ran = cli.done("train-prefix", "task=folder", f"task.path={folder}", *SMALL)
    assert "validation: 4 of 40 train rows" in ran.err and ran.steps[0] == ("task", "delta", "note")


def test_task_of_the_starter_suite_needs_no_file(cli):
    result = cli.done("train-prefix", "task=polarity", "task.max_rows=20", *SMALL).result
    assert (result["task"], result["train_rows"]) == ("polarity", 20)


def test_conf_dir_adds_a_task(cli, tmp_path):
    (tmp_path / "conf" / "task").mkdir(parents=True)
    (tmp_path / "conf" / "task" / "mine.yaml").write_text(
        f"name: mine\npath: {cli.tasks / 'gamma'}\n", encoding="utf-8"
    )
    ran = cli.done("train-prefix", "--conf-dir", str(tmp_path / "conf"), "task=mine", *SMALL)
    assert ran.result["task"] == "mine"


def test_lists_of_layers_and_positions_go_from_training_to_a_probe(cli):
    lists = ("pooling.position=[mean,last]", "pooling.layers=[0,2]")
    trained = cli.train("alpha", *lists, "name=wide")
    head = load_file(Path(trained.result["path"]) / "head.safetensors")
    assert head["weight"].shape == (2, 4 * 64)
    cli.done("combine", "prefixes=[wide]", "name=wide", *lists)
    args = ("task=folder", f"task.path={cli.tasks / 'gamma'}", "probe.Cs=[1]")
    result = cli.done("probe", "bank=wide", *args, "probe.layers=last").result
    model = load_file(Path(result["path"]) / "probe.safetensors")
    assert model["0.mean"].shape == (2 * 64,)


@pytest.mark.parametrize("constant", [0.0, 1.0])
def test_prefix_that_learned_nothing_is_told_at_the_end_and_in_each_bank(
    cli, monkeypatch, constant
):
    """Nothing scores above 1, and everything here above 0."""
    monkeypatch.setattr("prefixbank.core.stats.metrics.constant_score", lambda *_: constant)
    trained = cli.train("gamma")
    again = cli.train("gamma")
    bank = cli.done("combine", "prefixes=[gamma]", "name=one")
    validation = trained.result["validation"]
    told = "warning: nothing learned of gamma (the same answer to every text scores 1.000)"
    assert validation > 0
    for ran in (trained, again, bank):
        warned = [line for line in ran.err.splitlines() if "warning:" in line]
        assert len(warned) == (constant == 1.0) and all(told in line for line in warned)


def test_prefix_without_training_is_not_said_to_have_learned_nothing(cli, monkeypatch):
    monkeypatch.setattr("prefixbank.core.stats.metrics.constant_score", lambda *_: 1.0)
    assert "warning:" not in cli.train("gamma", "optim.epochs=0").err


def test_each_task_of_a_mixture_is_judged_alone(cli, monkeypatch):
    scores = iter([0.0, 1.0])
    monkeypatch.setattr("prefixbank.core.stats.metrics.constant_score", lambda *_: next(scores))
    ran = cli.done(
        "train-prefix",
        "task.mixture=[alpha,beta]",
        f"run.data_root={cli.tasks}",
        "name=both",
        *SMALL,
    )
    (warned,) = [line for line in ran.err.splitlines() if "warning:" in line]
    assert warned.endswith("nothing learned of beta (the same answer to every text scores 1.000)")


def test_seed_may_be_as_large_as_a_date(cli):
    ran = cli.train("gamma", "prefix.dropout=0.1", "seed=20240131123000")
    entry = Store(cli.store).resolve("prefix", "gamma")
    assert ran.result["key"] == entry.key and entry.document["config"]["seed"] == 20240131123000
