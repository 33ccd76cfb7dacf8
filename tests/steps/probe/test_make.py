"""The probe step: what each protocol fits, scores and keeps."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from safetensors.numpy import load_file

from prefixbank.artifacts.embeddings import write_part
from prefixbank.artifacts.json_files import read_json, write_json
from prefixbank.artifacts.summary import summary
from prefixbank.config.schema import ProbeConfig
from prefixbank.core.stats.bootstrap import bootstrap_interval
from prefixbank.core.stats.metrics import score
from prefixbank.data.tasks.task import Examples, Task
from prefixbank.errors import DataError, UsageError
from prefixbank.reports.samples import sample_target
from prefixbank.runtime.unit import run_unit
from prefixbank.steps.probe import step as probe
from prefixbank.steps.probe.splits import splits_of

ROWS = {"train": 40, "validation": 10, "test": 22}
ALL_ROWS = sum(ROWS.values())
LAYERS, SIZE = (1, 2), 3
QUICK = {"Cs": (0.1, 1.0), "folds": 2, "bootstrap_samples": 20}


def silent(event) -> None:
    """Nobody listens."""


def rows_of(split: str) -> tuple[np.ndarray, Examples]:
    """Vectors of two layers, the second of which tells the labels, and examples of any text."""
    generator = np.random.default_rng(len(split))
    labels = generator.integers(0, 2, ROWS[split])
    vectors = generator.normal(size=(ROWS[split], len(LAYERS) * SIZE)).astype(np.float32)
    vectors[:, SIZE] += 4 * labels
    return vectors, Examples(
        texts=tuple(f"{split} {row}" for row in range(ROWS[split])), pairs=None, labels=labels
    )


@pytest.fixture
def task() -> Task:
    splits = {split: rows_of(split)[1] for split in ROWS}
    return Task(
        name="toy", kind="classification", metric="accuracy", labels=("no", "yes"), **splits
    )


@pytest.fixture
def embed_toy(put):
    """Return what publishes the embeddings, with what their facts say about layers."""

    def build(layer_blocks, pooling: str = "concat_last"):
        def write(out) -> None:
            for split in ROWS:
                vectors, _ = rows_of(split)
                write_part(
                    out / f"{split}.parquet", pa.array(range(len(vectors)), pa.int64()), vectors, 0
                )
            write_json(
                out / "embeddings.json",
                {"parts": list(ROWS), "pooling": {"layers": pooling}, "layer_blocks": layer_blocks},
            )

        return put("embed", write, bank=None, encoder={"name": "toy"})

    return build


@pytest.fixture
def probed(store, task, embed_toy):
    """Return what probes the toy task with some settings.

    The entry, probe.json, and the arrays of both files.
    """

    def run(**settings):
        embeddings = embed_toy({"layers": list(LAYERS), "size": SIZE})
        entry = run_unit(
            store, probe.unit(embeddings, task, ProbeConfig(**(QUICK | settings)), "toy"), silent
        )
        files = (
            load_file(entry.file(name)) for name in ("predictions.safetensors", "probe.safetensors")
        )
        return entry, read_json(entry, "probe.json"), *files

    return run


def decide(model: dict[str, np.ndarray], number: int, vectors: np.ndarray) -> np.ndarray:
    """Predictions of a stored probe, by its formula."""
    x = (vectors - model[f"{number}.mean"]) / model[f"{number}.scale"]
    if f"{number}.hidden_weights" in model:
        x = np.tanh(x @ model[f"{number}.hidden_weights"] + model[f"{number}.hidden_bias"])
    return (x @ model[f"{number}.weights"] + model[f"{number}.bias"]).argmax(axis=1)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_stored_probe_predicts_what_was_scored(probed, kind):
    _, result, predictions, model = probed(model=kind, mlp_hidden_size=4)
    assert np.array_equal(decide(model, 0, rows_of("test")[0]), predictions["0.predictions"])
    assert (result["model"], "0.hidden_weights" in model) == (kind, kind == "mlp")


def test_stored_mlp_has_the_hidden_size_asked_for(probed):
    assert probed(model="mlp", mlp_hidden_size=4)[3]["0.hidden_weights"].shape == (
        len(LAYERS) * SIZE,
        4,
    )


def test_nested_folds_score_every_row_of_the_three_splits(probed):
    _, result, predictions, _ = probed(protocol="nested_cv", outer_folds=3)
    labels = np.concatenate([rows_of(split)[1].labels for split in ROWS])
    assert np.array_equal(predictions["labels"], labels) and result["test"]["n"] == ALL_ROWS
    assert result["test"]["score"] == score("accuracy", predictions["0.predictions"], labels, 2)
    interval = bootstrap_interval(
        "accuracy", predictions["0.predictions"], labels, 2, bootstrap_samples=20, seed=0
    )
    assert (result["test"]["low"], result["test"]["high"]) == interval


def test_nested_prediction_of_a_row_comes_from_the_stored_probe_of_its_fold(probed):
    _, _, predictions, models = probed(protocol="nested_cv", outer_folds=3)
    vectors = np.concatenate([rows_of(split)[0] for split in ROWS])
    for fold in range(3):
        held = predictions["folds"] == fold
        assert np.array_equal(
            decide(models, fold, vectors[held]), predictions["0.predictions"][held]
        )


def test_nested_probe_never_saw_the_rows_of_its_fold(probed):
    """A probe's mean and scale are those of the rows it was fitted on."""
    _, _, predictions, models = probed(protocol="nested_cv", outer_folds=3)
    vectors = np.concatenate([rows_of(split)[0] for split in ROWS])
    for fold in range(3):
        np.testing.assert_allclose(
            models[f"{fold}.mean"], vectors[predictions["folds"] != fold].mean(axis=0), atol=1e-6
        )


