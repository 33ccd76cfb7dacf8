"""Independent prefixes of one frozen encoder, combined into a bank that embeds texts."""

from __future__ import annotations

__version__ = "0.1.0.dev0"

_API = (
    "DEFAULT",
    "LoadedBank",
    "Options",
    "combine",
    "embed",
    "load_bank",
    "probe",
    "run",
    "search",
    "train_multitask",
    "train_prefix",
    "transfer_map",
    "transfer_retrieve",
    "transfer_similar",
)
__all__ = ["__version__", *_API]


def __getattr__(name: str) -> object:
    """Import the API on first use, so that `prefixbank --help` stays quick."""
    if name in _API:
        from prefixbank import api

        return getattr(api, name)
    raise AttributeError(f"module 'prefixbank' has no attribute '{name}'")
