"""Encoders with the lower layers only: what they compute, what they hold, which are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from prefixbank.data.encoders import layers as layers_module
from prefixbank.data.encoders.encoder import Encoder, load_encoder
from prefixbank.data.encoders.layers import cut_config, cut_config_file
from prefixbank.errors import EncoderError, UsageError
from tests.data.encoders.models import FAMILIES, SIZES, Family, files_in, write_encoder

FINAL_NORMS = {"ModernBERT": "final_norm", "EuroBERT": "norm", "Llama": "norm"}
CUT = {name: family for name, family in FAMILIES.items() if name != "ALBERT"}
every_family = pytest.mark.parametrize("family", CUT)
TEXTS = ["a text", "a somewhat longer text , good bad red"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every family's encoder, whole."""
    root = tmp_path_factory.mktemp("encoders")
    return {name: write_encoder(root / name, family) for name, family in CUT.items()}


def load(folder: Path, layers: int) -> Encoder:
    return load_encoder(files_in(folder, layers=layers), "cpu")


def inputs_of(encoder: Encoder) -> dict[str, Tensor]:
    encoded = encoder.tokenizer(TEXTS, padding=True, return_tensors="pt")
    return {name: encoded[name] for name in encoder.tokenizer.model_input_names}


def output_of(encoder: Encoder, inputs: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        found: Tensor = encoder.model(**inputs, attention_calls=[]).last_hidden_state
    return found


def distance(one: Tensor, other: Tensor, mask: Tensor) -> float:
    return float((one - other)[mask.bool()].abs().max())


@every_family
def test_output_is_the_whole_model_s_state_after_that_layer(folders: dict[str, Path], family: str):
    whole = AutoModel.from_pretrained(folders[family], attn_implementation="eager").eval()
    for count in range(1, CUT[family].layers):
        encoder = load(folders[family], count)
        inputs = inputs_of(encoder)
        with torch.no_grad():
            states = whole(**inputs, output_hidden_states=True).hidden_states
        found = output_of(encoder, inputs)
        assert distance(found, states[count], inputs["attention_mask"]) < 1e-5


@every_family
def test_all_layers_end_before_the_final_norm(folders: dict[str, Path], family: str):
    encoder = load(folders[family], CUT[family].layers)
    whole = AutoModel.from_pretrained(folders[family], attn_implementation="eager").eval()
    inputs = inputs_of(encoder)
    norm = getattr(whole, FINAL_NORMS.get(family, ""), nn.Identity())
    with torch.no_grad():
        found, expected = norm(output_of(encoder, inputs)), whole(**inputs).last_hidden_state
    assert distance(found, expected, inputs["attention_mask"]) < 1e-5
    changed = distance(output_of(encoder, inputs), expected, inputs["attention_mask"]) > 1e-2
    assert changed == (family in FINAL_NORMS)


@every_family
def test_dropped_layers_are_not_held(folders: dict[str, Path], family: str):
    whole, cut = (
        {name: one.numel() for name, one in load(folders[family], count).model.named_parameters()}
        for count in (0, 1)
    )
    gone = sum(whole.values()) - sum(cut.values())
    layer = sum(count for name, count in whole.items() if ".2." in f".{name}.")
    assert cut.items() <= whole.items() and layer > 0
    assert gone >= layer * (CUT[family].layers - 1) - SIZES["hidden_size"] * 2


@every_family
def test_shape_states_and_configuration_are_those_of_the_layers_kept(
    folders: dict[str, Path], family: str
):
    encoder = load(folders[family], 2)
    inputs = inputs_of(encoder)
    with torch.no_grad():
        output = encoder.model(**inputs, attention_calls=[], output_hidden_states=True)
    assert encoder.shape.layers == encoder.model.config.num_hidden_layers == 2
    assert len(output.hidden_states) == 3
    assert torch.equal(output.hidden_states[-1], output.last_hidden_state)


def test_lists_with_an_entry_for_each_layer_are_cut():
    config = FAMILIES["ModernBERT"].build().config
    before = list(config.layer_types)
    cut_config(config, 4, 3)
    assert (config.layer_types, config.num_hidden_layers) == (before[:3], 3)


@every_family
def test_cut_configuration_makes_a_model_of_the_layers_kept(
    folders: dict[str, Path], tmp_path: Path, family: str
):
    AutoConfig.from_pretrained(folders[family]).save_pretrained(tmp_path)
    cut_config_file(tmp_path, 2)
    model = AutoModel.from_config(AutoConfig.from_pretrained(tmp_path))
    assert {f".{number}." in str(list(model.state_dict())) for number in (0, 1)} == {True}
    assert ".2." not in str(list(model.state_dict()))


@every_family
def test_weights_of_the_layers_kept_are_all_that_is_needed(
    folders: dict[str, Path], tmp_path: Path, family: str
):
    encoder = load(folders[family], 2)
    write_encoder(tmp_path, CUT[family])
    encoder.model.save_pretrained(tmp_path)
    again = load(tmp_path, 2)
    inputs = inputs_of(encoder)
    assert torch.equal(output_of(again, inputs), output_of(encoder, inputs))


def test_weights_without_the_final_norm_are_no_whole_model(
    folders: dict[str, Path], tmp_path: Path
):
    write_encoder(tmp_path, CUT["Llama"])
    load(folders["Llama"], 2).model.save_pretrained(tmp_path)
    with pytest.raises(EncoderError, match=r"toy lacks 1 weights of LlamaModel, such as norm\."):
        load(tmp_path, 0)


def test_more_layers_than_there_are_is_refused(folders: dict[str, Path]):
    with pytest.raises(UsageError, match="encoder.layers=4 with toy, which has 3 layers") as caught:
        load(folders["BERT"], 4)
    assert caught.value.fix == "encoder.layers=3"


def test_family_that_runs_one_layer_repeatedly_is_refused_by_name(tmp_path: Path):
    folder = write_encoder(tmp_path, FAMILIES["ALBERT"])
    with pytest.raises(
        EncoderError, match="encoder.layers does not work in toy: it has no list of layers"
    ) as caught:
        load(folder, 2)
    assert caught.value.fix.startswith("encoder.layers=0")


def test_layers_that_compute_something_else_are_refused(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(layers_module, "_norms_behind", lambda model, path: [])
    with pytest.raises(EncoderError, match="its output then differs from the whole model's by"):
        load(folders["Llama"], 2)


def test_norm_in_front_of_the_layers_stays(tmp_path: Path):
    """RoBERTa-prelayernorm has norms inside its layers and embeddings, and one above its layers."""
    family = Family(
        model="RobertaPreLayerNormModel",
        config="RobertaPreLayerNormConfig",
        more={"max_position_embeddings": 66},
    )
    encoder = load(write_encoder(tmp_path, family), 2)
    norms = [name for name, one in encoder.model.named_modules() if isinstance(one, nn.LayerNorm)]
    assert "embeddings.LayerNorm" in norms and "LayerNorm" not in norms
