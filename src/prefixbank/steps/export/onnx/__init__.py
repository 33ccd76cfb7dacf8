"""Export to ONNX: from token ids to vector and probabilities, in one file."""
