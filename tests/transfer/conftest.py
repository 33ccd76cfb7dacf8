"""Artifacts without an encoder, and a prepared store with one."""

# pytest finds fixtures by name here.
from tests.fixtures import prepared, put, quick_flush  # noqa: F401
