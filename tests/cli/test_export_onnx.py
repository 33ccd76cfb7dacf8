"""`prefixbank export format=onnx`: what other programs make of the folder."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from tokenizers import Tokenizer

import prefixbank as pb
from prefixbank.steps.export.onnx.make import TRIED
from prefixbank.store.artifact import Entry
from prefixbank.store.store import Store
from tests.cli.command import CommandLine, Ran
from tests.cli.test_predict import PAIRS
from tests.data.encoders.sentence_models import write_model
from tests.prepared import copy_store

QUICK = ("probe.bootstrap_samples=50", "probe.Cs=[1]")
TEXTS = ["the food was good", "a bad and noisy place, " * 60, "warm"]


@pytest.fixture(scope="module")
def exported(prepared, tmp_path_factory) -> tuple[Path, Path]:
    """A store with a bank that has a probe, and the folder of its export."""
    from prefixbank.commands.invocation import Invocation
    from tests.commands import call

    folder = tmp_path_factory.mktemp("exported")
    invocation = Invocation(store=copy_store(prepared.store, folder / "store"))
    gamma = ("task=folder", f"task.path={prepared.tasks / 'gamma'}")
    call("probe", "bank=demo", *gamma, *QUICK, "name=tone", invocation=invocation)
    warm = ("probe.calibration=temperature", "probe.threshold=f1", "name=warm")
    call("probe", "bank=demo", *gamma, *QUICK, *warm, invocation=invocation)
    made = call("export", "bank=demo", "heads=[tone,warm]", "format=onnx", invocation=invocation)
    out = folder / "out"
    shutil.copytree(made.entry.path, out)
    return folder / "store", out


def described(out: Path) -> dict:
    return json.loads((out / "onnx.json").read_text(encoding="utf-8"))


def inputs_of(out: Path, encodings: list) -> dict[str, np.ndarray]:
    ids = {
        "input_ids": [one.ids for one in encodings],
        "attention_mask": [one.attention_mask for one in encodings],
        "token_type_ids": [one.type_ids for one in encodings],
    }
    return {name: np.array(ids[name], dtype=np.int64) for name in described(out)["inputs"]}


def test_onnxruntime_says_what_the_bank_says(exported):
    store, out = exported
    encodings = Tokenizer.from_file(str(out / "tokenizer.json")).encode_batch(TEXTS)
    session = onnxruntime.InferenceSession(out / "model.onnx")
    names = ["tone", "warm"]
    vectors, *odds = session.run(["vector", *names], inputs_of(out, encodings))
    bank = pb.load_bank("demo", store=store)
    assert np.allclose(vectors, bank.embed(TEXTS), rtol=0, atol=1e-5)
    for name, found in zip(names, odds, strict=True):
        expected = bank.predict(TEXTS, heads=[name])[name].probabilities
        assert np.allclose(found, expected, rtol=0, atol=1e-5)


def test_description_has_axes_labels_and_length(exported):
    store, out = exported
    found = described(out)
    assert found["inputs"]["input_ids"] == ["batch", "tokens"]
    two = ["batch", 2]
    assert found["outputs"] == {"vector": ["batch", 64], "tone": two, "warm": two}
    tone, warm = found["heads"]
    assert tone == {"name": "tone", "kind": "classification", "labels": ["no", "yes"]}
    assert warm["calibration"] == "temperature" and list(warm["thresholds"]) == ["yes"]
    assert found["max_length_tokens"] == 128
    assert found["bank"]["key"] == Store(store).resolve("bank", "demo").key
    session = onnxruntime.InferenceSession(out / "model.onnx")
    assert [one.shape for one in session.get_inputs()] == [["batch", "tokens"]] * 3


def test_code_in_the_card_runs_without_prefixbank(exported):
    _, out = exported
    (code,) = re.findall(
        r"```python\n(.*?)```", (out / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL
    )
    block = "import sys; sys.modules['prefixbank'] = sys.modules['torch'] = None\n"
    code = block + code.replace("FOLDER", str(out))
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("tone ['no', 'yes'] [[")


def test_file_names_no_path_of_this_machine(exported):
    _, out = exported
    content = (out / "model.onnx").read_bytes()
    assert b".py" not in content and str(Path(pb.__file__).parent).encode() not in content


@pytest.mark.slow
def test_same_export_has_the_same_bytes(exported, cli):
    store, _ = exported
    command = ("export", "bank=demo", "heads=[tone,warm]", "format=onnx", f"--store={store}")
    before = Store(store).resolve("export", "demo.onnx")
    again = cli.done(*command, "--force")
    assert again.steps[-1] == ("export-onnx", "demo", "done")
    assert Store(store).resolve("export", "demo.onnx").digest == before.digest
    assert again.result["heads"] == ["tone", "warm"]


def test_heads_that_one_pass_cannot_serve_are_refused_together(cli, tmp_path):
    (tmp_path / "pairs.csv").write_text(PAIRS, encoding="utf-8")
    task = (f"task.path={tmp_path / 'pairs.csv'}", "task.columns.text_pair=more", "bank=demo")
    read = ("precision=bf16", "normalize=true", "long=windows")
    cli.done("probe", *task, *QUICK, "pairs=separate", *read, "name=apart")
    steps = ("probe.calibration=isotonic", "name=vector")
    cli.done("probe", *task, *QUICK, "pairs=separate", *read, *steps)
    found = cli.expect_refusal(2, "export", "bank=demo", "heads=[apart,vector]", "format=onnx")
    assert [fault.what.split(",")[0] for fault in found] == [
        "head apart reads the texts of a pair apart",
        "head vector reads the texts of a pair apart",
        "head vector has probe.calibration=isotonic",
        "head vector has the name of an input or output of the model",
        "the heads read vectors of precision=bf16",
        "the heads read vectors of normalize=true",
        "the heads read vectors of long=windows",
    ]


def test_pairs_joined_by_a_separator_are_refused(cli, tmp_path):
    read = ("encoder=tiny", "encoder.pair_separator= | ")
    cli.train("alpha", *read, "name=marked")
    cli.done("combine", "prefixes=[marked]", "name=marked")
    (tmp_path / "pairs.csv").write_text(PAIRS, encoding="utf-8")
    task = (f"task.path={tmp_path / 'pairs.csv'}", "task.columns.text_pair=more")
    cli.done("probe", "bank=marked", *task, *QUICK, "pairs=joint", "name=two")
    fault = cli.expect_fault(2, "export", "bank=marked", "heads=[two]", "format=onnx")
    assert "encoder.pair_separator" in fault.what


INT8 = ("export", "bank=demo", "heads=[tone,warm]", "format=onnx", "precision=int8")


@pytest.fixture(scope="module")
def rounded(exported, tmp_path_factory) -> tuple[Path, Entry, Ran]:
    """The store of `exported`, its int8 export, and what the command printed."""
    store, _ = exported
    ran = CommandLine(store=store, tasks=Path()).done(*INT8, f"--store={store}")
    return store, Store(store).resolve("export", "demo.int8.onnx"), ran


def test_bank_has_both_a_float32_and_an_int8_export(rounded):
    store, int8, _ = rounded
    fp32 = Store(store).resolve("export", "demo.onnx")
    assert set(fp32.document["config"]) == {"name", "license", "heads", "max_length_tokens"}
    changed = {**fp32.document, "config": {**fp32.document["config"], "precision": "int8"}}
    assert int8.document == changed and int8.key != fp32.key
    assert int8.file("model.onnx").stat().st_size < fp32.file("model.onnx").stat().st_size
    assert set(int8.files) == set(fp32.files)


def test_int8_result_says_how_close_the_file_is(rounded):
    store, entry, ran = rounded
    tokenizer = Tokenizer.from_file(str(entry.file("tokenizer.json")))
    session = onnxruntime.InferenceSession(entry.file("model.onnx"))
    bank, found = pb.load_bank("demo", store=store), ran.result
    ours, theirs = {}, {}
    for texts in TRIED:
        said = bank.predict(texts, heads=["tone", "warm"])
        one = [bank.embed(texts), *(said[name].probabilities for name in ("tone", "warm"))]
        encodings = tokenizer.encode_batch(list(texts))
        other = session.run(None, inputs_of(entry.path, encodings))
        for name, expected, got in zip(("vector", "tone", "warm"), one, other, strict=True):
            ours.setdefault(name, []).append(expected)
            theirs.setdefault(name, []).append(got)
    largest = {
        name: max(
            np.abs(a - b).max() / max(1, np.abs(a).max())
            for a, b in zip(ours[name], theirs[name], strict=True)
        )
        for name in ours
    }
    assert found["differences"] == pytest.approx(largest, abs=1e-5)
    assert largest["vector"] > 1e-4  # it is another computation
    one, other = np.concatenate(ours["vector"]), np.concatenate(theirs["vector"])
    cosines = [a @ b / np.sqrt((a @ a) * (b @ b)) for a, b in zip(one, other, strict=True)]
    assert found["mean_cosine"] == pytest.approx(np.mean(cosines), abs=1e-6)
    assert found["least_cosine"] == pytest.approx(min(cosines), abs=1e-6)
    pairs = zip(one - one.mean(axis=0), other - one.mean(axis=0), strict=True)
    centred = np.mean([a @ b / np.sqrt((a @ a) * (b @ b)) for a, b in pairs])
    assert found["centred_cosine"] == pytest.approx(centred, abs=1e-3)
    least = described(entry.path)["heads"][1]["thresholds"]["yes"]
    names = {"tone": lambda x: x.argmax(axis=1), "warm": lambda x: x[:, 1] >= least}
    for head, name in names.items():
        same = name(np.concatenate(ours[head])) == name(np.concatenate(theirs[head]))
        assert found["same_predictions"][head] == pytest.approx(same.mean())
    assert found["texts"] == len(one) and found["precision"] == "int8"


def test_int8_is_told_in_card_description_and_on_stderr(rounded):
    _, entry, ran = rounded
    found, card = ran.result, entry.file("README.md").read_text(encoding="utf-8")
    assert "weights are integers of 8 bits" in card and "are those of float32," in card
    for name, difference in found["differences"].items():
        assert f"| {name} | {difference:.4f} |" in card
    assert f"{found['mean_cosine']:.4f} on average" in card
    kept = described(entry.path)
    assert kept["differences"] == found["differences"]
    assert kept["int8"]["same_predictions"] == found["same_predictions"]
    assert f"int8: mean cosine {found['mean_cosine']:.4f}, predicts the same: tone 100 %" in ran.err


def test_float32_export_says_nothing_of_int8(exported):
    _, out = exported
    assert "int8" not in described(out) and "differences" not in described(out)
    assert "## Precision" not in (out / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_same_int8_export_has_the_same_bytes(rounded, cli):
    store, before, _ = rounded
    cli.done(*INT8, f"--store={store}", "--force")
    assert Store(store).resolve("export", "demo.int8.onnx").digest == before.digest


def test_precision_of_another_format_has_no_effect_and_is_noted(cli):
    plain = cli.done("export", "bank=demo")
    ran = cli.done("export", "bank=demo", "precision=int8")
    assert "precision has no effect without format=onnx" in ran.err
    assert ran.result["key"] == plain.result["key"]


def test_precision_that_onnx_files_do_not_have_is_refused(cli):
    fault = cli.expect_fault(2, "export", "bank=demo", "format=onnx", "precision=bf16")
    assert "precision" in fault.what and "fp32" in fault.expected and "int8" in fault.expected


@pytest.mark.parametrize("format", ["onnx", "sentence_transformers"])
def test_encoder_whose_folder_lowercases_texts_is_refused(cli, tmp_path, format):
    modules = ("Transformer", "Pooling")
    folder = write_model(
        tmp_path / "m", {"pooling_mode": "cls"}, modules=modules, read={"do_lower_case": True}
    )
    cli.train("alpha", "encoder=folder", f"encoder.path={folder}", "name=lower")
    cli.done("combine", "prefixes=[lower]", "name=lower")
    fault = cli.expect_fault(2, "export", "bank=lower", f"format={format}")
    assert "lowercases texts" in fault.what and fault.fix == "format=bundle"


def test_model_of_sentence_transformers_makes_vectors_as_they_are(cli):
    task = ("task=folder", f"task.path={cli.tasks / 'gamma'}")
    cli.done("probe", "bank=demo", *task, *QUICK, "normalize=true", "name=unit")
    form = "format=sentence_transformers"
    fault = cli.expect_fault(2, "export", "bank=demo", "heads=[unit]", form)
    assert "the heads read vectors of normalize=true" in fault.what
