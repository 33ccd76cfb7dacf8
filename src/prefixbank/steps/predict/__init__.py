"""Predict: what heads say of the vectors of a corpus."""
