"""Soft prompts from the command line: train, combine, embed, probe."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest
from safetensors.numpy import load_file

from tests.cli.test_train_prefix import train_args

SOFT = ("prefix.kind=soft", "prefix.length=3")


def prompt_in(ran) -> np.ndarray:
    (tensor,) = load_file(Path(ran.result["path"]) / "prefix.safetensors").values()
    return tensor


def vectors_of(ran) -> np.ndarray:
    (file,) = Path(ran.result["path"]).glob("*.parquet")
    return np.array(parquet.read_table(file)["vector"].to_pylist())


def table_of(cli) -> np.ndarray:
    (folder,) = (cli.store / "entries" / "tiny_encoder").iterdir()
    return load_file(folder / "model.safetensors")["embeddings.word_embeddings.weight"]


def rows_in(tensor: np.ndarray, table: np.ndarray) -> list[int]:
    """Which rows of the table these are."""
    return [int(np.flatnonzero((table == row).all(axis=1))[0]) for row in tensor]


def test_two_prompts_are_trained_combined_embedded_and_probed(cli, lines):
    trained = [cli.train(name, *SOFT, f"name={name}-soft") for name in ("alpha", "beta")]
    assert trained[0].result["shape"] == [3, 64] and not np.array_equal(
        prompt_in(trained[0]), prompt_in(trained[1])
    )
    cli.done("combine", "prefixes=[alpha-soft,beta-soft]", "name=soft")
    embedded = cli.done("embed", "bank=soft", f"corpus.path={lines}")
    assert vectors_of(embedded).shape == (3, 64)
    probed = cli.done(
        "probe",
        "bank=soft",
        "task=folder",
        f"task.path={cli.tasks / 'gamma'}",
        "probe.bootstrap_samples=50",
        "probe.Cs=[1]",
    )
    assert 0.0 <= probed.result["score"] <= 1.0


def test_artifact_of_a_soft_prompt_holds_a_prompt(cli):
    path = Path(cli.train("gamma", *SOFT).result["path"])
    assert {
        name: tensor.shape for name, tensor in load_file(path / "prefix.safetensors").items()
    } == {"prompt": (3, 64)}
    assert json.loads((path / "result.json").read_text(encoding="utf-8"))["training_flops"] > 0


@pytest.mark.parametrize(
    ("rule", "features"), [("concat_vectors", 128), ("mean_vectors", 64), ("mean_prefixes", 64)]
)
def test_every_rule_takes_soft_prompts(cli, lines, rule, features):
    for name in ("alpha", "beta"):
        cli.train(name, *SOFT, f"name={name}-soft", "optim.epochs=0")
    cli.done("combine", "prefixes=[alpha-soft,beta-soft]", "name=soft", f"combine={rule}")
    assert vectors_of(cli.done("embed", "bank=soft", f"corpus.path={lines}")).shape == (3, features)


def test_prompt_of_the_vocabulary_starts_as_rows_of_the_embeddings(cli):
    assert (
        len(
            rows_in(
                prompt_in(cli.train("gamma", *SOFT, "prefix.init=vocabulary", "optim.epochs=0")),
                table_of(cli),
            )
        )
        == 3
    )


def test_prompt_of_labels_starts_as_the_embeddings_of_their_names(cli):
    found = rows_in(
        prompt_in(cli.train("gamma", *SOFT, "prefix.init=labels", "optim.epochs=0")), table_of(cli)
    )
    (folder,) = (cli.store / "entries" / "tiny_encoder").iterdir()
    words = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    assert found[:2] == [words["no"], words["yes"]]


def test_prepared_settings_of_a_soft_prompt_train(cli):
    ran = cli.done(*train_args(cli, "gamma"), "prefix=soft", "optim=spot", "optim.epochs=1")
    assert ran.result["shape"] == [2, 64]


def test_deep_and_soft_prefixes_do_not_mix(cli):
    cli.train("gamma", *SOFT)
    fault = cli.expect_fault(2, "combine", "prefixes=[alpha,gamma]", "name=new")
    assert (
        fault.what == "prefix 'gamma' is soft, prefix 'alpha' is deep"
        and "prefix.kind=deep" in fault.fix
    )


def test_parts_of_deep_prefixes_are_refused_for_soft_ones_all_at_once(cli):
    settings = ("prefix.kind=soft", "prefix.gate=learned", "prefix.projection=mlp")
    faults = cli.expect_refusal(2, *train_args(cli, "gamma", *settings))
    assert [fault.what for fault in faults] == [
        "prefix.gate=learned with prefix.kind=soft",
        "prefix.projection=mlp with prefix.kind=soft",
    ]


def test_deep_prefixes_have_no_words_to_begin_with(cli):
    fault = cli.expect_fault(2, *train_args(cli, "gamma", "prefix.init=vocabulary"))
    assert (
        fault.what == "prefix.init=vocabulary with prefix.kind=deep"
        and fault.fix == "prefix.init=random"
    )


def test_regression_has_no_label_names_to_begin_with(cli):
    fault = cli.expect_fault(
        2, "train-prefix", "task=similarity", "encoder=tiny", *SOFT, "prefix.init=labels"
    )
    assert (
        fault.what == "prefix.init=labels for similarity, a regression task"
        and fault.fix == "prefix.init=vocabulary"
    )
