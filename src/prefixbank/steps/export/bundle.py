"""Step `export`: a bank and heads on it as a bundle, and its way back into a store."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from prefixbank.artifacts.bundle import BANK, BUNDLE, CARD, FORMAT, HEAD, Bundle, check_files
from prefixbank.artifacts.json_files import write_json
from prefixbank.artifacts.source_head import all_block_names
from prefixbank.errors import UsageError
from prefixbank.runtime.unit import Unit
from prefixbank.steps.export.card import model_card
from prefixbank.steps.export.source import Export
from prefixbank.steps.predict.heads import SOURCE
from prefixbank.store.artifact import ENTRY_FILE, Entry
from prefixbank.store.key import JSON, document
from prefixbank.store.store import Store

STEP = "export"
VERSION = 2  # 1: first; 2: the encoder is in the key
USE = """\
```console
$ prefixbank predict bank=FOLDER corpus.path=new.csv --out {name}-predictions
$ prefixbank import path=FOLDER name={name}
```

```python
import prefixbank as pb

pb.load_bank("FOLDER").predict(["a text"])
```"""


def unit(export: Export) -> Unit:
    """Return the unit that makes a bundle. Ref `export/<name>`."""
    bank, heads, name = export.bank, export.heads, export.name

    def make(out: Path, work: Path) -> JSON:
        write_bundle(export, out, USE.format(name=name))
        return {"bank": bank.key}

    key_document = document(
        step="export",
        version=VERSION,
        config={"name": name, "license": export.license, "heads": [head.name for head in heads]},
        inputs=export.inputs,
    )
    return Unit(
        step=STEP,
        name=name,
        document=key_document,
        make=make,
        ref=("export", name),
        note=lambda entry: f"bank {bank.short_key}, {len(heads)} heads",
        cheap=True,
        words=export.words,
    )


def write_bundle(export: Export, out: Path, use: str) -> None:
    """Write the files of a bundle.

    Args:
        export: what is exported.
        out: the folder.
        use: how the model card says that it is used, in Markdown.
    """
    bank, heads = export.bank, export.heads
    probes = [head for head in heads if head.source is None]
    folders = {head.name: f"{HEAD}{index}" for index, head in enumerate(probes)}
    _copy(bank, out / BANK)
    for head in probes:
        _copy(head.entry, out / folders[head.name])
    described = [
        {"name": head.name}
        | (
            {"folder": folders[head.name]}
            if head.source is None
            else {"source": f"{SOURCE}{head.name}"}
        )
        for head in heads
    ]
    write_json(
        out / BUNDLE,
        {
            "format": FORMAT,
            "name": export.name,
            "bank": {"key": bank.key, "digest": bank.digest},
            "encoder": {
                "digest": bank.document["inputs"]["encoder"],
                **bank.info["encoder"],
            },
            "blocks": all_block_names(bank),
            "heads": described,
        },
    )
    (out / CARD).write_text(model_card(export, use), encoding="utf-8")


def units_of(store: Store, bundle: Bundle, name: str, origin: Mapping[str, str]) -> list[Unit]:
    """Return the units that put the artifacts of a bundle into a store, the bank first.

    Args:
        store: where to.
        bundle: what.
        name: of the bank there; probes are `<head>@<name>`.
        origin: where the bundle comes from, for the artifacts' facts; empty: a folder here.

    Raises:
        DamagedError: a file differs from what was exported.
        UsageError: the store has another artifact of the same key.
    """
    check_files(bundle)
    refs = {("bank", name): bundle.bank} | {
        ("probe", f"{head}@{name}"): probe for head, probe in bundle.probes.items()
    }
    for entry in refs.values():
        ours = store.get(entry.key)
        if ours is not None and ours.digest != entry.digest:
            raise UsageError(
                f"{entry.step} {entry.short_key} of the bundle has other bytes than that of the "
                f"store at {store.root}",
                expected="a store without this artifact, or with the same one",
                fix="use the bundle where it is: bank=./FOLDER    or another store: --store PATH",
            )

    def unit_of(ref: tuple[str, str], entry: Entry) -> Unit:
        def make(out: Path, work: Path) -> JSON:
            _copy_files(entry, out)
            # The prefixes of this store are others, also where they have the same names.
            own: JSON = {"from": {}} if "from" in entry.info else {}
            pulled = {"pulled": dict(origin)} if origin else {}
            return {**entry.info, **own, **pulled}

        return Unit(
            step=entry.step,
            name=ref[1],
            document=entry.document,
            make=make,
            ref=ref,
            ref_facts={"from": {}, "named": entry.info["named"]} if ref[0] == "bank" else None,
            cheap=True,
        )

    return [unit_of(ref, entry) for ref, entry in refs.items()]


def _copy(entry: Entry, out: Path) -> None:
    """Copy an artifact with its description."""
    _copy_files(entry, out)
    shutil.copyfile(entry.path / ENTRY_FILE, out / ENTRY_FILE)


def _copy_files(entry: Entry, out: Path) -> None:
    """Copy the files of an artifact; each is checked."""
    for file in entry.files:
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(entry.file(file), out / file)
