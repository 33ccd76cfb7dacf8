"""The probe step: what each protocol fits, scores and keeps."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pyarrow as pa
import pytest
from safetensors.numpy import load_file
from sklearn.metrics import precision_recall_fscore_support

from prefixbank.artifacts.bank import pooling_from
from prefixbank.artifacts.embeddings import describe_layout, write_part
from prefixbank.artifacts.json_files import read_json, write_json
from prefixbank.artifacts.summary import summary
from prefixbank.choices import Pairs
from prefixbank.config.schema import PoolingConfig, ProbeConfig
from prefixbank.core.layout import layout_of
from prefixbank.core.probe.calibration import fit_calibration
from prefixbank.core.stats.bootstrap import bootstrap_interval
from prefixbank.core.stats.metrics import score
from prefixbank.core.stats.probabilities import probability_metrics
from prefixbank.data.tasks.task import Examples, Task
from prefixbank.errors import DataError, Faults, UsageError
from prefixbank.reports.samples import sample_target
from prefixbank.runtime.unit import run_unit
from prefixbank.steps.probe import step as probe
from prefixbank.steps.probe.splits import pairs_for, splits_of
from prefixbank.store.artifact import Entry

ROWS = {"train": 40, "validation": 10, "test": 22}
ALL_ROWS = sum(ROWS.values())
LAYERS, SIZE = (1, 2), 5
TWO_LAYERS = PoolingConfig(layers="concat_last", last_k=2)
TWO_POSITIONS = PoolingConfig(position=("cls", "mean"))
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
    """Return what publishes the embeddings, with what their facts say of the ten features."""

    def build(pooling: PoolingConfig = TWO_LAYERS, pairs: Pairs = "joint"):
        layout = layout_of(pooling_from(pooling), pairs=pairs, layers=2, hidden_size=1)
        size = len(LAYERS) * SIZE // layout.size
        layout = layout_of(pooling_from(pooling), pairs=pairs, layers=2, hidden_size=size)
        facts = {"pooling": asdict(pooling), "layout": describe_layout(layout)}

        def write(out) -> None:
            for split in ROWS:
                vectors, _ = rows_of(split)
                write_part(
                    out / f"{split}.parquet", pa.array(range(len(vectors)), pa.int64()), vectors, 0
                )
            counts = {"rows": sum(ROWS.values()), "truncated_share": 0.0}
            write_json(out / "embeddings.json", {"parts": list(ROWS), **counts, **facts})

        return put("embed", write, config=facts, bank=None, encoder={"name": "toy"})

    return build


@pytest.fixture
def probed(store, task, embed_toy):
    """Return what probes the toy task with some settings.

    The entry, probe.json, and the arrays of both files.
    """

    def run(embeddings: Entry | None = None, choose_reading: bool = False, **settings):
        config = ProbeConfig(**(QUICK | settings))
        unit = probe.unit(
            embeddings or embed_toy(), task, config, "toy", choose_reading=choose_reading
        )
        entry = run_unit(store, unit, silent)
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
    unit = probe.unit(embed_toy(), task, ProbeConfig(**(QUICK | settings)), "toy")
    assert run_unit(store, unit, silent).digest == run_unit(store, unit, silent, force=True).digest


def test_shots_with_nested_folds_are_refused(probed):
    with pytest.raises(UsageError, match="probe.shots=4 with probe.protocol=nested_cv"):
        probed(shots=4, protocol="nested_cv")


def reads_of(result) -> tuple[list[str], list[int], list[str]]:
    reads = result["fits"][0]["reads"]
    return reads["readings"], reads["layers"], reads["positions"]


def test_best_layer_is_chosen_by_cross_validation_alone(probed):
    _, result, *_ = probed(layers="best")
    scores = {tuple(one["layers"]): one["cv_score"] for one in result["fits"][0]["candidates"]}
    assert list(scores) == [(2,), (1,)]
    assert result["fits"][0]["reads"]["layers"] == [2] and scores[2,] == max(scores.values())


def test_scores_are_those_of_the_chosen_layer(probed):
    _, result, predictions, model = probed(layers="best")
    vectors = {split: rows_of(split)[0][:, SIZE:] for split in ROWS}
    assert np.array_equal(decide(model, 0, vectors["test"]), predictions["0.predictions"])
    right = (decide(model, 0, vectors["validation"]) == rows_of("validation")[1].labels).mean()
    assert result["validation"] == result["fits"][0]["candidates"][0]["validation"] == right


def test_every_candidate_has_strength_and_scores(probed):
    _, result, *_ = probed(layers="best")
    candidates = result["fits"][0]["candidates"]
    scores = {"strength", "cv_score", "validation", "unconverged_fits"}
    assert {name for one in candidates for name in one} == scores | {
        "readings",
        "layers",
        "positions",
    }
    assert all(one["strength"] in QUICK["Cs"] and 0 <= one["validation"] <= 1 for one in candidates)


def test_choice_does_not_follow_validation_or_test_rows(probed, store, task, embed_toy):
    """The labels of the rows that are not trained on are turned round."""
    turned = replace(
        task,
        **{
            split: replace(task.split(split), labels=1 - task.split(split).labels)
            for split in ("validation", "test")
        },
    )
    unit = probe.unit(embed_toy(), turned, ProbeConfig(**QUICK, layers="best"), "toy")
    other = read_json(run_unit(store, unit, silent), "probe.json")["fits"][0]
    same = probed(layers="best")[1]["fits"][0]
    assert other["reads"] == same["reads"]
    assert [one["cv_score"] for one in other["candidates"]] == [
        one["cv_score"] for one in same["candidates"]
    ]


def test_nested_folds_choose_their_layer_apart(probed):
    _, result, *_ = probed(layers="best", protocol="nested_cv", outer_folds=3)
    assert [one["reads"]["layers"] for one in result["fits"]] == [[2], [2], [2]]
    assert {one["validation"] for fit in result["fits"] for one in fit["candidates"]} == {None}


def test_few_shot_draws_choose_their_layer_apart(probed):
    _, result, *_ = probed(layers="best", shots=6, few_shot_samples=2)
    assert [len(one["candidates"]) for one in result["fits"]] == [2, 2]


def test_best_reading_is_chosen(probed, embed_toy):
    """Of ten features the sixth tells the labels: in the order of `both` it is of v."""
    pairs = embed_toy(PoolingConfig(), "both")
    _, result, predictions, model = probed(pairs, choose_reading=True)
    readings = [one["readings"] for one in result["fits"][0]["candidates"]]
    assert readings == [["joint"], ["separate"], ["joint", "separate"]]
    assert reads_of(result) == (["separate"], [2], ["mean"])
    apart = rows_of("test")[0][:, 2:]
    assert np.array_equal(decide(model, 0, apart), predictions["0.predictions"])


def test_all_readings_are_read_unless_one_is_to_be_chosen(probed, embed_toy):
    pairs = embed_toy(PoolingConfig(), "both")
    _, result, _, model = probed(pairs)
    assert reads_of(result)[0] == ["joint", "separate"] and "candidates" not in result["fits"][0]
    assert len(model["0.mean"]) == 10


def test_best_position_is_chosen(probed, embed_toy):
    _, result, *_ = probed(embed_toy(TWO_POSITIONS), positions="best")
    assert reads_of(result) == (["joint"], [2], ["mean"])


def test_positions_lie_side_by_side_unless_one_is_to_be_chosen(probed, embed_toy):
    _, result, _, model = probed(embed_toy(TWO_POSITIONS))
    assert reads_of(result)[2] == ["cls", "mean"] and len(model["0.mean"]) == 10


def test_axes_are_chosen_together(probed, embed_toy):
    pooling = PoolingConfig(layers=(0, 2))
    _, result, *_ = probed(embed_toy(pooling, "both"), choose_reading=True, layers="best")
    assert len(result["fits"][0]["candidates"]) == 6
    assert reads_of(result)[1:] == ([2], ["mean"]) and "separate" in reads_of(result)[0]


def test_line_names_what_was_chosen(probed, embed_toy):
    lines = [
        probe.describe(probed(layers="best")[0]),
        probe.describe(probed(embed_toy(TWO_POSITIONS), positions="best")[0]),
        probe.describe(probed(embed_toy(PoolingConfig(), "both"), choose_reading=True)[0]),
        probe.describe(probed()[0]),
        probe.describe(probed(layers="best", shots=6, few_shot_samples=2)[0]),
    ]
    assert [line.partition("]")[2] for line in lines] == [
        ", layer 2",
        ", position mean",
        ", pairs separate",
        "",
        "",
    ]


def test_row_names_what_was_chosen(probed):
    rows = [summary(probed(**settings)[0]) for settings in ({"layers": "best"}, {})]
    assert [row["chosen"] for row in rows] == ["layer 2", ""]


@pytest.mark.parametrize(
    ("settings", "pooling", "said", "fix"),
    [
        ({"layers": "best"}, {"layers": "mean_last"}, "pooling.layers=mean_last", "concat_last"),
        ({"layers": "last"}, {}, "probe.layers=last on vectors pooled", "concat_last"),
        (
            {"positions": "best"},
            {"position": "max"},
            "pooling.position=max",
            "'pooling.position=[mean,cls]'",
        ),
    ],
)
def test_choice_is_refused_when_there_is_one_thing_to_choose(
    task, embed_toy, settings, pooling, said, fix
):
    with pytest.raises(UsageError, match=said) as caught:
        probe.unit(embed_toy(PoolingConfig(**pooling)), task, ProbeConfig(**settings), "toy")
    assert fix in caught.value.fix


def test_choice_of_a_reading_has_no_effect_on_single_texts(task, embed_toy):
    units = [
        probe.unit(embed_toy(), task, ProbeConfig(), "toy", choose_reading=choose)
        for choose in (True, False)
    ]
    assert units[0].document == units[1].document


def test_key_follows_the_choice_of_a_reading(task, embed_toy):
    pairs = embed_toy(PoolingConfig(), "both")
    units = [
        probe.unit(pairs, task, ProbeConfig(), "toy", choose_reading=choose)
        for choose in (True, False)
    ]
    assert units[0].document != units[1].document


@pytest.mark.parametrize("pairs", ["joint", "separate", "both", "best"])
def test_pairs_are_embedded_in_every_way_that_can_be_chosen(task, pairs):
    paired = replace(task, train=replace(task.train, pairs=task.train.texts))
    assert pairs_for(pairs, paired) == ("both" if pairs == "best" else pairs)
    assert pairs_for(pairs, task) == ("joint" if pairs == "best" else pairs)


def test_vectors_that_are_not_numbers_are_refused(store, put, task):
    def write(out) -> None:
        for split in ROWS:
            vectors = rows_of(split)[0]
            vectors[0, 0] = np.nan if split == "test" else 0
            write_part(
                out / f"{split}.parquet", pa.array(range(len(vectors)), pa.int64()), vectors, 0
            )
        layout = layout_of(pooling_from(TWO_LAYERS), pairs="joint", layers=2, hidden_size=SIZE)
        facts = {"pooling": asdict(TWO_LAYERS), "layout": describe_layout(layout)}
        counts = {"rows": sum(ROWS.values()), "truncated_share": 0.0}
        write_json(out / "embeddings.json", {"parts": list(ROWS), **counts, **facts})

    unit = probe.unit(
        put("embed", write, bank=None, encoder={"name": "toy"}), task, ProbeConfig(**QUICK), "toy"
    )
    with pytest.raises(DataError, match="1 of 22 vectors"):
        run_unit(store, unit, silent)


@pytest.mark.parametrize(
    "settings",
    [
        {"model": "mlp"},
        {"protocol": "nested_cv"},
        {"layers": "best"},
        {"folds": 3},
        {"class_weight": "balanced"},
        {"calibration": "isotonic"},
        {"threshold": "f1"},
    ],
    ids=json.dumps,
)
def test_key_follows_the_settings(task, embed_toy, settings):
    embeddings = embed_toy()
    assert (
        probe.unit(embeddings, task, ProbeConfig(), "a").document
        != probe.unit(embeddings, task, ProbeConfig(**settings), "a").document
    )


def test_class_weights_move_the_decision_to_the_rarer_class(task, embed_toy, store):
    often = replace(task, train=replace(task.train, labels=(np.arange(40) % 8 == 0).astype(int)))
    biases = []
    for weight in ("none", "balanced"):
        config = ProbeConfig(**QUICK, class_weight=weight)
        entry = run_unit(store, probe.unit(embed_toy(), often, config, "toy"), silent)
        biases.append(load_file(entry.file("probe.safetensors"))["0.bias"])
    assert biases[1][1] - biases[1][0] > biases[0][1] - biases[0][0] + 0.5


def test_class_weights_of_regressions_are_refused_together(task):
    numbers = [replace(task, name=name, kind="regression", labels=()) for name in ("a", "b")]
    with pytest.raises(Faults, match="class_weight=balanced on task 'a', a regression") as caught:
        probe.check_tasks(ProbeConfig(class_weight="balanced"), numbers[0], task, numbers[1])
    assert len(caught.value.faults) == 2
    probe.check_tasks(ProbeConfig(), *numbers)


def odds_of(model: dict[str, np.ndarray], vectors: np.ndarray) -> np.ndarray:
    """Softmax of the logits of the first stored linear probe, by its formula."""
    x = (vectors - model["0.mean"]) / model["0.scale"]
    exponents = np.exp(x @ model["0.weights"] + model["0.bias"])
    return exponents / exponents.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_calibration_is_fitted_on_validation_rows_alone(probed, task, store, embed_toy, method):
    _, _, _, model = probed(calibration=method, Cs=(0.001,))
    logits = [np.log(odds_of(model, rows_of(split)[0])) for split in ("validation", "test")]
    calibration = fit_calibration(
        method, "classification", logits[0], rows_of("validation")[1].labels
    )
    turned = replace(task, test=replace(task.test, labels=1 - task.test.labels))
    config = ProbeConfig(**QUICK | {"calibration": method, "Cs": (0.001,)})
    other = run_unit(store, probe.unit(embed_toy(), turned, config, "toy"), silent)
    theirs = load_file(other.file("probe.safetensors"))
    for name, array in vars(calibration).items():
        np.testing.assert_allclose(model[f"0.rule.{name}"], array, rtol=1e-6)
        assert np.array_equal(model[f"0.rule.{name}"], theirs[f"0.rule.{name}"])


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_calibrated_result_has_the_figures_before_and_after(probed, method):
    _, result, predictions, model = probed(calibration=method, Cs=(0.001,))
    labels, after = predictions["labels"], predictions["0.probabilities"]
    before = odds_of(model, rows_of("test")[0])
    test = result["test"]
    for name, figure in probability_metrics(before, labels).items():
        assert test[f"uncalibrated_{name}"] == pytest.approx(figure)
    for name, figure in probability_metrics(after, labels).items():
        assert test["metrics"][name] == figure
    assert test["metrics"]["log_loss"] < test["uncalibrated_log_loss"]
    assert result["calibration"] == result["fits"][0]["calibration"] == method


def test_calibration_leaves_model_and_validation_score_as_they_are(probed):
    _, plain, _, model = probed()
    _, result, _, calibrated = probed(calibration="temperature", threshold="f1")
    assert result["validation"] == plain["validation"]
    assert all(np.array_equal(calibrated[name], array) for name, array in model.items())
    assert "uncalibrated_ece" not in plain["test"] and "thresholds" not in plain["fits"][0]


@pytest.mark.parametrize("settings", [{"calibration": "isotonic"}, {"threshold": "f1"}], ids=str)
def test_few_shot_draws_are_calibrated_apart(probed, settings):
    _, result, predictions, model = probed(shots=6, few_shot_samples=2, **settings)
    assert {name.split(".")[0] for name in model if ".rule." in name} == {"0", "1"}
    scores = [(predictions[f"{n}.predictions"] == predictions["labels"]).mean() for n in (0, 1)]
    assert result["test"]["scores"] == scores


def test_threshold_decides_the_predictions_that_are_scored(probed):
    _, result, predictions, model = probed(threshold="precision", precision=1.0, Cs=(0.001,))
    on_validation = odds_of(model, rows_of("validation")[0])[:, 1]
    truth = rows_of("validation")[1].labels
    least = min(one for one in on_validation if truth[on_validation >= one].mean() == 1.0)
    assert model["0.rule.thresholds"].tolist() == [pytest.approx(least)]
    assert result["fits"][0]["thresholds"] == {"yes": model["0.rule.thresholds"][0]}
    expected = predictions["0.probabilities"][:, 1] >= model["0.rule.thresholds"][0]
    assert np.array_equal(predictions["0.predictions"], expected)
    assert result["test"]["score"] == (expected == predictions["labels"]).mean()


@pytest.mark.parametrize("settings", [{}, {"shots": 6, "few_shot_samples": 2}], ids=str)
def test_result_has_the_scores_of_each_class(probed, settings):
    _, result, predictions, _ = probed(**settings)
    labels = predictions["labels"]
    draws = [
        precision_recall_fscore_support(labels, predictions[name], zero_division=0)
        for name in predictions
        if name.endswith("predictions")
    ]
    precision, recall, f1, support = np.mean(draws, axis=0)
    assert result["test"]["classes"] == [
        {
            "label": label,
            "precision": pytest.approx(precision[index]),
            "recall": pytest.approx(recall[index]),
            "f1": pytest.approx(f1[index]),
            "support": support[index],
        }
        for index, label in enumerate(("no", "yes"))
    ]


def test_label_that_is_never_predicted_has_no_threshold_in_the_result(task, store, embed_toy):
    none = replace(task, validation=replace(task.validation, labels=np.zeros(10, dtype=int)))
    config = ProbeConfig(**QUICK, threshold="precision")
    entry = run_unit(store, probe.unit(embed_toy(), none, config, "toy"), silent)
    assert read_json(entry, "probe.json")["fits"][0]["thresholds"] == {"yes": None}
    assert not load_file(entry.file("predictions.safetensors"))["0.predictions"].any()


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        (
            {"calibration": "isotonic", "protocol": "nested_cv"},
            "probe.calibration=isotonic with probe.protocol=nested_cv",
        ),
        (
            {"threshold": "f1", "calibration": "temperature", "score_on": "validation"},
            "probe.calibration=temperature probe.threshold=f1 with probe.score_on=validation",
        ),
    ],
)
def test_rows_that_are_scored_calibrate_nothing(settings, what):
    with pytest.raises(UsageError, match=what):
        probe.check_settings(ProbeConfig(**settings))


def test_settings_of_classes_are_refused_where_there_are_none(task):
    numbers = replace(task, name="numbers", kind="regression", labels=())
    colours = replace(task, name="colours", labels=("red", "green", "blue"))
    config = ProbeConfig(calibration="isotonic", threshold="f1")
    with pytest.raises(Faults) as caught:
        probe.check_tasks(config, numbers, colours, task)
    assert [fault.what for fault in caught.value.faults] == [
        "probe.calibration=isotonic on task 'numbers', a regression",
        "probe.threshold=f1 on task 'numbers', a regression",
        "probe.threshold=f1 on task 'colours', which has 3 classes",
    ]


def test_last_layer_alone_is_what_the_probe_of_the_last_layer_sees(probed):
    _, last, *_ = probed(layers="last")
    _, best, *_ = probed(layers="best")
    wanted = best["fits"][0]["candidates"][0]
    assert wanted["layers"] == [2] == last["fits"][0]["reads"]["layers"]
    assert (last["validation"], last["fits"][0]["strength"]) == (
        wanted["validation"],
        wanted["strength"],
    )


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
