"""Probe: fit a light model on frozen vectors."""
