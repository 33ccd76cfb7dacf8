"""Where things lie on this machine.

The only reader of environment variables and platform folders.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import platformdirs

from prefixbank.errors import UsageError

STORE_VARIABLE = "PREFIXBANK_STORE"


def store_root(flag: str | Path | None = None, *, environ: Mapping[str, str] | None = None) -> Path:
    """Return the absolute folder of the store; it need not exist.

    Args:
        flag: value of `--store`; None when the flag was not given.
        environ: environment to read; None reads that of this process.

    Returns:
        The flag if given, else `PREFIXBANK_STORE` if set and not empty, else `store` in the user's
        cache folder of prefixbank.

    Raises:
        UsageError: the flag is an empty text (most often an unset shell variable).
    """
    if flag is not None and not str(flag):
        raise UsageError(
            "--store is empty",
            expected="a folder",
            fix=f"leave --store out to use {store_root(environ=environ)}",
        )
    named = flag or (os.environ if environ is None else environ).get(STORE_VARIABLE)
    folder = (
        Path(named)
        if named
        else platformdirs.user_cache_path("prefixbank", appauthor=False) / "store"
    )
    return folder.expanduser().absolute()


def hub_is_offline(*, environ: Mapping[str, str] | None = None) -> bool:
    """Say whether HF_HUB_OFFLINE keeps the hub's library from the network."""
    return (os.environ if environ is None else environ).get("HF_HUB_OFFLINE", "").upper() in (
        "1",
        "ON",
        "YES",
        "TRUE",
    )


def environment_with(variables: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with some variables changed, for a child process."""
    return {**os.environ, **variables}


def set_default(variable: str, value: str) -> None:
    """Set a variable for libraries that read it, unless the user has."""
    os.environ.setdefault(variable, value)


def gpu_name(place: int, *, environ: Mapping[str, str] | None = None) -> str:
    """Return what CUDA_VISIBLE_DEVICES calls the GPU at a place among those visible here."""
    visible = (os.environ if environ is None else environ).get("CUDA_VISIBLE_DEVICES", "")
    return visible.split(",")[place].strip() if visible else str(place)
