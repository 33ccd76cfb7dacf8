"""Step `export-peft`: the prefix of a bank as a prefix-tuning adapter of PEFT."""

from __future__ import annotations

from pathlib import Path

from prefixbank.artifacts.bundle import CARD
from prefixbank.artifacts.pooling import describe_pooling
from prefixbank.config.schema import EncoderConfig
from prefixbank.data.encoders.files import reading_settings
from prefixbank.errors import UsageError, raise_faults
from prefixbank.runtime.session import Session
from prefixbank.runtime.unit import Unit
from prefixbank.steps.export.card import model_card
from prefixbank.steps.export.source import Export
from prefixbank.store.key import JSON, document

STEP = "export-peft"
VERSION = 1  # 1: first
USE = """\
```python
from peft import PeftModel
from transformers import AutoModel, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("ENCODER")
model = PeftModel.from_pretrained(AutoModel.from_pretrained("ENCODER"), "FOLDER").eval()
inputs = tokenizer(["a text"], return_tensors="pt")
states = model(**inputs).last_hidden_state
```

Hidden states of the text are those of prefixbank; the bank pools them: {pooling}."""


def unit(export: Export, session: Session) -> Unit:
    """Return the unit that makes a PEFT adapter. Ref `export/<name>.peft`.

    Raises:
        UsageError: heads, which an adapter cannot hold, or an encoder that is not read whole.
    """
    bank, files, pooling = export.bank, export.files, export.pooling
    raise_faults(_faults(export))

    def make(out: Path, work: Path) -> JSON:
        from prefixbank.steps.export.peft.make import write_adapter

        write_adapter(session, bank, files, out)
        use = USE.format(pooling=describe_pooling(pooling))
        (out / CARD).write_text(model_card(export, use), encoding="utf-8")
        return {"bank": bank.key}

    key_document = document(
        step="export_peft",
        version=VERSION,
        config={"name": export.name, "license": export.license},
        inputs={"bank": bank.digest, "encoder": files.digest},
    )
    return Unit(
        step=STEP,
        name=export.name,
        document=key_document,
        make=make,
        ref=("export", f"{export.name}.peft"),
        note=lambda entry: f"bank {bank.short_key}",
        words=export.words,
    )


def _faults(export: Export) -> list[UsageError]:
    faults = export.text_faults()
    if export.pooling.is_learned:
        faults.append(
            UsageError(
                "a bank with learned pooling with format=peft, whose adapters hold a prefix alone",
                expected="a prefix that was trained with fixed pooling",
                fix="format=bundle",
            )
        )
    if export.heads:
        faults.append(
            UsageError(
                f"heads=[{','.join(head.name for head in export.heads)}] with format=peft, whose "
                "adapters hold a prefix and no heads",
                expected="no heads",
                fix="heads=[]    or format=bundle",
            )
        )
    layers = reading_settings(EncoderConfig(**export.bank.info["encoder"])).get("layers")
    if layers:
        faults.append(
            UsageError(
                f"format=peft with encoder.layers={layers}: PEFT loads all layers of an encoder",
                expected="a prefix of a whole encoder",
                fix="format=bundle    or format=onnx",
            )
        )
    return faults
