"""Prefix attention, training, combination, probes: tensors in, tensors out."""
