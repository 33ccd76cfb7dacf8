"""Soft prompts in encoders of every family, what is refused, and the words that they begin with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prefixbank.core.combine import Bank
from prefixbank.core.embed import encode
from prefixbank.core.pooling import Pooling
from prefixbank.core.prompt import (
    PromptVectors,
    SoftPrompt,
    prompted,
    text_positions,
    word_embeddings,
)
from prefixbank.data.encoders.encoder import Encoder, load_encoder
from prefixbank.data.encoders.prompts import check_prompt, prompt_words
from prefixbank.errors import EncoderError
from tests.data.encoders.models import FAMILIES, PAD, WORDS, files_in, new_tokenizer, write_encoder

TEXTS = (
    "a text",
    "a somewhat longer text , so that the first one is padded good bad red",
    "good , bad",
)
MEAN = Pooling(position="mean", layers="last", last_k=1, layer=0)
every_family = pytest.mark.parametrize("family", FAMILIES)
Loader = Callable[[str], Encoder]


@pytest.fixture(scope="module")
def loader(tmp_path_factory: pytest.TempPathFactory) -> Loader:
    """Writes and loads the encoder of a family once."""
    loaded: dict[str, Encoder] = {}

    def load(family: str) -> Encoder:
        if family not in loaded:
            loaded[family] = load_encoder(
                files_in(write_encoder(tmp_path_factory.mktemp("encoder"), FAMILIES[family])), "cpu"
            )
        return loaded[family]

    return load


def inputs_of(encoder: Encoder, texts: tuple[str, ...] = TEXTS) -> dict[str, Tensor]:
    encoded = encoder.tokenizer(
        list(texts), padding=True, padding_side="right", return_tensors="pt"
    )
    return {name: encoded[name] for name in encoder.tokenizer.model_input_names}


def prompt_of(encoder: Encoder, seed: int = 0, length: int = 6) -> SoftPrompt:
    size = word_embeddings(encoder.model).weight.shape[1]
    return SoftPrompt(
        tensor=0.2 * torch.randn(length, size, generator=torch.Generator().manual_seed(seed))
    )


def vectors(
    encoder: Encoder, prompt: PromptVectors | None, texts: tuple[str, ...] = TEXTS
) -> Tensor:
    with torch.no_grad():
        return encode(encoder.model, inputs_of(encoder, texts), prompt, MEAN)


def distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


@every_family
def test_encoder_proves_that_it_reads_a_prompt(loader: Loader, family: str):
    assert check_prompt(loader(family)) is None


@every_family
def test_text_stays_where_it_was(loader: Loader, family: str):
    encoder = loader(family)
    hidden = PromptVectors(
        vectors=prompt_of(encoder).tensor, log_weights=torch.full((6,), -torch.inf)
    )
    assert distance(vectors(encoder, hidden), vectors(encoder, None)) < 1e-5


@every_family
def test_prompt_changes_every_text(loader: Loader, family: str):
    encoder = loader(family)
    assert bool(
        (
            (vectors(encoder, prompt_of(encoder).slots()) - vectors(encoder, None))
            .abs()
            .amax(dim=1)
            > 1e-3
        ).all()
    )


@every_family
def test_padding_and_batch_mates_change_nothing(loader: Loader, family: str):
    encoder = loader(family)
    together, prompt = vectors(encoder, prompt_of(encoder).slots()), prompt_of(encoder).slots()
    assert all(
        distance(together[row], vectors(encoder, prompt, (text,))[0]) < 1e-5
        for row, text in enumerate(TEXTS)
    )


@every_family
def test_order_of_prompts_and_shared_copies_change_nothing(loader: Loader, family: str):
    encoder = loader(family)
    one, other = prompt_of(encoder), prompt_of(encoder, 1, 3)

    def of_bank(*prompts: SoftPrompt) -> Tensor:
        weights = (1 / len(prompts),) * len(prompts)
        (read,) = Bank(
            prefixes=prompts, weights=weights, rule="concat_prefixes", pooling=MEAN
        ).passes()
        return vectors(encoder, read)

    assert distance(of_bank(one, other), of_bank(other, one)) < 1e-5
    assert distance(of_bank(one, one, one), vectors(encoder, one.slots())) < 1e-5


@pytest.mark.parametrize("family", ["RoBERTa", "XLM-R", "CamemBERT"])
def test_positions_count_tokens_from_the_row_after_that_of_padding(loader: Loader, family: str):
    encoder = loader(family)
    inputs = inputs_of(encoder, ("a text", "a longer text , good"))
    found = prompted(encoder.model, inputs, prompt_of(encoder, length=2).slots())["position_ids"]
    counted = [
        [PAD + 1 + place if seen else PAD for place, seen in enumerate(row)]
        for row in inputs["attention_mask"].tolist()
    ]
    assert text_positions(encoder.model, inputs).tolist() == counted
    assert found.tolist() == [[PAD + 1] * 2 + row for row in counted]


class Refusing(nn.Module):
    """A model that does something else with `inputs_embeds` or `position_ids`."""

    def __init__(
        self, model: nn.Module, change: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> None:
        super().__init__()
        self.model, self.change = model, change

    def get_input_embeddings(self) -> nn.Module:
        return word_embeddings(self.model)

    def forward(self, **keywords: Any) -> Any:
        return self.model(**(self.change(keywords) if "inputs_embeds" in keywords else keywords))


def unknown_embeddings(keywords: dict[str, Any]) -> dict[str, Any]:
    raise TypeError("forward() got an unexpected keyword argument 'inputs_embeds'")


def without_positions(keywords: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in keywords.items() if name != "position_ids"}


def without_weights(keywords: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in keywords.items() if name != "prompt"}


@pytest.mark.parametrize("change", [unknown_embeddings, without_positions, without_weights])
def test_encoder_that_cannot_read_a_prompt_is_refused_by_name(
    loader: Loader, change: Callable[[dict[str, Any]], dict[str, Any]]
):
    encoder = loader("BERT")
    with pytest.raises(EncoderError, match="a soft prompt does not work in") as caught:
        check_prompt(replace(encoder, model=Refusing(encoder.model, change)))
    assert (
        encoder.files.label in caught.value.what
        and "inputs_embeds" in caught.value.expected
        and "prefix.kind=deep" in caught.value.fix
    )


def test_words_are_sampled_from_those_that_are_not_special(loader: Loader):
    encoder = loader("BERT")
    found = prompt_words(encoder, (), 10, 0)
    assert len(set(found)) == 10 and not set(found) & set(encoder.tokenizer.all_special_ids)


def test_words_come_from_the_seed(loader: Loader):
    encoder = loader("BERT")
    assert (
        prompt_words(encoder, (), 8, 1)
        == prompt_words(encoder, (), 8, 1)
        != prompt_words(encoder, (), 8, 2)
    )


def test_more_words_than_there_are_repeat(loader: Loader):
    encoder = loader("BERT")
    assert len(prompt_words(encoder, (), 100, 0)) == 100


def with_words(encoder: Encoder, words: list[str]) -> Encoder:
    """The same encoder with a vocabulary and an embedding matrix of this size."""
    tokenizer = SimpleNamespace(
        all_special_ids=[0], unk_token_id=0, convert_ids_to_tokens=words.__getitem__
    )
    sized = type("Words", (SimpleNamespace,), {"__len__": lambda self: len(words)})(
        **vars(tokenizer)
    )
    model = nn.Module()
    model.get_input_embeddings = lambda: nn.Embedding(len(words), 4)
    return replace(encoder, tokenizer=sized, model=model)


def test_words_are_the_lowest_token_ids_and_no_placeholders(loader: Loader):
    words = [
        "[PAD]",
        *(f"[unused{number}]" for number in range(99)),
        *(f"w{number}" for number in range(7000)),
    ]
    found = np.array(prompt_words(with_words(loader("BERT"), words), (), 4000, 0))
    assert found.min() >= 100 and 5000 < found.max() < 100 + 5000


@pytest.mark.parametrize(
    ("length", "named"),
    [(2, ["good", "bad"]), (3, ["good", "bad", "red"]), (6, ["good", "bad", "red"])],
)
def test_tokens_of_label_names_come_first_and_others_fill_up(
    loader: Loader, length: int, named: list[str]
):
    encoder = loader("BERT")
    found = prompt_words(encoder, ("good", "bad red"), length, 0)
    assert len(found) == length and [WORDS[number] for number in found[: len(named)]] == named


def test_labels_of_unknown_words_leave_the_room_to_others(loader: Loader):
    encoder = loader("BERT")
    assert new_tokenizer().unk_token_id not in prompt_words(encoder, ("xyzzy", "good"), 4, 0)
    assert WORDS[prompt_words(encoder, ("xyzzy", "good"), 4, 0)[0]] == "good"
