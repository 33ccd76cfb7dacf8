"""ONNX files of int8: what is rounded, by how much, and what is left as it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from prefixbank.core.predictor import LinearHead, Predictor
from prefixbank.core.probe.solution import Solution
from prefixbank.data.encoders.encoder import CHECK_TEXTS, Encoder, load_encoder
from prefixbank.errors import EncoderError
from prefixbank.steps.export.onnx import make
from prefixbank.steps.export.onnx.quantize import fold_transposed, quantize_weights
from tests.data.encoders.models import FAMILIES, MAX_TOKENS, files_in, write_encoder
from tests.steps.export.onnx.test_make import BATCHES, bank_of, normal

LARGE = {"hidden_size": 128, "num_hidden_layers": 1}
"""So many features that the exporter leaves weights that are used twice to be transposed later."""
PRODUCTS = ("query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense")


@pytest.fixture(scope="module", params=["deep", pytest.param("readout", marks=pytest.mark.slow)])
def files(request, tmp_path_factory) -> tuple[Encoder, Path, Path]:
    """An encoder, and a file of float32 and one of int8 of a bank with a head."""
    folder = tmp_path_factory.mktemp(request.param)
    small = replace(FAMILIES["BERT"], more=LARGE)
    encoder = load_encoder(files_in(write_encoder(folder, small)), "cpu")
    bank = bank_of(request.param, encoder)
    columns = np.arange(128)
    head = LinearHead(
        kind="classification",
        columns=columns,
        solution=Solution(
            weights=normal(128, 3, seed=5).double().numpy() / 10, bias=np.array([0.1, 0.0, -0.1])
        ),
        mean=None,
        scale=None,
    )
    inputs = make.inputs_of(encoder, CHECK_TEXTS, MAX_TOKENS)
    predictor = Predictor(encoder.model, bank, [head], list(inputs))
    make.translate(predictor, inputs, ["vector", "tone"], folder / "fp32.onnx", "toy")
    quantize_weights(folder / "fp32.onnx", encoder.model, folder / "int8.onnx", "toy")
    return encoder, folder / "fp32.onnx", folder / "int8.onnx"


def constants(path: Path) -> dict[str, np.ndarray]:
    graph = onnx.load(path).graph
    return {one.name: numpy_helper.to_array(one) for one in graph.initializer}


def linear_weights(encoder: Encoder) -> list[np.ndarray]:
    """Weights [I, O] of the products of all layers."""
    return [
        one.detach().numpy().T
        for name, one in encoder.model.named_parameters()
        if name.endswith(tuple(f"{product}.weight" for product in PRODUCTS))
    ]


def test_each_weight_of_the_encoder_is_rounded_to_int8_with_a_scale_for_each_output(files):
    encoder, _, path = files
    found = constants(path)
    rounded = {name: one for name, one in found.items() if one.dtype == np.int8 and one.ndim == 2}
    weights = linear_weights(encoder)

    def is_of(name: str, weight: np.ndarray) -> bool:
        scale = found[f"{name.removesuffix('_quantized')}_scale"]
        if rounded[name].shape != weight.shape or scale.shape != weight.shape[1:]:
            return False
        return bool((np.abs(rounded[name] * scale - weight) <= scale / 2 * (1 + 1e-5)).all())

    matches = np.array([[is_of(name, weight) for weight in weights] for name in rounded])
    assert len(weights) == 6 and (matches.sum(axis=1) == 1).all() and matches.any(axis=0).all()


def test_no_weight_of_the_encoder_is_left_in_float(files):
    encoder, before, after = files
    weights = linear_weights(encoder)

    def left(path: Path) -> int:
        kept = [one for one in constants(path).values() if one.dtype == np.float32]
        return sum(
            any(np.array_equal(one, w) or np.array_equal(one, w.T) for w in weights) for one in kept
        )

    assert left(before) >= 6 and left(after) == 0


def test_every_product_with_a_weight_of_the_encoder_is_of_integers(files):
    _, before, after = files
    graphs = [onnx.load(path).graph for path in (before, after)]
    counts = [
        {
            kind: sum(node.op_type == kind for node in graph.node)
            for kind in ("MatMul", "MatMulInteger")
        }
        for graph in graphs
    ]
    # Read-outs pass all layers a second time.
    assert counts[0]["MatMulInteger"] == 0 and counts[1]["MatMulInteger"] in (6, 12)
    assert counts[1]["MatMul"] == counts[0]["MatMul"] - counts[1]["MatMulInteger"] > 0


def test_embeddings_prefixes_and_heads_keep_their_bytes(files):
    encoder, before, after = files
    weights = linear_weights(encoder)
    kept = [
        one
        for one in constants(before).values()
        if one.dtype == np.float32
        and one.ndim > 1
        and not any(np.array_equal(one, w) or np.array_equal(one, w.T) for w in weights)
    ]
    found = [one for one in constants(after).values() if one.dtype == np.float32]
    assert len(kept) > 4  # words, positions, types, the head, and slots of the prefixes
    assert all(any(np.array_equal(one, other) for other in found) for one in kept)


def run(path: Path, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def test_int8_outputs_are_near_for_other_batches_than_the_traced_one(files):
    encoder, before, after = files
    sizes = set()
    for texts in BATCHES:
        tokens = make.inputs_of(encoder, texts, MAX_TOKENS)
        inputs = {name: one.numpy() for name, one in tokens.items()}
        sizes.add(inputs["input_ids"].shape)
        (one, said), (other, told) = run(before, inputs), run(after, inputs)
        assert other.shape == one.shape and told.shape == said.shape
        cosines = [
            a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(one, other, strict=True)
        ]
        assert min(cosines) > 0.97 and not np.array_equal(one, other)
        assert np.abs(told - said).max() < 0.1 and np.allclose(told.sum(axis=1), 1)
    assert len(sizes) == len(BATCHES)
    traced = make.inputs_of(encoder, CHECK_TEXTS, MAX_TOKENS)["input_ids"].shape
    assert tuple(traced) not in sizes


def test_axes_keep_their_names(files):
    _, _, path = files
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert all(one.shape == ["batch", "tokens"] for one in session.get_inputs())
    assert [one.shape[0] for one in session.get_outputs()] == ["batch", "batch"]


def test_file_without_a_weight_of_the_encoder_is_refused(files, tmp_path):
    _, before, _ = files
    with pytest.raises(EncoderError, match="toy has no matrix product with a weight") as caught:
        quantize_weights(before, nn.Linear(4, 4), tmp_path / "none.onnx", "toy")
    assert caught.value.fix == "precision=fp32" and not (tmp_path / "none.onnx").exists()


def test_quantising_leaves_the_root_logger_alone(files, tmp_path):
    import logging

    encoder, before, _ = files
    handlers = list(logging.getLogger().handlers)
    quantize_weights(before, encoder.model, tmp_path / "again.onnx", "toy")
    assert logging.getLogger().handlers == handlers


def test_weight_that_two_products_share_is_transposed_once_and_for_all():
    weight, other = normal(3, 2, seed=0).numpy(), normal(3, 2, seed=1).numpy()
    graph = helper.make_graph(
        [
            helper.make_node("Transpose", ["w"], ["wt"], perm=[1, 0]),
            helper.make_node("Transpose", ["v"], ["vt"], perm=[1, 0]),
            helper.make_node("MatMul", ["x", "wt"], ["y"]),
            helper.make_node("MatMul", ["x", "wt"], ["z"]),
            helper.make_node("MatMul", ["x", "vt"], ["u"]),
        ],
        "two",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in "yzu"],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(other, "v")],
    )
    assert fold_transposed(graph, {"w"}) == {"wt"}
    found = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    assert found.keys() == {"v", "wt"} and np.array_equal(found["wt"], weight.T)
    assert [node.op_type for node in graph.node] == ["Transpose", "MatMul", "MatMul", "MatMul"]
    onnx.checker.check_model(helper.make_model(graph))


def test_rows_are_compared_by_the_cosine():
    one = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]).double().numpy()
    other = np.array([[2.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    found = make.row_cosines(one, other)
    assert found[:2] == pytest.approx([1, np.sqrt(0.5)]) and np.isnan(found[2])


def test_flags_are_equal_only_in_every_column():
    one, other = np.array([[1, 0], [1, 1], [0, 0]]), np.array([[1, 0], [1, 0], [1, 1]])
    assert make.equal_rows(one, other).tolist() == [True, False, False]
    assert make.equal_rows(np.array([2, 1]), np.array([2, 0])).tolist() == [True, False]


@pytest.mark.parametrize("centred", [[0.9, 0.8], [1.0, float("nan")]])
def test_int8_file_that_tells_texts_apart_in_another_way_is_refused(centred):
    with pytest.raises(EncoderError, match="the int8 ONNX file of toy computes other") as caught:
        make.check_cosine(np.array(centred), "toy")
    assert caught.value.expected == "at least 0.9" and "precision=fp32" in caught.value.fix
    make.check_cosine(np.array([0.95, 0.9]), "toy")
