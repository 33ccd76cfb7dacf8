"""PEFT adapters: PEFT's hidden states are ours, or the encoder is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import Tensor
from transformers import AutoModel

from prefixbank.artifacts.json_files import write_json
from prefixbank.artifacts.tensors import write_tensors
from prefixbank.config.running import RunConfig
from prefixbank.core.attention.prefix_attention import Slots
from prefixbank.data.encoders.encoder import check_inputs, load_encoder
from prefixbank.errors import EncoderError, UsageError
from prefixbank.runtime.session import Session
from prefixbank.steps.export.peft.make import write_adapter
from prefixbank.store.store import Store
from tests.data.encoders.models import FAMILIES, files_in, write_encoder

TEXTS = ("good", "a text", "a somewhat longer text, so that the first one is padded, good or bad")
POOLING = {"position": "mean", "layers": "last", "last_k": 4, "layer": 0, "norm": "none"}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def new_bank(put, tensors: dict[str, Tensor], *weights: float, rule: str = "concat_prefixes"):
    described = {"rule": rule, "weights": list(weights), "pooling": POOLING}

    def write(out: Path) -> None:
        write_tensors(out / "bank.safetensors", tensors)
        write_json(out / "bank.json", described)

    return put("combine", write)


def adapter_of(put, store: Store, folder: Path, family: str) -> tuple[Any, Tensor, Path]:
    """An encoder, a random prefix of it, and the folder of the adapter."""
    files = files_in(write_encoder(folder / "encoder", FAMILIES[family]))
    encoder = load_encoder(files, "cpu")
    prefix = normal(*encoder.shape.prefix_shape(3))
    out = folder / "adapter"
    out.mkdir()
    bank = new_bank(put, {"0.prefix": prefix}, 1.0)
    write_adapter(Session(store, RunConfig(device="cpu")), bank, files, out)
    return encoder, prefix, out


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # PEFT reads it
@pytest.mark.parametrize("family", ["EuroBERT", "Llama"])
def test_peft_computes_the_same_states(put, store, tmp_path, family):
    encoder, prefix, out = adapter_of(put, store, tmp_path, family)
    theirs = PeftModel.from_pretrained(AutoModel.from_pretrained(tmp_path / "encoder"), out).eval()
    inputs = check_inputs(encoder.tokenizer, TEXTS)
    inputs.pop("token_type_ids", None)
    slots = Slots(keys=prefix[:, 0], values=prefix[:, 1])
    real = inputs["attention_mask"].bool()
    with torch.no_grad():
        ours = encoder.model(**inputs, attention_calls=[], prefix_slots=slots).last_hidden_state
        plain = encoder.model(**inputs, attention_calls=[]).last_hidden_state
        found = theirs(**inputs).last_hidden_state
    assert torch.allclose(found[real], ours[real], rtol=0, atol=1e-5)
    assert not torch.allclose(plain[real], ours[real], rtol=0, atol=1e-2)


@pytest.mark.parametrize(
    ("family", "reason"),
    [
        ("BERT", "BertModel .* adds a vector for each position"),
        ("RoBERTa", "RobertaModel .* adds a vector for each position"),
        ("ModernBERT", "ModernBertModel .* takes no cached keys"),
        ("DistilBERT", "DistilBertModel .* takes no cached keys"),
    ],
)
def test_encoder_in_which_peft_computes_something_else_is_refused(
    put, store, tmp_path, family, reason
):
    with pytest.raises(EncoderError, match=reason):
        adapter_of(put, store, tmp_path, family)


SHAPE = (2, 2, 4, 3, 8)


@pytest.mark.parametrize(
    ("tensors", "weights", "rule"),
    [
        ({"0.prefix": normal(*SHAPE)}, (0.5,), "concat_prefixes"),
        ({"0.prefix": normal(*SHAPE), "0.log_gate": normal(2, 4)}, (1.0,), "concat_prefixes"),
        ({f"{i}.prefix": normal(*SHAPE) for i in (0, 1)}, (1.0, 1.0), "mean_vectors"),
        ({"0.prompt": normal(3, 32)}, (1.0,), "concat_prefixes"),
    ],
    ids=["weight", "gate", "passes", "soft"],
)
def test_bank_that_is_no_single_prefix_is_refused(put, store, tmp_path, tensors, weights, rule):
    files = files_in(write_encoder(tmp_path / "encoder"))
    bank = new_bank(put, tensors, *weights, rule=rule)
    with pytest.raises(UsageError, match="is no single deep prefix"):
        write_adapter(Session(store, RunConfig()), bank, files, tmp_path)
