"""`prefixbank export format=peft`: an adapter from the command line, and refusals before work."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModel, AutoTokenizer

import prefixbank as pb
from tests.data.encoders.models import FAMILIES, write_encoder


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # PEFT reads it
def test_pooled_states_of_the_adapter_are_the_vectors_of_the_bank(cli, tmp_path):
    folder = write_encoder(tmp_path / "llama", FAMILIES["Llama"])
    place = ("encoder=folder", f"encoder.path={folder}", "max_length_tokens=32")
    cli.done(
        "train-prefix", "task=folder", f"task.path={cli.tasks / 'alpha'}", *place,
        "prefix.length=2", "optim.epochs=1", "name=llama",
    )  # fmt: skip
    cli.done("combine", "prefixes=[llama]", "name=llama")
    out = tmp_path / "adapter"
    ran = cli.done("export", "bank=llama", "format=peft", f"--out={out}")
    assert ran.result["name"] == "llama"
    model = PeftModel.from_pretrained(AutoModel.from_pretrained(folder), out).eval()
    texts = ["good", "a somewhat longer text, so that the first one is padded"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    bank = pb.load_bank("llama", recipe=pb.EmbedRecipe(max_length_tokens=32))
    for text, vector in zip(texts, bank.embed(texts), strict=True):
        inputs = tokenizer([text], return_tensors="pt", return_token_type_ids=False)
        with torch.no_grad():
            states = model(**inputs).last_hidden_state
        assert np.allclose(states[0].mean(dim=0), vector, rtol=0, atol=1e-5)
    assert "position=mean layers=last" in (out / "README.md").read_text(encoding="utf-8")


def test_heads_and_dropped_layers_are_refused_together(cli):
    cli.train("alpha", "encoder.layers=1", "prefix.kind=readout", "name=short")
    cli.done("combine", "prefixes=[short]", "name=short")
    found = cli.expect_refusal(2, "export", "bank=short", "heads=[short]", "format=peft")
    assert "adapters hold a prefix and no heads" in found[0].what
    assert "encoder.layers=1" in found[1].what


def test_encoder_with_absolute_positions_is_refused_by_name(cli):
    cli.done("combine", "prefixes=[alpha]", "name=alone")
    fault = cli.expect_fault(2, "export", "bank=alone", "format=peft")
    assert "BertModel" in fault.what and "position" in fault.what
