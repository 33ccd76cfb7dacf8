"""`prefixbank train-multitask`, and its encoder where a bank can stand."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import prefixbank
from prefixbank.artifacts.embeddings import read_vectors
from prefixbank.config.schema import EncoderConfig
from prefixbank.data.encoders.encoder import load_encoder
from prefixbank.data.encoders.files import describe_folder
from prefixbank.store.store import Store
from tests.cli.command import CommandLine, Ran

QUICK = ("encoder=tiny", "optim.epochs=1", "optim.batch_size=20")
PROBE = ("probe.bootstrap_samples=20", "probe.Cs=[1]")


def args(cli: CommandLine, tasks: str = "alpha,beta", *settings: str) -> tuple[str, ...]:
    return ("train-multitask", f"tasks=[{tasks}]", f"run.data_root={cli.tasks}", *QUICK, *settings)


def trained(cli: CommandLine, tasks: str = "alpha,beta", *settings: str) -> Ran:
    return cli.done(*args(cli, tasks, *settings))


def probed(cli: CommandLine, bank: str, *settings: str) -> Ran:
    return cli.done(
        "probe",
        f"bank={bank}",
        "task=folder",
        f"task.path={cli.tasks / 'gamma'}",
        *PROBE,
        *settings,
    )


def test_result_tells_scores_and_rows(cli):
    result = trained(cli).result
    assert (result["step"], result["name"], result["tasks"]) == (
        "train-multitask",
        "alpha-beta",
        ["alpha", "beta"],
    )
    assert (result["examples"], result["train_rows"], result["steps"]) == (80, 80, 4)
    assert result["validation"] == pytest.approx(np.mean(result["scores"]))


def test_csv_is_a_header_and_a_row(cli):
    (row,) = csv.DictReader(io.StringIO(trained(cli, "alpha", "--format", "csv").out))
    assert (row["step"], row["name"], row["examples"]) == ("train-multitask", "alpha", "40")


def test_ref_is_named_as_asked(cli):
    key = trained(cli, "alpha,beta", "name=both").result["key"]
    assert Store(cli.store).ref("multitask", "both").key == key


def test_second_run_is_a_hit(cli):
    first, second = trained(cli), trained(cli)
    assert (
        [kind for *_, kind in first.steps],
        [kind for *_, kind in second.steps],
        second.out,
    ) == (["MISS", "done"], ["hit"], first.out)


def test_dry_run_says_what_differs_and_makes_nothing(cli):
    trained(cli)
    ran = trained(cli, "alpha,beta", "--dry-run", "multitask.sampling=uniform")
    assert ran.out == "" and ran.err.endswith("MISS  multitask.sampling proportional -> uniform\n")


def test_sweep_trains_each(cli):
    rows = trained(cli, "alpha", "--sweep", "seed=1,2").result
    assert len({row["key"] for row in rows}) == 2


def test_curve_lists_the_score_of_each_task(cli):
    path = Path(trained(cli).result["path"])
    lines = [
        json.loads(line) for line in (path / "curve.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 4] and len(lines[-1]["scores"]) == 2


def test_starter_tasks_need_no_file(cli):
    result = cli.done(
        "train-multitask", "tasks=[emotion]", "name=ceiling", *QUICK, "optim.batch_size=200"
    ).result
    assert (result["name"], result["tasks"], result["examples"]) == ("ceiling", ["emotion"], 800)


def test_copy_is_an_encoder_that_commands_accept(cli, tmp_path):
    trained(cli, "alpha", "--out", str(tmp_path / "copy"))
    plain = ("bank=none", "encoder=folder", f"encoder.path={tmp_path / 'copy' / 'encoder'}")
    ran = cli.done("probe", *plain, "task=folder", f"task.path={cli.tasks / 'gamma'}", *PROBE)
    probed(cli, "multitask/alpha")
    assert ran.result["score"] == probed(cli, "multitask/alpha").result["score"]


def test_probe_takes_the_encoder_as_a_bank(cli):
    trained(cli, "alpha,beta", "name=both")
    ran = probed(cli, "multitask/both")
    assert ran.steps[0] == ("embed", "gamma@multitask-both", "MISS")
    assert (ran.result["bank"], ran.result["encoder"]) == ("none", "multitask/both")


def test_key_names_the_encoder_too(cli):
    key = trained(cli).result["key"]
    by_name = probed(cli, "multitask/alpha-beta").result["key"]
    assert {probed(cli, text).result["key"] for text in (key, key[:8])} == {by_name}


def test_embeddings_are_those_of_the_trained_encoder(cli, lines):
    path = Path(trained(cli, "alpha", "pooling=cls").result["path"])
    cli.done("embed", "bank=multitask/alpha", f"corpus.path={lines}")
    encoder = load_encoder(describe_folder(path / "encoder", EncoderConfig(), "x"), "cpu")
    texts = lines.read_text(encoding="utf-8").splitlines()
    with torch.no_grad():
        expected = [
            encoder.model(**encoder.tokenizer(text, return_tensors="pt"))
            .last_hidden_state[0, 0]
            .numpy()
            for text in texts
        ]
    (entry,) = Store(cli.store).entries("embed")
    np.testing.assert_allclose(read_vectors(entry, "part-00000"), np.stack(expected), atol=1e-5)
    assert entry.info["encoder"]["name"] == "multitask/alpha"


def test_loaded_encoder_embeds_like_the_command(cli, lines):
    trained(cli, "alpha")
    cli.done("embed", "bank=multitask/alpha", f"corpus.path={lines}")
    (entry,) = Store(cli.store).entries("embed")
    vectors = prefixbank.load_bank("multitask/alpha").embed(
        lines.read_text(encoding="utf-8").splitlines()
    )
    np.testing.assert_allclose(vectors, read_vectors(entry, "part-00000"), atol=1e-5)


def test_other_weights_are_other_embeddings(cli):
    trained(cli, "alpha", "name=one")
    trained(cli, "alpha", "name=two", "seed=1")
    keys = {probed(cli, f"multitask/{name}").result["key"] for name in ("one", "two")}
    assert len(keys) == 2


def test_no_tasks_are_refused(cli):
    assert "tasks=[polarity,topic]" in cli.expect_fault(2, "train-multitask", *QUICK).fix


def test_task_named_twice_is_refused(cli):
    fault = cli.expect_fault(2, *args(cli, "alpha,beta,alpha"))
    assert "names alpha twice" in fault.what and fault.fix == "'tasks=[alpha,beta]'"


def test_unknown_tasks_are_refused_together_with_similar_name(cli):
    faults = cli.expect_refusal(2, "train-multitask", "tasks=[polaritty,topic,emotoin]", *QUICK)
    assert [fault.what.rpartition("; ")[2] for fault in faults] == [
        "did you mean 'polarity'?",
        "did you mean 'emotion'?",
    ]


def test_task_without_a_folder_is_refused(cli):
    assert "no task folder" in cli.expect_fault(2, *args(cli, "alpha,delta")).what


def test_unknown_encoder_is_refused_with_those_there_are(cli):
    trained(cli)
    fault = cli.expect_fault(2, "probe", "bank=multitask/alpa-beta", "task=emotion")
    assert (
        "did you mean 'multitask/alpha-beta'?" in fault.what
        and "multitask/alpha-beta" in fault.expected
    )


def test_bare_name_of_an_encoder_is_refused_with_the_whole_one(cli):
    trained(cli, "alpha", "name=both")
    assert cli.expect_fault(2, "probe", "bank=both", "task=emotion").fix == "bank=multitask/both"


def test_bank_wins_over_an_encoder_of_its_name(cli):
    trained(cli, "alpha", "name=demo")
    assert probed(cli, "demo").result["bank"] == Store(cli.store).ref("bank", "demo").key[:8]


def test_another_encoder_beside_it_is_refused(cli):
    trained(cli)
    fault = cli.expect_fault(
        2, "probe", "bank=multitask/alpha-beta", "encoder=tiny", "task=emotion"
    )
    assert "encoder=tiny with bank=multitask/alpha-beta" in fault.what


def test_damaged_encoder_is_refused(cli):
    path = Path(trained(cli).result["path"]) / "encoder" / "model.safetensors"
    path.chmod(0o644)
    path.write_bytes(b"nothing")
    fault = cli.expect_fault(3, "probe", "bank=multitask/alpha-beta", "task=emotion")
    assert "encoder/model.safetensors" in fault.what
