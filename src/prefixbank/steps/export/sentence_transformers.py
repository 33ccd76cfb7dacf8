"""Step `export-sentence-transformers`: a bundle with its encoder, for that library."""

from __future__ import annotations

import json
from pathlib import Path

from prefixbank.artifacts.json_files import write_json
from prefixbank.artifacts.sentence_transformers import ENCODER, MODULE, MODULES, SETTINGS
from prefixbank.data.encoders.files import copy_encoder, describe_folder, reading_settings
from prefixbank.errors import raise_faults
from prefixbank.runtime.unit import Unit
from prefixbank.steps.export.bundle import write_bundle
from prefixbank.steps.export.source import Export
from prefixbank.store.key import JSON, document

STEP = "export-sentence-transformers"
VERSION = 1  # 1: first
USE = """\
```python
from sentence_transformers import SentenceTransformer

from prefixbank.sentence_transformers import BankModule

model = SentenceTransformer(modules=[BankModule.load("FOLDER")])
model.encode(["a text"])
```

`SentenceTransformer("FOLDER", trust_remote_code=True)` gives the same model: the library asks for
the flag because the module is a class of the package prefixbank and not its own. There is no code
in this folder. The folder is a bundle of prefixbank, too: `pb.load_bank("FOLDER/")`."""


def unit(export: Export) -> Unit:
    """Return the unit that makes the folder. Ref `export/<name>.sentence_transformers`.

    Raises:
        UsageError: the encoder changes texts before its tokenizer gets them, or the heads read
            other vectors than the model makes.
    """
    raise_faults([*export.text_faults(), *export.recipe_faults("a model of sentence-transformers")])
    bank, files, heads = export.bank, export.files, export.heads

    def make(out: Path, work: Path) -> JSON:
        write_bundle(export, out, USE)
        copy_encoder(files.folder, out / ENCODER)
        digest = describe_folder(out / ENCODER, files.origin, files.label).digest
        settings = {
            "encoder": {"digest": digest, **reading_settings(files.origin)},
            "max_length_tokens": export.recipe.max_length_tokens,
        }
        write_json(out / SETTINGS, settings)
        modules = [{"idx": 0, "name": "0", "path": "", "type": MODULE}]
        (out / MODULES).write_text(json.dumps(modules, indent=1) + "\n", encoding="utf-8")
        return {"bank": bank.key}

    key_document = document(
        step="export_sentence_transformers",
        version=VERSION,
        config=export.config,
        inputs=export.inputs,
    )
    return Unit(
        step=STEP,
        name=export.name,
        document=key_document,
        make=make,
        ref=("export", f"{export.name}.sentence_transformers"),
        note=lambda entry: f"bank {bank.short_key}, {len(heads)} heads",
        cheap=True,
        words=export.words,
    )
