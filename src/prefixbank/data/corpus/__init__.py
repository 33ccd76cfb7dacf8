"""Texts without labels, of any size."""
