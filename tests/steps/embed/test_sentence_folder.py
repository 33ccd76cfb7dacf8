"""Vectors of a sentence-transformers folder, and how banks on it pool."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from prefixbank.artifacts.pooling import pooling_of
from prefixbank.commands.invocation import Invocation
from tests.commands import call
from tests.data.encoders.sentence_models import cased, write_model

TEXTS = ("The FOOD was good", "a bad and noisy place", "Warm")


@pytest.fixture
def embedded(tmp_path, store):
    """Return what embeds TEXTS with the plain encoder of a folder."""

    def run(folder: Path, *settings: str) -> np.ndarray:
        path = tmp_path / "lines.txt"
        path.write_text("".join(f"{text}\n" for text in TEXTS), encoding="utf-8")
        made = call(
            "embed",
            "bank=none",
            "encoder=folder",
            f"encoder.path={folder}",
            f"corpus.path={path}",
            *settings,
            invocation=Invocation(store=store.root),
        )
        table = parquet.read_table(made.entry.path / "part-00000.parquet")
        return np.array(table["vector"].to_pylist(), dtype=np.float32)

    return run


@pytest.mark.parametrize("position", ["cls", "max", "mean", "lasttoken"])
@pytest.mark.parametrize("normalize", [True, False])
def test_vectors_are_those_of_a_plain_loop(tmp_path, embedded, position, normalize):
    modules = ("Transformer", "Pooling", "Normalize")[: 3 if normalize else 2]
    folder = write_model(tmp_path / "m", {"pooling_mode": position}, modules=modules)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    expected = []
    for text in TEXTS:
        with torch.no_grad():
            states = model.eval()(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        of_tokens = {"cls": states[0], "lasttoken": states[-1], "max": states.amax(dim=0)}
        vector = of_tokens.get(position, states.mean(dim=0)).numpy()
        expected.append(vector / np.linalg.norm(vector) if normalize else vector)
    np.testing.assert_allclose(embedded(folder), expected, atol=1e-5)


@pytest.mark.parametrize("read", [{"max_seq_length": 128}, {"do_lower_case": True}])
def test_vectors_are_those_of_sentence_transformers(tmp_path, embedded, read):
    library = pytest.importorskip("sentence_transformers")
    folder = cased(
        write_model(
            tmp_path / "m",
            {"pooling_mode": "cls", "embedding_dimension": 64},
            modules=("Transformer", "Pooling", "Normalize"),
            read=read,
        )
    )
    expected = library.SentenceTransformer(str(folder), device="cpu").encode(list(TEXTS))
    np.testing.assert_allclose(embedded(folder), expected, atol=1e-5)


def test_bank_pools_as_the_folder_of_its_prefixes_unless_told(tmp_path, prepared, store):
    folder = write_model(tmp_path / "m", {"pooling_mode": "cls"})
    options = Invocation(store=store.root)
    trained = call(
        "train-prefix",
        "task=folder",
        f"task.path={prepared.tasks / 'alpha'}",
        "encoder=folder",
        f"encoder.path={folder}",
        "prefix.length=2",
        "optim.epochs=0",
        invocation=options,
    )
    banks = [
        call("combine", "prefixes=[alpha]", "name=one", *settings, invocation=options)
        for settings in ((), ("pooling=mean",))
    ]
    positions = [pooling_of(made.entry).position for made in (trained, *banks)]
    assert positions == ["cls", "cls", "mean"]
