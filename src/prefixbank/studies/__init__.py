"""Experiments: whole graphs of units, and their reports."""
