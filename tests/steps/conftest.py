"""Artifacts without an encoder, and a prepared store with one."""

from tests.fixtures import prepared, put, quick_flush  # noqa: F401  # pytest finds fixtures by name here
