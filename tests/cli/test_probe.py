"""`prefixbank probe`: scores of a target task on a bank's vectors."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    f1_score,
    log_loss,
    matthews_corrcoef,
    roc_auc_score,
)

from prefixbank.config.schema import TaskConfig
from prefixbank.data.tasks.load import load_task
from prefixbank.data.tasks.task import SPLITS
from prefixbank.steps.probe.texts import read_splits
from prefixbank.store.store import Store
from tests.prepared import SMALL, rows_of

QUICK = ("probe.bootstrap_samples=50", "probe.Cs=[1]")


def detail_of(ran) -> dict[str, Any]:
    return json.loads((Path(ran.result["path"]) / "probe.json").read_text(encoding="utf-8"))


def probe_gamma(cli, *settings: str):
    return cli.done(
        "probe", "bank=demo", "task=folder", f"task.path={cli.tasks / 'gamma'}", *QUICK, *settings
    )


def arrays(ran) -> dict[str, np.ndarray]:
    return load_file(Path(ran.result["path"]) / "predictions.safetensors")


def test_score_is_the_share_of_right_predictions(cli):
    ran = probe_gamma(cli)
    found = arrays(ran)
    assert ran.result["score"] == (found["0.predictions"] == found["labels"]).mean()


def test_other_scores_agree_with_sklearn(cli):
    ran = probe_gamma(cli, "max_length_tokens=3")
    found = arrays(ran)
    labels, predictions = found["labels"], found["0.predictions"]
    expected = [
        f1_score(labels, predictions),
        f1_score(labels, predictions, average="macro"),
        matthews_corrcoef(labels, predictions),
    ]
    assert [ran.result[name] for name in ("f1", "macro_f1", "matthews")] == pytest.approx(expected)


def test_figures_on_probabilities_agree_with_sklearn(cli):
    ran = probe_gamma(cli, "max_length_tokens=3")
    found = arrays(ran)
    labels, odds = found["labels"], found["0.probabilities"]
    assert np.array_equal(odds.argmax(axis=1), found["0.predictions"])
    expected = {
        "roc_auc": roc_auc_score(labels, odds[:, 1]),
        "average_precision": average_precision_score(labels, odds[:, 1]),
        "log_loss": log_loss(labels, odds),
        "brier": brier_score_loss(labels, odds[:, 1]),
    }
    assert {name: ran.result[name] for name in expected} == pytest.approx(expected)


def test_task_can_be_scored_by_the_order_of_its_rows(cli, tmp_path):
    rows = rows_of("gamma", "train")
    lines = [f"{text},{label}" for text, label in zip(rows["text"], rows["label"], strict=True)]
    path = tmp_path / "gamma.csv"
    path.write_text("\n".join(["text,label", *lines]), encoding="utf-8")
    task = (f"task.path={path}", "task.metric=roc_auc")
    trained = cli.done("train-prefix", "encoder=tiny", *task, *SMALL, "name=ranked").result
    assert (trained["metric"], 0 <= trained["validation"] <= 1) == ("roc_auc", True)
    ran = cli.done("probe", "bank=demo", *task, *QUICK, "max_length_tokens=3")
    found = arrays(ran)
    expected = roc_auc_score(found["labels"], found["0.probabilities"][:, 1])
    assert (ran.result["metric"], ran.result["score"]) == ("roc_auc", pytest.approx(expected))
    assert ran.result["low"] <= expected <= ran.result["high"]


def test_copy_has_the_classes_the_matrix_and_the_errors(cli, tmp_path):
    out = tmp_path / "out"
    ran = probe_gamma(cli, "max_length_tokens=3", f"--out={out}")
    assert {"probe.json", "classes.csv", "confusion.png", "errors.csv"} <= {
        path.name for path in out.iterdir()
    }
    found = arrays(ran)
    with (out / "errors.csv").open(encoding="utf-8", newline="") as file:
        errors = list(csv.DictReader(file))
    wrong = np.flatnonzero(found["0.predictions"] != found["labels"])
    assert sorted(int(row["row"]) for row in errors) == wrong.tolist()
    texts = rows_of("gamma", "test")["text"]
    assert all(row["text"] == texts[int(row["row"])] for row in errors)
    again = probe_gamma(cli, "max_length_tokens=3", f"--out={out}")
    assert again.steps == [("embed", "gamma@demo", "hit"), ("probe", "gamma@demo", "hit")]
    (out / "errors.csv").write_text("mine", encoding="utf-8")
    args = ("probe", "bank=demo", "task=folder", f"task.path={cli.tasks / 'gamma'}", *QUICK)
    fault = cli.expect_fault(2, *args, "max_length_tokens=3", f"--out={out}")
    assert "exists already" in fault.what


def test_labels_are_those_of_the_test_split(cli):
    assert arrays(probe_gamma(cli))["labels"].tolist() == [0, 1] * 10


def test_predictions_follow_from_the_stored_model_and_vectors(cli):
    path = Path(probe_gamma(cli).result["path"])
    task = load_task(TaskConfig(name="gamma", path=str(cli.tasks / "gamma")))
    vectors = read_splits(Store(cli.store).entries("embed"), task, SPLITS)["test"]
    model = load_file(path / "probe.safetensors")
    scores = ((vectors - model["0.mean"]) / model["0.scale"]) @ model["0.weights"] + model["0.bias"]
    predicted = (
        scores.argmax(axis=1)
        if scores.ndim == 2 and scores.shape[1] > 1
        else (scores.reshape(-1) > 0).astype(int)
    )
    assert (
        predicted.tolist() == load_file(path / "predictions.safetensors")["0.predictions"].tolist()
    )


def test_interval_encloses_the_score(cli):
    result = probe_gamma(cli, "max_length_tokens=3").result
    assert (
        result["low"] <= result["score"] <= result["high"]
        and result["interval_over"] == "test rows"
    )


def test_result_counts_rows(cli):
    result = probe_gamma(cli).result
    assert (result["train_rows"], result["test_rows"], result["draws"]) == (40, 20, 1)


def test_few_shots_are_drawn_several_times(cli):
    ran = probe_gamma(cli, "probe.shots=4", "probe.few_shot_samples=3")
    found, detail = (
        arrays(ran),
        json.loads((Path(ran.result["path"]) / "probe.json").read_text(encoding="utf-8")),
    )
    scores = [(found[f"{draw}.predictions"] == found["labels"]).mean() for draw in range(3)]
    assert detail["test"]["scores"] == scores and ran.result["score"] == pytest.approx(
        np.mean(scores)
    )


def test_few_shots_are_counted_for_each_label(cli):
    result = probe_gamma(cli, "probe.shots=4", "probe.few_shot_samples=2").result
    assert (result["train_rows"], result["draws"], result["interval_over"]) == (8, 2, "draws")


def test_more_shots_than_rows_are_refused(cli):
    args = ("probe", "bank=demo", "task=folder", f"task.path={cli.tasks / 'gamma'}", *QUICK)
    cli.done(*args)
    fault = cli.expect_fault(2, *args, "probe.shots=21")
    assert fault.what.startswith("probe.shots=21 on task 'gamma': class '")
    assert probe_gamma(cli, fault.fix).code == 0


def test_nested_folds_score_all_rows(cli):
    result = probe_gamma(cli, "probe=nested_cv", "probe.outer_folds=4").result
    assert (
        result["test_rows"],
        result["train_rows"],
        result["interval_over"],
        result["validation"],
    ) == (72, 54, "all rows", None)


def test_nested_folds_can_be_shown_as_a_table(cli):
    lines = probe_gamma(
        cli, "probe=nested_cv", "probe.outer_folds=4", "--format", "table"
    ).out.splitlines()
    assert [
        line.split()[1:] for line in lines if line.startswith(("interval_over", "validation"))
    ] == [["all", "rows"], []]


def test_shots_with_nested_folds_are_refused_before_anything_is_embedded(cli):
    args = ("probe", "bank=demo", "task=folder", f"task.path={cli.tasks / 'gamma'}", *QUICK)
    fault = cli.expect_fault(2, *args, "probe=nested_cv", "probe.shots=4")
    assert fault.what == "probe.shots=4 with probe.protocol=nested_cv"


def test_mlp_probe_is_scored(cli):
    result = probe_gamma(cli, "probe=mlp", "probe.mlp_hidden_size=4").result
    assert 0 <= result["score"] <= 1


def test_best_layer_of_the_plain_encoder_is_named(cli):
    args = ("bank=none", "encoder=tiny", "task=folder", f"task.path={cli.tasks / 'gamma'}", *QUICK)
    ran = cli.done(
        "probe", *args, "pooling.layers=concat_last", "pooling.last_k=3", "probe.layers=best"
    )
    (fit,) = detail_of(ran)["fits"]
    assert [one["layers"] for one in fit["candidates"]] == [[2], [1], [0]]
    (layer,) = fit["reads"]["layers"]
    assert f"], layer {layer}" in ran.err and ran.result["chosen"] == f"layer {layer}"


def test_layers_and_positions_of_a_list_are_compared(cli):
    args = ("bank=none", "encoder=tiny", "task=folder", f"task.path={cli.tasks / 'gamma'}", *QUICK)
    lists = ("pooling.layers=[0,2]", "pooling.position=[mean,cls]")
    ran = cli.done("probe", *args, *lists, "probe.layers=best", "probe.positions=best")
    (fit,) = detail_of(ran)["fits"]
    assert [(one["layers"], one["positions"]) for one in fit["candidates"]] == [
        ([2], ["mean"]),
        ([2], ["cls"]),
        ([0], ["mean"]),
        ([0], ["cls"]),
    ]


def test_reading_of_pairs_is_chosen_unless_it_is_named(cli):
    args = ("bank=demo", "task=similarity", "task.max_rows=60", *QUICK)
    ran = cli.done("probe", *args)
    (fit,) = detail_of(ran)["fits"]
    assert [one["readings"] for one in fit["candidates"]] == [
        ["joint"],
        ["separate"],
        ["joint", "separate"],
    ]
    scores = [one["cv_score"] for one in fit["candidates"]]
    chosen = fit["candidates"][scores.index(max(scores))]["readings"]
    assert fit["reads"]["readings"] == chosen
    word = chosen[0] if len(chosen) == 1 else "both"
    assert ran.result["chosen"] == f"pairs {word}"
    named = cli.done("probe", *args, f"pairs={word}")
    assert (named.result["score"], named.result["chosen"]) == (ran.result["score"], "")


def test_choice_of_a_reading_shares_the_embeddings_of_all(cli):
    args = ("bank=demo", "task=similarity", "task.max_rows=60", *QUICK)
    cli.done("probe", *args, "pairs=both")
    steps = cli.done("probe", *args).steps
    assert [step for step in steps if step[0] == "embed"] == [("embed", "similarity@demo", "hit")]


def test_single_texts_have_one_reading(cli):
    best, joint = probe_gamma(cli), probe_gamma(cli, "pairs=joint")
    assert best.result["key"] == joint.result["key"] and best.result["chosen"] == ""


def test_best_layer_is_refused_where_vectors_hold_one(cli):
    probe_gamma(cli)
    args = ("probe", "bank=demo", "task=folder", f"task.path={cli.tasks / 'gamma'}", *QUICK)
    assert "pooling.layers=last" in cli.expect_fault(2, *args, "probe.layers=best").what


def test_best_layer_is_refused_before_anything_is_embedded(cli):
    args = (
        "probe",
        "bank=none",
        "encoder=tiny",
        "task=folder",
        f"task.path={cli.tasks / 'gamma'}",
        *QUICK,
    )
    before = Store(cli.store).entries("embed")
    cli.expect_fault(2, *args, "probe.layers=best", "max_length_tokens=9")
    assert Store(cli.store).entries("embed") == before


@pytest.mark.parametrize("setting", ["pooling=cls", "pooling.layers=mean_last"])
def test_pooling_other_than_the_banks_own_is_refused(cli, setting):
    probe_gamma(cli)
    fault = cli.expect_fault(
        2, "probe", "bank=demo", "task=folder", f"task.path={cli.tasks / 'gamma'}", *QUICK, setting
    )
    assert "bank=demo" in fault.what and "position=mean layers=last" in fault.expected


def test_single_texts_cannot_be_compared(cli):
    args = ("probe", "bank=demo", "task=folder", f"task.path={cli.tasks / 'gamma'}", *QUICK)
    assert "pairs=both for gamma@demo" in cli.expect_fault(2, *args, "pairs=both").what


@pytest.mark.parametrize("kind", ["float16", "int8", "binary"])
def test_probe_reads_vectors_of_every_type(cli, kind):
    ran = probe_gamma(cli, f"vectors={kind}")
    facts = [
        entry
        for entry in Store(cli.store).entries("embed")
        if entry.document["config"]["vectors"] == kind
    ]
    assert 0.0 <= ran.result["score"] <= 1.0 and len(facts) == 1


def test_plain_encoder_is_the_bank_none(cli):
    args = ("bank=none", "encoder=tiny", "task=folder", f"task.path={cli.tasks / 'gamma'}", *QUICK)
    result = cli.done("probe", *args).result
    assert (result["bank"], Store(cli.store).ref("probe", "gamma@plain").key) == (
        "none",
        result["key"],
    )


def test_result_names_the_bank_by_its_key(cli):
    assert Store(cli.store).ref("bank", "demo").key.startswith(probe_gamma(cli).result["bank"])


def test_second_run_is_a_hit_of_both_steps(cli):
    probe_gamma(cli)
    assert probe_gamma(cli).steps == [
        ("embed", "gamma@demo", "hit"),
        ("probe", "gamma@demo", "hit"),
    ]


def test_other_probe_settings_leave_the_embeddings_a_hit(cli):
    probe_gamma(cli)
    ran = probe_gamma(cli, "probe.seed=1")
    assert [kind for *_, kind in ran.steps] == ["hit", "MISS", "note", "done"]
    assert "probe/gamma@demo was " in ran.err


def test_dry_run_says_what_waits_for_what(cli):
    ran = probe_gamma(cli, "--dry-run")
    assert ran.out == "" and ran.err.splitlines()[-1].endswith("MISS  needs embed gamma@demo")


def test_regression_is_scored_by_rank_correlation(cli):
    result = cli.done("probe", "bank=demo", "task=similarity", "task.max_rows=60", *QUICK).result
    assert result["metric"] == "spearman" and -1 <= result["score"] <= 1


def test_csv_of_a_sweep_over_kinds_has_every_column(cli):
    ran = cli.done(
        "probe",
        "--sweep",
        "--format",
        "csv",
        "bank=demo",
        "task=emotion,similarity",
        "task.max_rows=60",
        *QUICK,
    )
    first, second = csv.DictReader(io.StringIO(ran.out))
    assert (first["task"], first["pearson"], second["macro_f1"]) == ("emotion", "", "") and float(
        second["pearson"]
    )


def test_table_of_a_sweep_over_kinds_has_every_column(cli):
    ran = cli.done(
        "probe",
        "--sweep",
        "--format",
        "table",
        "bank=demo",
        "task=emotion,similarity",
        "task.max_rows=60",
        *QUICK,
    )
    header, *rows = ran.out.splitlines()
    assert {"macro_f1", "pearson"} <= set(header.split()) and len(rows) == 2


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_calibration_that_few_rows_cannot_carry_is_said(cli, method):
    ran = probe_gamma(cli, f"probe.calibration={method}")
    said = "probe.calibration=isotonic on 12 validation rows" in ran.err
    assert said == (method == "isotonic")


def test_samples_of_no_shots_are_refused(cli):
    asked = ("probe", "bank=demo", "task=folder", f"task.path={cli.tasks / 'gamma'}")
    fault = cli.expect_fault(2, *asked, "probe.few_shot_samples=5")
    assert fault.what == "probe.few_shot_samples=5 without probe.shots"
