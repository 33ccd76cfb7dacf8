"""Make the artifact of step `export-peft`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from prefixbank.artifacts.bank import read_bank
from prefixbank.artifacts.json_files import write_json
from prefixbank.artifacts.peft import CONFIG, TENSORS
from prefixbank.artifacts.tensors import write_tensors
from prefixbank.core.attention.prefix_attention import Slots
from prefixbank.core.combine import Bank
from prefixbank.data.encoders.cached_prefix import cached_prefix
from prefixbank.data.encoders.files import EncoderFiles
from prefixbank.errors import UsageError
from prefixbank.runtime.session import Session
from prefixbank.store.artifact import Entry


def write_adapter(session: Session, bank: Entry, files: EncoderFiles, out: Path) -> None:
    """Write the prefix of a bank as PEFT reads it.

    Raises:
        UsageError: the bank is not one deep prefix in one pass, without gate and weight.
        EncoderError: PEFT would not compute what prefixbank does.
    """
    slots = _single_prefix(bank)
    session = replace(session, run=replace(session.run, device="cpu"))
    prefix = cached_prefix(session.load(files), slots)
    layers, _, heads, length, size = prefix.shape
    # PEFT keeps a row for each slot, which holds keys and values layer by layer.
    rows = prefix.permute(3, 0, 1, 2, 4).reshape(length, -1)
    write_tensors(out / TENSORS, {"prompt_embeddings": rows})
    origin = files.origin
    in_hub = origin.source == "hub"
    write_json(
        out / CONFIG,
        {
            "peft_type": "PREFIX_TUNING",
            "task_type": "FEATURE_EXTRACTION",
            "base_model_name_or_path": origin.hub_id if in_hub else None,
            "revision": origin.revision if in_hub else None,
            "inference_mode": True,
            "prefix_projection": False,
            "num_virtual_tokens": length,
            "num_layers": layers,
            "num_attention_heads": heads,
            "token_dim": heads * size,
            "encoder_hidden_size": heads * size,
            "num_transformer_submodules": 1,
        },
    )


def _single_prefix(entry: Entry) -> Slots:
    """Return the slots of a bank that is one pass with deep prefixes and no bias."""
    bank = read_bank(entry)
    passes = bank.passes() if isinstance(bank, Bank) else []
    if len(passes) == 1 and isinstance(passes[0], Slots) and passes[0].bias is None:
        return passes[0]
    raise UsageError(
        f"bank {entry.short_key} is no single deep prefix: PEFT has neither read-outs, nor "
        "weights, nor gates, nor several passes",
        expected="a bank of one deep prefix without gate, or several with weights of 1",
        fix="prefixbank combine 'prefixes=[NAME]' name=alone    or format=bundle",
    )
