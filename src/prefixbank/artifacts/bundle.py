"""Bundles: a folder with a bank and probes on it, which other stores and machines can read.

    bundle.json      format, encoder, names
    README.md        a model card
    bank/            the bank's artifact with its entry.json
    head-0/ ...      the artifact of each probe

Artifacts keep their keys and digests, and every file is checked when it is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from prefixbank.artifacts.encoder import kind_of
from prefixbank.artifacts.onnx import DESCRIBED as ONNX
from prefixbank.artifacts.peft import CONFIG as PEFT
from prefixbank.artifacts.sentence_transformers import ENCODER, MODULES, SETTINGS
from prefixbank.errors import DamagedError, UsageError
from prefixbank.names import check_name
from prefixbank.store.artifact import Entry, read_entry
from prefixbank.store.key import JSON

BUNDLE, CARD, BANK = "bundle.json", "README.md", "bank"
HEAD = "head-"
"""What the folders of probes begin with."""
FORMAT = 1
EXPECTED = "a folder of `prefixbank export`, format=bundle or sentence_transformers"
WHOLE = "copy the whole folder again    or export it again"
OTHERS = {ONNX: "an ONNX export, which onnxruntime runs", PEFT: "an adapter, which PEFT loads"}
"""What a folder is that has one of these files and no bundle."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A bundle on disk.

    Args:
        path: its folder.
        name: of the bank.
        bank: the bank's artifact.
        probes: the artifact of each probe, by name.
        heads: all heads in order, as `heads=` names them.
    """

    path: Path
    name: str
    bank: Entry
    probes: Mapping[str, Entry]
    heads: tuple[str, ...]


def is_path(text: str) -> bool:
    """Whether a bank's name is the path of a folder: `./demo` or `demo/`, while `demo` is a ref."""
    if "/" not in text or text.startswith("bank/") or kind_of(text):
        return False
    is_written_as_path = text.endswith("/") or text.startswith((".", "/", "~"))
    return is_written_as_path or Path(text).expanduser().is_dir()


def is_part(name: str) -> bool:
    """Whether a file below a bundle is the bundle's own; there may be others beside them."""
    folder = name.partition("/")[0]
    return name in (BUNDLE, CARD) or folder == BANK or folder.startswith(HEAD)


def is_exported(name: str) -> bool:
    """Whether a file is a bundle's own, or makes it a model of sentence-transformers."""
    return is_part(name) or name in (MODULES, SETTINGS) or name.startswith(f"{ENCODER}/")


def files_of(bundle: Bundle) -> list[str]:
    """Return the names of all files in a bundle's folder that were exported, after a check.

    `bundle.json` comes last: a folder without it is no bundle, so neither is half of a copy.

    Raises:
        DamagedError: a file differs from what was exported.
    """
    check_files(bundle)
    paths = sorted(path for path in bundle.path.rglob("*") if path.is_file())
    names = [path.relative_to(bundle.path).as_posix() for path in paths]
    return [*(name for name in names if is_exported(name) and name != BUNDLE), BUNDLE]


def check_files(bundle: Bundle) -> None:
    """Raise DamagedError if a file of an artifact in a bundle was altered."""
    for entry in (bundle.bank, *bundle.probes.values()):
        for name in entry.files:
            entry.file(name)


def read_bundle(text: str) -> Bundle:
    """Read a bundle.

    Raises:
        UsageError: there is no bundle, `bundle.json` cannot be read, or a newer version of
            prefixbank wrote it.
        DamagedError: an artifact in it is damaged.
    """
    path = Path(text).expanduser().absolute()
    _refuse_other(path)
    try:
        described: JSON = json.loads((path / BUNDLE).read_text(encoding="utf-8"))
        found, name, heads = described["format"], described["name"], described["heads"]
        folders = {one["name"]: one["folder"] for one in heads if "folder" in one}
        names = tuple(one.get("source") or one["name"] for one in heads)
        for folder in folders.values():
            check_name("folder", folder)  # none leads out of the bundle
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path / BUNDLE} cannot be read: {type(error).__name__} {error}",
            expected=EXPECTED,
            fix=WHOLE,
        ) from error
    if found != FORMAT:
        raise UsageError(
            f"{path} is a bundle of format {found}",
            expected=f"format {FORMAT}, which this version of prefixbank reads",
            fix="install the version of prefixbank that wrote it",
        )
    try:
        bank = read_entry(path / BANK)
        probes = {name: read_entry(path / folder) for name, folder in folders.items()}
    except DamagedError as error:
        raise DamagedError(error.what, expected=error.expected, fix=WHOLE) from error
    return Bundle(path=path, name=name, bank=bank, probes=probes, heads=names)


def _refuse_other(path: Path) -> None:
    """Refuse a folder that is not there, or holds something else."""
    if (path / BUNDLE).exists():
        return
    if not path.exists():
        raise UsageError(
            f"there is no folder {path}",
            expected=EXPECTED,
            fix="correct the path    or, for a name in the store, write it without slashes",
        )
    found = [what for file, what in OTHERS.items() if (path / file).exists()]
    what = found[0] if found else f"no bundle: there is no {BUNDLE} in it"
    raise UsageError(
        f"{path} is {what}",
        expected=EXPECTED,
        fix="prefixbank export bank=NAME --out FOLDER    writes one",
    )
