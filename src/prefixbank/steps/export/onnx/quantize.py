"""Round the weights of an encoder in an ONNX file to integers of 8 bits."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from torch import nn

from prefixbank.errors import EncoderError

PRODUCT, TRANSPOSE = "MatMul", "Transpose"


def quantize_weights(path: Path, encoder: nn.Module, out: Path, label: str) -> None:
    """Write a file whose products with weights of the encoder are of integers of 8 bits.

    onnxruntime's dynamic quantiser does it: weights are rounded here, with a scale for each output
    feature, and the states that they are multiplied with when the file runs, with one scale for a
    whole batch. Prefixes, heads and embeddings of words keep their numbers.

    Args:
        path: the ONNX file.
        encoder: whose weights they are.
        out: the file to write.
        label: of the encoder, in errors.

    Raises:
        EncoderError: the file has no product with a weight of the encoder.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    model = onnx.load(path)
    weights = {_identity(each) for one in _matrices(encoder) for each in (one, one.T)}
    constants = [one for one in model.graph.initializer if len(one.dims) == 2]
    of_encoder = {one.name for one in constants if _identity(numpy_helper.to_array(one)) in weights}
    of_encoder |= fold_transposed(model.graph, of_encoder)
    products = [
        node.name
        for node in model.graph.node
        if node.op_type == PRODUCT and node.input[1] in of_encoder
    ]
    if not products:
        raise EncoderError(
            f"the ONNX file of {label} has no matrix product with a weight of the encoder",
            expected="an encoder of linear layers",
            fix="precision=fp32",
        )
    # Without this mark, onnxruntime warns through the root logger, and thereby sets that up.
    add_pre_process_metadata(model)
    quantize_dynamic(
        model,
        out,
        op_types_to_quantize=[PRODUCT],
        nodes_to_quantize=products,
        per_channel=True,
        weight_type=QuantType.QInt8,
    )


def fold_transposed(graph: onnx.GraphProto, names: set[str]) -> set[str]:
    """Replace nodes that transpose constants by constants, and return the names of these.

    A weight that several products share is transposed by a node, and the quantiser, which looks for
    constants, would pass over all of them without a word.

    Args:
        graph: changed in place.
        names: of the constants [I, O] whose transposes are wanted.
    """
    values = {one.name: one for one in graph.initializer if one.name in names}
    folded = [node for node in graph.node if node.op_type == TRANSPOSE and node.input[0] in values]
    for node in folded:
        transposed = np.ascontiguousarray(numpy_helper.to_array(values[node.input[0]]).T)
        graph.initializer.append(numpy_helper.from_array(transposed, node.output[0]))
        graph.node.remove(node)
    used = {name for node in graph.node for name in node.input}
    for one in list(values.values()):
        if one.name not in used:
            graph.initializer.remove(one)
    return {node.output[0] for node in folded}


def _matrices(encoder: nn.Module) -> list[np.ndarray]:
    """Return the weights [O, I] of an encoder."""
    return [one.detach().float().numpy() for one in encoder.parameters() if one.ndim == 2]


def _identity(matrix: np.ndarray) -> tuple[tuple[int, ...], str]:
    """Return what equal matrices have in common: exporting renames weights, and transposes some."""
    return matrix.shape, hashlib.sha256(np.ascontiguousarray(matrix).tobytes()).hexdigest()
