"""Environment variables and platform folders; no other module reads them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import platformdirs

from prefixbank.errors import UsageError

STORE_VARIABLE = "PREFIXBANK_STORE"
READ_VARIABLE = "PREFIXBANK_STORE_READ"
CONF_VARIABLE = "PREFIXBANK_CONF_DIR"
OPENMP_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""Variables that say how idle OpenMP threads wait, in GNU's runtime and in LLVM's."""


def store_root(
    flag: str | Path | None = None,
    *,
    default: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Path:
    """Return the absolute path of the store's folder, which need not exist.

    Args:
        flag: value of `--store`; None without the flag.
        default: what comes before the user's cache folder.
        environ: environment to read; None reads that of this process.

    Returns:
        The flag if there is one, else `PREFIXBANK_STORE` if it is set and not empty, else
        `default`, else `store` in prefixbank's user cache folder.

    Raises:
        UsageError: the flag is an empty string (most often an unset shell variable).
    """
    if flag is not None and not str(flag):
        raise UsageError(
            "--store is empty",
            expected="a folder",
            fix=f"leave --store out to use {store_root(default=default, environ=environ)}",
        )
    named = flag or (os.environ if environ is None else environ).get(STORE_VARIABLE) or default
    folder = (
        Path(named)
        if named
        else platformdirs.user_cache_path("prefixbank", appauthor=False) / "store"
    )
    return folder.expanduser().absolute()


def read_roots(*, environ: Mapping[str, str] | None = None) -> tuple[Path, ...]:
    """Return the absolute paths in `PREFIXBANK_STORE_READ`: stores that are only read.

    Several are separated as in PATH.
    """
    listed = (os.environ if environ is None else environ).get(READ_VARIABLE, "")
    return tuple(Path(one).expanduser().absolute() for one in listed.split(os.pathsep) if one)


def is_set(variable: str, *, environ: Mapping[str, str] | None = None) -> bool:
    """Return whether a variable is set and not empty."""
    return bool((os.environ if environ is None else environ).get(variable))


def conf_dir(*, environ: Mapping[str, str] | None = None) -> Path | None:
    """Return the absolute path in `PREFIXBANK_CONF_DIR`, the user's YAML files; None without it."""
    named = (os.environ if environ is None else environ).get(CONF_VARIABLE)
    return Path(named).expanduser().absolute() if named else None


def hub_is_offline(*, environ: Mapping[str, str] | None = None) -> bool:
    """Return whether HF_HUB_OFFLINE keeps the hub's library off the network."""
    return (os.environ if environ is None else environ).get("HF_HUB_OFFLINE", "").upper() in (
        "1",
        "ON",
        "YES",
        "TRUE",
    )


def environment_with(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a child process: that of this one, with `variables` changed."""
    return {**os.environ, **variables}


def set_default(variable: str, value: str) -> None:
    """Set a variable for libraries that read it, unless the user has set it."""
    os.environ.setdefault(variable, value)


def let_idle_threads_sleep() -> None:
    """Let OpenMP threads that wait for work sleep, unless the user chose how they wait.

    By default they spin for milliseconds, and take the cores from other processes. The runtime
    (libgomp or libomp, which torch brings) reads this once, when it is loaded.
    """
    if not any(variable in os.environ for variable in OPENMP_WAITING):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def gpu_name(index: int, *, environ: Mapping[str, str] | None = None) -> str:
    """Return the name in CUDA_VISIBLE_DEVICES of the visible GPU with this index."""
    visible = (os.environ if environ is None else environ).get("CUDA_VISIBLE_DEVICES", "")
    return visible.split(",")[index].strip() if visible else str(index)
