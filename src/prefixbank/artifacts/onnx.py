"""Files of an ONNX export."""

MODEL, DESCRIBED = "model.onnx", "onnx.json"
VECTOR = "vector"
"""Name of the first output, the vector of each text."""
