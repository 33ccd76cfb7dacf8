"""ONNX files: the same vectors and probabilities as prefixbank's, for batches of any size."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from prefixbank.core.blocks import BlockBank
from prefixbank.core.combine import Bank
from prefixbank.core.embed import embed_batches
from prefixbank.core.pooling import Pooling, PoolingWeights
from prefixbank.core.predictor import HeadModule, LinearHead, Predictor
from prefixbank.core.prefix import Prefix
from prefixbank.core.probe.solution import Solution
from prefixbank.core.prompt import SoftPrompt, word_table
from prefixbank.core.readout import Readout
from prefixbank.core.training.pooling import TrainablePooling
from prefixbank.data.encoders.batches import budget_batches
from prefixbank.data.encoders.encoder import CHECK_TEXTS, Encoder, load_encoder
from prefixbank.errors import EncoderError, UsageError
from prefixbank.steps.export.onnx import make
from tests.data.encoders.models import FAMILIES, MAX_TOKENS, files_in, write_encoder

MEAN = Pooling(position="mean", layers="last", last_k=1, layer=0)
SEVERAL = Pooling(
    position=("cls", "last", "max"), layers="concat_last", last_k=2, layer=0, norm="layer"
)
LEARNED = Pooling(
    position=("attention", "max"),
    layers="mix",
    last_k=1,
    layer=0,
    heads=2,
    size=6,
    skip_first=True,
)
BATCHES = (
    ["good"],
    ["a text", "red green blue"],
    ["a", "a somewhat longer text, so that the first one is padded, good or bad", "red", "blue"],
)


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def bank_of(kind: str, encoder: Encoder) -> Bank | BlockBank:
    """Two random prefixes of a kind."""
    size = word_table(encoder.model).shape[1]
    shape = encoder.shape.prefix_shape(3)
    if kind == "readout":
        readouts = [
            Readout(vectors=normal(2, size, seed=seed), slots=normal(*shape, seed=seed + 9))
            for seed in (1, 2)
        ]
        return BlockBank(readouts=tuple(readouts), plain=MEAN)
    prefixes = tuple(
        SoftPrompt(tensor=normal(3, size, seed=seed))
        if kind == "soft"
        else Prefix(tensor=normal(*shape, seed=seed))
        for seed in (1, 2)
    )
    passes = kind == "passes"
    if kind == "learned":
        parameters = TrainablePooling(LEARNED, encoder.shape, 0)
        weights = {name: normal(*one.shape, seed=3) for name, one in parameters.named_parameters()}
        return Bank(
            prefixes=prefixes,
            weights=(1.0, 1.0),
            rule="concat_prefixes",
            pooling=LEARNED,
            learned=(PoolingWeights.of(weights),) * 2,
        )
    return Bank(
        prefixes=prefixes,
        weights=(1.0, 1.0) if passes else (0.7, 0.2),
        rule="concat_vectors" if passes else "concat_prefixes",
        pooling=SEVERAL if kind == "deep" else MEAN,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "kind"),
    [
        ("BERT", "readout"),
        ("BERT", "deep"),
        ("BERT", "soft"),
        ("BERT", "passes"),
        ("BERT", "learned"),
        ("Llama", "deep"),
        ("Llama", "readout"),
    ],
)
def test_onnx_vectors_are_ours_for_other_batches_than_the_traced_one(tmp_path, family, kind):
    small = replace(FAMILIES[family], more={**FAMILIES[family].more, "num_hidden_layers": 2})
    encoder = load_encoder(files_in(write_encoder(tmp_path, small)), "cpu")
    bank = bank_of(kind, encoder)
    inputs = make.inputs_of(encoder, CHECK_TEXTS, MAX_TOKENS)
    predictor = Predictor(encoder.model, bank, [], list(inputs))
    make.translate(predictor, inputs, ["vector"], tmp_path / "model.onnx", "toy")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for texts in BATCHES:
        tokens = encoder.tokenize(texts, None, MAX_TOKENS)
        blocks = embed_batches(
            encoder.model, budget_batches(tokens, 64), bank, count=len(texts), precision="fp32"
        )
        inputs = tokens.batch(np.arange(len(texts))).inputs
        batch = {name: one.numpy() for name, one in inputs.items()}
        (found,) = session.run(["vector"], batch)
        assert np.allclose(found, np.concatenate(blocks, axis=1), rtol=0, atol=1e-5)


def softmax(x: np.ndarray) -> np.ndarray:
    return np.array([np.exp(row - row.max()) / np.exp(row - row.max()).sum() for row in x])


HEADS = {
    "classification": softmax,
    "multilabel": lambda x: 1 / (1 + np.exp(-x)),
    "regression": lambda x: x,
}


@pytest.mark.parametrize("temperature", [None, np.array([1.7]), np.array([0.4, 3.0])])
@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("kind", HEADS)
def test_head_is_the_formula_of_its_kind(kind, hidden, temperature):
    vectors, columns = normal(5, 6, seed=0).numpy(), np.array([4, 0, 3])
    mean, scale = normal(3, seed=1).double().numpy(), np.array([0.5, 2.0, 1.0])
    x = (vectors[:, columns] - mean) / scale
    outer, inner = normal(3, 4, seed=2).double().numpy(), normal(4, seed=3).double().numpy()
    inside = {"hidden_weights": outer, "hidden_bias": inner} if hidden else {}
    if hidden:
        x = np.tanh(x @ outer + inner)
    weights, bias = normal(x.shape[1], 2, seed=4).double().numpy(), np.array([0.3, -1e30])
    head = LinearHead(
        kind=kind,
        columns=columns,
        solution=Solution(weights=weights, bias=bias, **inside),
        mean=mean,
        scale=scale,
        temperature=temperature,
    )
    found = HeadModule(head)(torch.from_numpy(vectors)).numpy()
    decision = (x @ weights + bias) / (1 if temperature is None else temperature)
    with np.errstate(over="ignore"):
        assert np.allclose(found, HEADS[kind](decision), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("difference", [2e-4, float("nan")])
def test_file_that_computes_something_else_is_refused(difference):
    with pytest.raises(EncoderError, match="differs from prefixbank by .* in tone"):
        make.check({"vector": 1e-6, "tone": difference}, "toy")
    make.check({"vector": 1e-6, "tone": 1e-5}, "toy")


@pytest.mark.slow
def test_module_is_imported_without_the_extra():
    missing = "".join(f"sys.modules['{name}'] = " for name in make.PACKAGES)
    code = f"import sys; {missing}None; import prefixbank.steps.export.onnx.make"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_missing_package_is_named_with_the_extra_that_brings_it(monkeypatch):
    monkeypatch.setattr(make, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(UsageError, match="onnxscript, which is not installed") as caught:
        make.check_installed()
    assert caught.value.fix == "pip install 'prefixbank[onnx]'"
