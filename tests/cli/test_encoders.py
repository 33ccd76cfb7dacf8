"""Encoders read through their lower layers, from the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest

import prefixbank
from prefixbank.config.schema import EmbedRecipe
from tests.data.encoders.models import bare_llama, stand_in_for_smollm2

SHORT = "max_length_tokens=32"


def vectors_of(ran) -> np.ndarray:
    (file,) = Path(ran.result["path"]).glob("*.parquet")
    return np.array(parquet.read_table(file)["vector"].to_pylist(), dtype=np.float32)


@pytest.fixture
def llama(tmp_path: Path) -> tuple[str, ...]:
    """Settings of a small raw language model with two of its three layers."""
    folder = bare_llama(tmp_path / "llama")
    return "encoder=folder", f"encoder.path={folder}", "encoder.layers=2"


def test_bank_of_the_lower_layers_is_trained_and_embeds(cli, llama, lines):
    ran = cli.train("alpha", *llama, SHORT, "name=low")
    assert ran.result["shape"] == [2, 2, 2, 2, 8]
    cli.done("combine", "prefixes=[low]", "name=low")
    embedded = cli.done("embed", "bank=low", f"corpus.path={lines}", SHORT)
    texts = lines.read_text(encoding="utf-8").splitlines()
    bank = prefixbank.load_bank("low", recipe=EmbedRecipe(max_length_tokens=32))
    assert np.array_equal(vectors_of(embedded), bank.embed(texts))


def test_separator_and_layers_are_told_when_a_key_is_missed(cli, llama, lines):
    first, *others = (
        cli.done("embed", "bank=none", f"corpus.path={lines}", SHORT, *llama, *more)
        for more in ((), (r"encoder.pair_separator=\n",), ("encoder.layers=1",), ())
    )
    keys = [ran.result["key"] for ran in (first, *others)]
    assert keys[-1] == keys[0] and len(set(keys)) == 3
    assert np.array_equal(vectors_of(first), vectors_of(others[0]))
    assert not np.allclose(vectors_of(first), vectors_of(others[1]))


def test_plain_encoder_that_is_not_named_is_read_as_the_settings_say(cli, lines):
    named, unnamed = (
        cli.done("embed", "bank=none", f"corpus.path={lines}", "encoder.layers=1", *more)
        for more in (("encoder=minilm",), ())
    )
    assert unnamed.result["key"] == named.result["key"]


def test_layers_beside_a_multitask_encoder_are_refused(cli, lines):
    cli.done(
        "train-multitask",
        "tasks=[alpha]",
        f"run.data_root={cli.tasks}",
        "encoder=tiny",
        "optim.epochs=0",
    )
    fault = cli.expect_fault(
        2, "embed", "bank=multitask/alpha", "encoder.layers=1", f"corpus.path={lines}"
    )
    assert fault.expected.startswith("no encoder= and no encoder.*")


def test_pairs_without_a_mark_between_them_are_refused(cli, llama, tmp_path):
    corpus = tmp_path / "pairs.csv"
    corpus.write_text("text,other\none,two\n", encoding="utf-8")
    settings = ("embed", "bank=none", f"corpus.path={corpus}", "corpus.column_pair=other", SHORT)
    fault = cli.expect_fault(2, *settings, *llama)
    assert fault.fix.startswith(r"encoder.pair_separator='\n'")
    separated = cli.done(*settings, *llama, r"encoder.pair_separator='\n'")
    joined = tmp_path / "joined.csv"
    joined.write_text('text\n"one\ntwo"\n', encoding="utf-8")
    whole = cli.done("embed", "bank=none", f"corpus.path={joined}", SHORT, *llama)
    assert np.array_equal(vectors_of(separated), vectors_of(whole))


def test_encoder_of_a_gguf_file_is_converted_and_embeds(cli, lines, tmp_path):
    with stand_in_for_smollm2(tmp_path / "packages"):
        ran = cli.done("embed", "bank=none", "encoder=smollm2", f"corpus.path={lines}", SHORT)
        again = cli.done("embed", "bank=none", "encoder=smollm2", f"corpus.path={lines}", SHORT)
    assert ran.steps[0] == ("encoder", "smollm2", "note") and vectors_of(ran).shape == (3, 32)
    assert [step for *_, step in again.steps] == ["hit"]
    assert cli.done("cache", "ls", "converted-encoder").result[0]["step"] == "converted-encoder"


def test_bank_of_an_encoder_with_a_relative_path_works_in_every_folder(
    cli, tmp_path, lines, monkeypatch
):
    bare_llama(tmp_path / "llama")
    monkeypatch.chdir(tmp_path)
    cli.train("alpha", "encoder=folder", "encoder.path=llama", SHORT, "name=low")
    cli.done("combine", "prefixes=[low]", "name=low")
    here = vectors_of(cli.done("embed", "bank=low", f"corpus.path={lines}", SHORT))
    monkeypatch.chdir("/")
    there = cli.done("embed", "bank=low", f"corpus.path={lines}", SHORT, "--force")
    assert np.array_equal(vectors_of(there), here)
