"""Folders that sentence-transformers wrote are read as it reads them, or refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prefixbank.config.schema import EncoderConfig, PoolingConfig
from prefixbank.data.encoders.auto_pooling import encoder_pooling, scales_vectors
from prefixbank.data.encoders.encoder import load_encoder
from prefixbank.data.encoders.files import EncoderFiles, locate_encoder
from prefixbank.data.encoders.sentence_folder import sentence_folder
from prefixbank.data.encoders.tiny import write_tiny_encoder
from prefixbank.errors import EncoderError, UsageError
from tests.data.encoders.sentence_models import CLASSES, cased, write_model


def locate(folder: Path, **settings: Any) -> EncoderFiles:
    return locate_encoder(EncoderConfig(name="mine", source="folder", path=str(folder), **settings))


@pytest.mark.parametrize(
    ("pooling", "position"),
    [
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode": ["mean", "lasttoken"]}, ("mean", "last")),
        ({"pooling_mode_cls_token": False, "pooling_mode_max_tokens": True}, "max"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, ("cls", "mean")),
        ({"word_embedding_dimension": 64, "include_prompt": False}, "mean"),
    ],
)
def test_auto_is_the_pooling_of_the_folder(tmp_path, pooling, position):
    files = locate(write_model(tmp_path / "m", pooling))
    auto = PoolingConfig(layers="concat_last", last_k=2)
    assert encoder_pooling(auto, files) == PoolingConfig(
        position=position, layers="concat_last", last_k=2
    )
    asked = PoolingConfig(position="mean")
    assert encoder_pooling(asked, files) == asked


def test_auto_is_the_mean_without_modules(tmp_path):
    tmp_path.joinpath("m").mkdir()
    write_tiny_encoder(tmp_path / "m")
    files = locate(tmp_path / "m")
    assert encoder_pooling(PoolingConfig(), files) == PoolingConfig(position="mean")
    assert not scales_vectors(PoolingConfig(), files)


def test_normalize_counts_unless_pooling_is_set(tmp_path):
    files = locate(write_model(tmp_path / "m", modules=("Transformer", "Pooling", "Normalize")))
    assert scales_vectors(PoolingConfig(), files)
    assert not scales_vectors(PoolingConfig(position="mean"), files)


@pytest.mark.parametrize(
    ("model", "named"),
    [
        ({"modules": ("Transformer", "Pooling", "Dense", "Normalize")}, "the module Dense"),
        ({"modules": ("Transformer", "Pooling", "my.code.Own")}, "the module my.code.Own"),
        ({"modules": ("Transformer", "Normalize", "Pooling")}, "the modules Transformer, Norm"),
        ({"modules": ("Transformer",)}, "the modules Transformer"),
        ({"pooling": {"pooling_mode": "weightedmean"}}, "the pooling weightedmean"),
        ({"pooling": {"pooling_mode_mean_sqrt_len_tokens": True}}, "the pooling mean_sqrt_len"),
        ({"prompts": {"default_prompt_name": "query"}}, "the default prompt 'query'"),
    ],
)
def test_what_is_not_supported_is_refused_by_name_unless_pooling_is_set(tmp_path, model, named):
    files = locate(write_model(tmp_path / "m", **model))
    with pytest.raises(EncoderError, match=named) as caught:
        encoder_pooling(PoolingConfig(), files)
    assert caught.value.fix.startswith("pooling=mean")
    asked = PoolingConfig(position="cls")
    assert encoder_pooling(asked, files) == asked


@pytest.mark.parametrize("modules", [("Pooling", "Transformer"), ("StaticEmbedding",), ()])
def test_model_that_does_not_begin_with_an_encoder_is_refused(tmp_path, modules):
    with pytest.raises(EncoderError, match="begins with"):
        locate(write_model(tmp_path / "m", modules=modules))


@pytest.mark.parametrize("path", ["../other", "/etc"])
def test_module_outside_the_folder_is_refused(tmp_path, path):
    folder = write_model(tmp_path / "m")
    listed = [{"idx": 0, "path": path, "type": CLASSES["Transformer"]}]
    (folder / "modules.json").write_text(json.dumps(listed), encoding="utf-8")
    with pytest.raises(EncoderError, match="does not list the modules"):
        sentence_folder(folder)


def test_encoder_may_be_in_a_folder_of_its_own(tmp_path):
    inside = locate(write_model(tmp_path / "a", inside="0_Transformer"))
    alone = locate(write_model(tmp_path / "b"))
    assert inside.digest == alone.digest and inside.origin.path == str(tmp_path / "a")


def test_longest_input_is_that_of_the_folder(tmp_path):
    encoder = load_encoder(locate(write_model(tmp_path / "m", read={"max_seq_length": 16})), "cpu")
    with pytest.raises(UsageError, match="max_length_tokens=17"):
        encoder.check_length(17)
    assert encoder.max_tokens == 16


def test_texts_are_lowercased_if_the_folder_says_so(tmp_path):
    as_is, lower = (
        load_encoder(locate(cased(write_model(tmp_path / name, read=read))), "cpu")
        for name, read in (("a", {}), ("b", {"do_lower_case": True}))
    )
    loud, quiet = (lower.tokenize([text], None, 16).columns for text in ("GOOD Food", "good food"))
    assert loud == quiet != as_is.tokenize(["GOOD Food"], None, 16).columns
    assert as_is.files.digest != lower.files.digest