def test_nested_result_says_what_it_is(probed):
    _, result, *_ = probed(protocol="nested_cv", outer_folds=3)
    found = {
        name: result[name]
        for name in ("protocol", "split", "outer_folds", "validation", "draws", "train_rows")
    }
    wanted = {
        "protocol": "nested_cv",
        "split": "cross-validated",
        "outer_folds": 3,
        "validation": None,
        "draws": 1,
    }
    assert found == {**wanted, "train_rows": ALL_ROWS - ALL_ROWS // 3}
    assert (result["test"]["interval"], len(result["fits"])) == ("all rows", 3)


def test_split_result_says_what_it_is(probed):
    _, result, *_ = probed()
    found = [result[name] for name in ("protocol", "split", "outer_folds", "draws", "train_rows")]
    assert found == ["split", "test", None, 1, ROWS["train"]]


def test_nested_result_has_the_fields_of_a_split_result(probed):
    nested, split = (
        probed(**settings)[1] for settings in ({"protocol": "nested_cv", "outer_folds": 2}, {})
    )
    assert nested.keys() == split.keys() and nested["test"].keys() == split["test"].keys()


def test_nested_result_goes_into_a_report_and_a_row(probed):
    entry, result, *_ = probed(protocol="nested_cv", outer_folds=3)
    facts, sampled = sample_target("toy", [entry], 10, 0)
    row = summary(entry)
    assert (facts.split, facts.test_rows, sampled[entry.digest][0]) == (
        "cross-validated",
        ALL_ROWS,
        result["test"]["score"],
    )
    assert (row["validation"], row["test_rows"], row["score"]) == (
        None,
        ALL_ROWS,
        result["test"]["score"],
    )


@pytest.mark.parametrize(
    "settings",
    [{"protocol": "nested_cv", "outer_folds": 3}, {"model": "mlp", "mlp_hidden_size": 4}],
    ids=str,
)
def test_same_settings_give_the_same_bytes(store, task, embed_toy, settings):
    unit = probe.unit(embed_toy(None), task, ProbeConfig(**(QUICK | settings)), "toy")
    assert run_unit(store, unit, silent).digest == run_unit(store, unit, silent, force=True).digest


def test_shots_with_nested_folds_are_refused(probed):
    with pytest.raises(UsageError, match="probe.shots=4 with probe.protocol=nested_cv"):
        probed(shots=4, protocol="nested_cv")


def test_best_layer_is_chosen_by_cross_validation_alone(probed):
    _, result, *_ = probed(layers="best")
    scores = {one["layer"]: one["cv_score"] for one in result["layers"]}
    assert (
        list(scores) == list(LAYERS)
        and result["chosen_layer"] == max(scores, key=lambda layer: scores[layer]) == 2
    )


def test_scores_are_those_of_the_chosen_layer(probed):
    _, result, predictions, model = probed(layers="best")
    vectors = {split: rows_of(split)[0][:, SIZE:] for split in ROWS}
    assert np.array_equal(decide(model, 0, vectors["test"]), predictions["0.predictions"])
    right = (decide(model, 0, vectors["validation"]) == rows_of("validation")[1].labels).mean()
    assert result["validation"] == result["layers"][1]["validation"] == right


def test_every_layer_has_strength_and_scores(probed):
    _, result, *_ = probed(layers="best")
    assert {name for one in result["layers"] for name in one} == {
        "layer",
        "strength",
        "cv_score",
        "validation",
        "unconverged_fits",
    }
    assert all(
        one["strength"] in QUICK["Cs"] and 0 <= one["validation"] <= 1 for one in result["layers"]
    )


def test_nested_folds_choose_their_layer_apart(probed):
    _, result, *_ = probed(layers="best", protocol="nested_cv", outer_folds=3)
    assert [one["chosen_layer"] for one in result["fits"]] == [
        2,
        2,
        2,
    ] and "chosen_layer" not in result
    assert {layer["validation"] for one in result["fits"] for layer in one["layers"]} == {None}


def test_few_shot_draws_choose_their_layer_apart(probed):
    _, result, *_ = probed(layers="best", shots=6, few_shot_samples=2)
    assert [len(one["layers"]) for one in result["fits"]] == [2, 2]


def test_line_names_the_chosen_layer(probed):
    entry, *_ = probed(layers="best")
    assert probe.describe(entry).endswith(", layer 2") and "layer" not in probe.describe(
        probed()[0]
    )


def test_choice_of_a_layer_is_refused_when_vectors_hold_one(task, embed_toy):
    with pytest.raises(UsageError, match="pooling.layers=mean_last") as caught:
        probe.unit(embed_toy(None, "mean_last"), task, ProbeConfig(layers="best"), "toy")
    assert "concat_last" in caught.value.fix


def test_vectors_that_are_not_numbers_are_refused(store, put, task):
    def write(out) -> None:
        for split in ROWS:
            vectors = rows_of(split)[0]
            vectors[0, 0] = np.nan if split == "test" else 0
            write_part(
                out / f"{split}.parquet", pa.array(range(len(vectors)), pa.int64()), vectors, 0
            )
        write_json(out / "embeddings.json", {})

    unit = probe.unit(
        put("embed", write, bank=None, encoder={"name": "toy"}), task, ProbeConfig(**QUICK), "toy"
    )
    with pytest.raises(DataError, match="1 of 22 vectors"):
        run_unit(store, unit, silent)


@pytest.mark.parametrize(
    "settings",
    [{"model": "mlp"}, {"protocol": "nested_cv"}, {"layers": "best"}, {"folds": 3}],
    ids=json.dumps,
)
def test_key_follows_the_settings(task, embed_toy, settings):
    embeddings = embed_toy({"layers": list(LAYERS), "size": SIZE})
    assert (
        probe.unit(embeddings, task, ProbeConfig(), "a").document
        != probe.unit(embeddings, task, ProbeConfig(**settings), "a").document
    )


def test_last_layer_alone_is_what_the_probe_of_the_last_layer_sees(probed):
    _, last, *_ = probed(layers="last")
    _, best, *_ = probed(layers="best")
    wanted = [layer for layer in best["layers"] if layer["layer"] == LAYERS[-1]]
    assert [last["validation"]] == [layer["validation"] for layer in wanted] and last["fits"][0][
        "strength"
    ] == wanted[0]["strength"]


def test_validation_score_leaves_the_test_rows_alone(probed):
    _, result, predictions, _ = probed(score_on="validation")
    assert (result["split"], result["test"]["interval"], result["test"]["n"]) == (
        "validation",
        "validation rows",
        ROWS["validation"],
    )
    assert (
        len(predictions["labels"]) == ROWS["validation"]
        and result["test"]["score"] == result["validation"]
    )


def test_probe_scored_on_validation_does_not_depend_on_test_rows():
    assert splits_of(ProbeConfig(score_on="validation")) == ("train", "validation")


def test_one_split_is_refused_with_nested_folds():
    with pytest.raises(UsageError, match="scores every row"):
        probe.check_settings(ProbeConfig(score_on="validation", protocol="nested_cv"))
