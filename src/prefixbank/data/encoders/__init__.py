"""Encoders, their files and their tokens."""
