"""An export as a model of sentence-transformers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

import prefixbank as pb
from prefixbank.errors import DamagedError, UsageError
from prefixbank.sentence_transformers import BankModule
from tests.cli.command import CommandLine

# pytest finds fixtures by name.
from tests.fixtures import (  # noqa: F401
    encoders_loaded_once,
    merge_once,
    prepared,
    quick_flush,
    shared_encoders,
    shared_settings,
)
from tests.prepared import Prepared, copy_store

TEXTS = ["the food was good", "a bad and noisy place, " * 60, "warm"]
READOUT = ("prefix.kind=readout", "prefix.readouts=1")


@pytest.fixture
def cli(prepared: Prepared, user_store: Path) -> CommandLine:  # noqa: F811
    return CommandLine(store=copy_store(prepared.store, user_store), tasks=prepared.tasks)


@pytest.fixture
def folder(cli, tmp_path) -> Path:
    return exported(cli, "demo", tmp_path / "st")


def exported(cli, bank: str, out: Path) -> Path:
    cli.done("export", f"bank={bank}", "format=sentence_transformers", f"--out={out}")
    return out


def load(folder: Path, **options) -> SentenceTransformer:
    return SentenceTransformer(modules=[BankModule.load(str(folder))], device="cpu", **options)


@pytest.mark.parametrize("kind", ["deep", "readout"])
def test_model_embeds_as_the_bank_does(cli, tmp_path, kind):
    if kind == "readout":
        cli.train("alpha", *READOUT, "name=mood")
        cli.done("combine", "prefixes=[mood]", "name=demo")
    model = load(exported(cli, "demo", tmp_path / "st"))
    expected = pb.load_bank("demo").embed(TEXTS)
    assert np.allclose(model.encode(TEXTS, batch_size=2), expected, rtol=0, atol=1e-5)
    assert model.get_embedding_dimension() == expected.shape[1]


def test_model_embeds_pairs_as_the_bank_does(folder):
    pairs = [("a good room", "a bad bath"), ("warm", "the food was good")]
    expected = pb.load_bank("demo").embed(*map(list, zip(*pairs, strict=True)))
    assert np.allclose(load(folder).encode(pairs), expected, rtol=0, atol=1e-5)


def test_prompt_stands_in_front_of_texts(folder):
    found = load(folder).encode(["good food"], prompt="the ")
    assert np.allclose(found, pb.load_bank("demo").embed(["the good food"]), rtol=0, atol=1e-5)


def test_path_alone_loads_with_the_flag_for_classes_of_other_packages(folder):
    with pytest.raises(ValueError, match="trust_remote_code=True"):
        SentenceTransformer(str(folder), device="cpu")
    assert not list(folder.rglob("*.py"))
    model = SentenceTransformer(str(folder), trust_remote_code=True, device="cpu")
    assert np.allclose(model.encode(TEXTS), pb.load_bank("demo").embed(TEXTS), rtol=0, atol=1e-5)


def test_folder_needs_neither_store_nor_the_encoder_where_it_was(cli, folder):
    expected = pb.load_bank("demo").embed(TEXTS)
    shutil.rmtree(cli.store)
    assert np.allclose(load(folder).encode(TEXTS), expected, rtol=0, atol=1e-5)


def test_saved_model_is_the_same_with_its_new_length(folder, tmp_path):
    model = load(folder)
    model.max_seq_length = 6
    model.save(str(tmp_path / "saved"))
    again = load(tmp_path / "saved")
    short = pb.load_bank("demo", recipe=pb.EmbedRecipe(max_length_tokens=6)).embed(TEXTS)
    assert again.max_seq_length == 6
    assert np.allclose(again.encode(TEXTS), short, rtol=0, atol=1e-5)


def test_folder_is_a_bundle(folder):
    assert np.array_equal(
        pb.load_bank(f"{folder}/").embed(TEXTS), pb.load_bank("demo").embed(TEXTS)
    )


def test_altered_encoder_is_refused(folder):
    path = folder / "encoder" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**config, "layer_norm_eps": 0.1}), encoding="utf-8")
    with pytest.raises(DamagedError, match="encoder .* was altered"):
        load(folder)


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(UsageError, match="there is no bundle.json"):
        BankModule.load(str(tmp_path))
