"""Artifacts without an encoder, and a prepared store with one."""

# pytest finds fixtures by name here.
from tests.fixtures import (  # noqa: F401
    encoders_loaded_once,
    merge_once,
    prepared,
    put,
    quick_flush,
    shared_encoders,
    shared_settings,
)
