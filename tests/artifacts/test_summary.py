"""The row that a command prints about its artifact."""

from __future__ import annotations

import pytest

from prefixbank.artifacts.summary import flat_rows, summary

RESULT = {
    "metric": "accuracy",
    "validation": 0.5,
    "best_epoch": 1,
    "steps": 2,
    "train_rows": 40,
    "truncated_share": 0.0,
    "shape": [2, 2],
    "kind": "x",
}
SCORES = {
    "score": 0.75,
    "low": 0.5,
    "high": 0.9,
    "metrics": {"accuracy": 0.75, "f1": 0.7},
    "n": 20,
    "interval": "test rows",
}
ENCODER = {"name": "multitask/both"}
CELL = {"value": 0.5, "low": 0.25, "high": 0.75}


@pytest.fixture
def rows(put) -> dict[str, dict]:
    """The row of one artifact of each step."""
    report = {
        "columns": ["plain encoder", "bank"],
        "targets": ["topic", "mood"],
        "rows": {
            name: {"columns": {"bank": CELL, "plain encoder": {**CELL, "value": 0.4}}}
            for name in ("mean", "mood", "topic")
        },
    }
    entries = [
        put("train_prefix", {"result.json": RESULT}, task="alpha"),
        put(
            "combine",
            {"bank.json": {"rule": "mean_vectors", "weights": [1.0]}},
            name="demo",
            tasks=["alpha"],
        ),
        put(
            "embed",
            {"embeddings.json": {"rows": 3, "truncated_share": 0.25, "parts": ["a"]}},
            name="lines",
            encoder=ENCODER,
        ),
        put(
            "probe",
            {
                "probe.json": {
                    "metric": "accuracy",
                    "test": SCORES,
                    "validation": 0.6,
                    "train_rows": 8,
                    "draws": 2,
                    "fits": [{}, {}],
                }
            },
            task="mood",
            bank="ab" * 16,
            encoder=ENCODER,
        ),
        put("report", {"report.json": report}, experiment="study"),
        put(
            "map_report",
            {
                "report.json": {
                    "regimes": {"same seed": {"rows": {"cold start": {**CELL, "seeds": [0]}}}}
                }
            },
            experiment="map",
        ),
    ]
    return {entry.step: summary(entry) for entry in entries}


@pytest.mark.parametrize(
    "step", ["train_prefix", "combine", "embed", "probe", "report", "map_report"]
)
def test_row_begins_with_the_step_as_typed_and_ends_with_the_path(store, rows, step):
    row = rows[step]
    assert list(row)[0] == "step" and list(row)[-1] == "path"
    assert (row["step"], store.get(row["key"]).path) == (
        step.replace("_", "-"),
        store.root / "entries" / step / row["key"],
    )


def test_row_of_a_prefix_has_its_score_and_shape(rows):
    row = rows["train_prefix"]
    assert (row["task"], row["validation"], row["shape"], "kind" in row) == (
        "alpha",
        0.5,
        [2, 2],
        False,
    )


def test_row_of_a_bank_has_rule_prefixes_and_weights(rows):
    row = rows["combine"]
    assert (row["name"], row["rule"], row["prefixes"], row["weights"]) == (
        "demo",
        "mean_vectors",
        ["alpha"],
        [1.0],
    )


def test_row_of_a_bank_of_blocks_has_these_in_place_of_weights(put):
    described = {"rule": "blocks", "blocks": [{"name": "alpha", "features": 8, "heads": []}]}
    config = {"combine": {"rule": "blocks", "plain": True}, "blocks": ["alpha"]}
    bank = put("combine", {"bank.json": described}, config=config, name="demo", tasks=["alpha"])
    row = summary(bank)
    assert row["blocks"] == {"plain": None, "alpha": 8} and "weights" not in row


def test_row_of_embeddings_in_blocks_names_them_in_order(put):
    blocks = [{"name": "plain", "features": 4}, {"name": "alpha", "features": 8}]
    facts = {"rows": 3, "truncated_share": 0.0, "parts": ["a"], "blocks": blocks}
    row = summary(put("embed", {"embeddings.json": facts}, name="lines", encoder=ENCODER))
    assert list(row["blocks"].items()) == [("plain", 4), ("alpha", 8)]


def test_row_of_embeddings_counts_rows(rows):
    assert (rows["embed"]["rows"], rows["embed"]["truncated_share"]) == (3, 0.25)


def test_row_of_a_probe_has_every_score_once(rows):
    row = rows["probe"]
    assert (row["score"], row["low"], row["high"], row["f1"], "accuracy" in row) == (
        0.75,
        0.5,
        0.9,
        0.7,
        False,
    )
    assert (row["bank"], row["test_rows"], row["train_rows"], row["draws"]) == (
        "abababab",
        20,
        8,
        2,
    )


def test_row_without_a_bank_says_none(put):
    probe = {"metric": "accuracy", "test": SCORES, "validation": 0.6, "train_rows": 8, "draws": 2}
    entry = put(
        "probe", {"probe.json": {**probe, "fits": [{}]}}, task="mood", bank=None, encoder=ENCODER
    )
    assert summary(entry)["bank"] == "none"


def test_report_is_flattened_in_its_own_order(rows):
    found = [(row["target"], row["column"], row["score"]) for row in flat_rows(rows["report"])]
    assert found == [
        (target, column, score)
        for target in ("topic", "mood", "mean")
        for column, score in (("plain encoder", 0.4), ("bank", 0.5))
    ]


def test_transfer_map_is_flattened_to_its_choices(rows):
    assert flat_rows(rows["map_report"]) == [{"seeds": "same seed", "source": "cold start", **CELL}]


def test_other_rows_are_flat_already(rows):
    assert flat_rows(rows["probe"]) == [rows["probe"]]
