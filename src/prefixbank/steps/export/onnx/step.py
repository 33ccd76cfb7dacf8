"""Step `export-onnx`: a bank and heads on it as one ONNX file with its tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from prefixbank.artifacts.bundle import CARD
from prefixbank.artifacts.json_files import read_json, write_json
from prefixbank.artifacts.onnx import DESCRIBED, VECTOR
from prefixbank.artifacts.probe import PROBE
from prefixbank.choices import OnnxPrecision
from prefixbank.data.encoders.files import EncoderFiles
from prefixbank.errors import UsageError, raise_faults
from prefixbank.runtime.session import Session
from prefixbank.runtime.unit import Unit
from prefixbank.steps.export.card import model_card
from prefixbank.steps.export.source import Export
from prefixbank.steps.predict.heads import Head
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON, document

STEP = "export-onnx"
VERSION = 1  # 1: first
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
USE = """\
`model.onnx` takes token ids and returns the vector of each text and what each head says of it;
`onnx.json` names inputs, outputs and labels. `tokenizer.json` truncates and pads. This needs
onnxruntime, tokenizers and numpy, and neither prefixbank nor torch:

```python
import json

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

described = json.load(open("FOLDER/onnx.json", encoding="utf-8"))
tokenizer = Tokenizer.from_file("FOLDER/tokenizer.json")
session = onnxruntime.InferenceSession("FOLDER/model.onnx")

encodings = tokenizer.encode_batch(["a text", "another, somewhat longer text"])
ids = {
    "input_ids": [one.ids for one in encodings],
    "attention_mask": [one.attention_mask for one in encodings],
    "token_type_ids": [one.type_ids for one in encodings],
}
inputs = {name: np.array(ids[name], dtype=np.int64) for name in described["inputs"]}
(vectors,) = session.run(["vector"], inputs)
for head in described["heads"]:
    (probabilities,) = session.run([head["name"]], inputs)
    print(head["name"], head["labels"], probabilities)
```

A pair of texts is one tuple: `tokenizer.encode_batch([("a text", "its pair")])`."""
INT8 = """\
The encoder's weights are integers of 8 bits, and so are the states that they are multiplied with
while the file runs. Prefixes, embeddings of words and heads are float32. Compared with prefixbank
itself on {texts} short texts, when the file was written:

| output | largest difference | same predictions |
|---|---|---|
{rows}

Differences of vectors are relative to the largest number if that is above 1. The cosine of the two
vectors of a text is {mean_cosine:.4f} on average, and {least_cosine:.4f} at least.

The test scores above are those of float32, and so few texts say little of those of this file: score
it on rows of your own. The states of a whole batch share a scale, so what the file says of a text
depends on the texts beside it too."""


def unit(export: Export, session: Session, precision: OnnxPrecision = "fp32") -> Unit:
    """Return the unit that makes an ONNX export.

    Ref `export/<name>.onnx`, or `export/<name>.int8.onnx`, so that a bank can have both.

    Args:
        export: what is exported.
        session: loads the encoder.
        precision: of the encoder's weights.

    Raises:
        UsageError: one for each head that cannot be exported, and each way of reading texts that an
            ONNX file does not have.
    """
    bank, files, heads = export.bank, export.files, export.heads
    raise_faults(
        [*export.text_faults(), *_faults(heads, files), *export.recipe_faults("an ONNX file")]
    )

    def make(out: Path, work: Path) -> JSON:
        from prefixbank.steps.export.onnx.make import write_model

        described, measured = write_model(
            session, export.specs, _on_whole_vector(export), out, work, precision
        )
        of_bank = {"key": bank.key, "digest": bank.digest}
        whole = {"name": export.name, "bank": of_bank, "encoder": files.digest, **described}
        is_int8 = precision == "int8"
        write_json(out / DESCRIBED, {**whole, **measured} if is_int8 else whole)
        card = model_card(export, USE, _cost(measured) if is_int8 else "")
        (out / CARD).write_text(card, encoding="utf-8")
        return {"bank": bank.key, **measured}

    key_document = document(
        step="export_onnx",
        version=VERSION,
        # Younger than the keys: files of float32 keep theirs.
        config=export.config if precision == "fp32" else {**export.config, "precision": precision},
        inputs=export.inputs,
    )
    return Unit(
        step=STEP,
        name=export.name,
        document=key_document,
        make=make,
        ref=("export", f"{export.name}.{'' if precision == 'fp32' else 'int8.'}onnx"),
        note=lambda entry: f"bank {bank.short_key}, {len(heads)} heads{_agreement(entry)}",
        words=export.words,
    )


def _agreement(entry: Entry) -> str:
    """Return how close an int8 file is to prefixbank, for a line on stderr."""
    if "int8" not in entry.info:
        return ""
    found = entry.info["int8"]
    same = [f"{name} {100 * share:.0f} %" for name, share in found["same_predictions"].items()]
    told = f", predicts the same: {', '.join(same)}" if same else ""
    return f", int8: mean cosine {found['mean_cosine']:.4f}{told}, of {found['texts']} texts"


def _cost(measured: JSON) -> str:
    """Return what the model card says of an int8 file."""
    found = measured["int8"]
    shares = {name: f"{100 * share:.0f} %" for name, share in found["same_predictions"].items()}
    rows = [
        f"| {name} | {difference:.4f} | {shares.get(name, '')} |"
        for name, difference in measured["differences"].items()
    ]
    return INT8.format(rows="\n".join(rows), **found)


def _on_whole_vector(export: Export) -> tuple[Head, ...]:
    """Return heads that count all blocks of the bank, not only those that one of them reads."""
    if export.found is None:
        return ()
    blocks = [spec.block_name for spec in export.specs]
    needed = [blocks.index(spec.block_name) for spec in export.found.specs]
    return tuple(
        replace(head, needs=tuple(needed[index] for index in head.needs)) for head in export.heads
    )


def _faults(heads: Sequence[Head], files: EncoderFiles) -> list[UsageError]:
    """Return a fault for each head that needs more than one pass over one input, or a name."""
    faults = []
    for head in heads:
        if any(reading != "joint" for reading in head.readings):
            faults.append(
                UsageError(
                    f"head {head.name} reads the texts of a pair apart, and an ONNX file takes "
                    "one input",
                    expected="heads that read single texts, or both texts of a pair jointly",
                    fix="fit it on joint pairs: prefixbank probe ... pairs=joint    or "
                    "format=bundle",
                )
            )
        elif head.paired and files.origin.pair_separator:
            faults.append(
                UsageError(
                    f"head {head.name} reads pairs that encoder.pair_separator joins, which "
                    "tokenizer.json cannot do",
                    expected="single texts, or an encoder whose tokenizer joins pairs",
                    fix="format=bundle",
                )
            )
        if head.source is None and read_json(head.entry, PROBE).get("calibration") == "isotonic":
            faults.append(
                UsageError(
                    f"head {head.name} has probe.calibration=isotonic, whose steps float32 does "
                    "not hold",
                    expected="calibration by a temperature, or none",
                    fix="prefixbank probe ... probe.calibration=temperature    or format=bundle",
                )
            )
        if head.name in (VECTOR, *INPUTS):
            faults.append(
                UsageError(
                    f"head {head.name} has the name of an input or output of the model",
                    expected=f"names other than {', '.join((VECTOR, *INPUTS))}",
                    fix=f"prefixbank probe ... name={head.name}-head",
                )
            )
    return faults
