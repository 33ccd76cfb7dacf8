"""Probes: light models on frozen vectors."""
