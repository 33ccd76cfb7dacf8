"""Read-outs in encoders of every family, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from prefixbank.core.blocks import BlockBank
from prefixbank.core.pooling import Pooling
from prefixbank.core.prompt import word_embeddings
from prefixbank.core.readout import Readout, encode_text, read_out, readout_positions, token_slot
from prefixbank.core.training.precision import checkpointed_layers
from prefixbank.data.encoders.encoder import Encoder, load_encoder
from prefixbank.data.encoders.readouts import check_readouts
from prefixbank.errors import EncoderError
from tests.data.encoders.models import (
    FAMILIES,
    MAX_TOKENS,
    PAD,
    WORDS,
    Family,
    family,
    files_in,
    write_encoder,
)

TEXTS = (
    "a text",
    "a somewhat longer text , so that the first one is padded good bad red",
    "good , bad",
)
MEAN = Pooling(position="mean", layers="last", last_k=1, layer=0)
ALL: dict[str, Family] = {
    **FAMILIES,
    "Llama": family("Llama", more={"num_key_value_heads": 2}, kv_heads=2),
}
every_family = pytest.mark.parametrize("family", ALL)
Loader = Callable[[str], Encoder]


@pytest.fixture(scope="module")
def loader(tmp_path_factory: pytest.TempPathFactory) -> Loader:
    """Writes and loads the encoder of a family once."""
    loaded: dict[str, Encoder] = {}

    def load(family: str) -> Encoder:
        if family not in loaded:
            folder = write_encoder(tmp_path_factory.mktemp("encoder"), ALL[family])
            loaded[family] = load_encoder(files_in(folder), "cpu")
        return loaded[family]

    return load


def inputs_of(
    encoder: Encoder, texts: Sequence[str] = TEXTS, side: str = "right"
) -> dict[str, Tensor]:
    encoded = encoder.tokenizer(list(texts), padding=True, padding_side=side, return_tensors="pt")
    return {name: encoded[name] for name in encoder.tokenizer.model_input_names}


def readout_of(encoder: Encoder, seed: int = 0, *, count: int = 2, length: int = 3) -> Readout:
    generator = torch.Generator().manual_seed(seed)
    size = word_embeddings(encoder.model).weight.shape[1]
    return Readout(
        vectors=0.2 * torch.randn(count, size, generator=generator),
        slots=torch.randn(encoder.shape.prefix_shape(length), generator=generator),
    )


def blocks(encoder: Encoder, inputs: dict[str, Tensor], *readouts: Readout) -> list[Tensor]:
    with torch.no_grad():
        text, _ = encode_text(encoder.model, inputs)
        return read_out(encoder.model, text, readout_positions(encoder.model, inputs), readouts)


def distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


@every_family
def test_encoder_proves_that_read_outs_work(loader: Loader, family: str):
    assert check_readouts(loader(family)) is None


@every_family
def test_text_is_that_of_the_plain_encoder_to_the_last_bit(loader: Loader, family: str):
    encoder = loader(family)
    inputs = inputs_of(encoder)
    with torch.no_grad():
        plain = encoder.model(**inputs, attention_calls=[], output_hidden_states=True).hidden_states
        text, states = encode_text(encoder.model, inputs, all_layers=True)
        last = encode_text(encoder.model, inputs)[1][-1]
    assert all(torch.equal(one, other) for one, other in zip(states, plain, strict=True))
    assert torch.equal(last, plain[-1]) and len(text.keys) == encoder.shape.layers
    assert text.keys[0].shape[1] == encoder.shape.kv_heads


@every_family
def test_vectors_of_text_and_blocks_are_the_same_beside_other_sources(loader: Loader, family: str):
    encoder = loader(family)
    inputs = inputs_of(encoder)
    sources = tuple(
        readout_of(encoder, seed, count=count, length=length)
        for seed, (count, length) in enumerate([(1, 3), (2, 0), (2, 5), (1, 1)])
    )
    with torch.no_grad():
        whole = BlockBank(readouts=sources, plain=MEAN).encode(encoder.model, inputs)
        (plain,) = BlockBank(readouts=(), plain=MEAN).encode(encoder.model, inputs)
        for index, source in enumerate(sources):
            bank = BlockBank(readouts=(source,), plain=None)
            assert torch.equal(bank.encode(encoder.model, inputs)[0], whole[1 + index])
    assert torch.equal(plain, whole[0])


@every_family
def test_tasks_together_are_each_alone(loader: Loader, family: str):
    encoder = loader(family)
    inputs = inputs_of(encoder)
    readouts = [readout_of(encoder, seed, length=p) for seed, p in enumerate((3, 0, 5, 1))]
    found, turned = blocks(encoder, inputs, *readouts), blocks(encoder, inputs, *readouts[::-1])
    for index, readout in enumerate(readouts):
        (alone,) = blocks(encoder, inputs, readout)
        assert distance(found[index], alone) < 1e-5
        assert distance(turned[::-1][index], alone) < 1e-5


@every_family
@pytest.mark.parametrize(("count", "length"), [(1, 3), (1, 0), (3, 2)])
def test_padding_and_batch_mates_change_nothing(
    loader: Loader, family: str, count: int, length: int
):
    encoder = loader(family)
    readout = readout_of(encoder, count=count, length=length)
    (together,) = blocks(encoder, inputs_of(encoder), readout)
    for row, text in enumerate(TEXTS):
        (alone,) = blocks(encoder, inputs_of(encoder, (text,)), readout)
        assert distance(together[row], alone[0]) < 1e-5


@pytest.mark.parametrize(
    "family", [name for name, one in FAMILIES.items() if one.positions_follow_padding]
)
def test_padding_on_the_left_changes_nothing_where_positions_count_tokens(
    loader: Loader, family: str
):
    encoder = loader(family)
    readout = readout_of(encoder)
    (right,), (left,) = (
        blocks(encoder, inputs_of(encoder, side=side), readout) for side in ("right", "left")
    )
    assert distance(right, left) < 1e-5


@pytest.mark.parametrize("family", ["ModernBERT", "EuroBERT", "Llama"])
def test_padding_on_the_left_changes_nothing_where_positions_are_rotary(
    loader: Loader, family: str
):
    """Of what they read in the text: slots have no position, so they look different from afar."""
    encoder = loader(family)
    readout = readout_of(encoder, length=0)
    (right,), (left,) = (
        blocks(encoder, inputs_of(encoder, side=side), readout) for side in ("right", "left")
    )
    assert distance(right, left) < 1e-5


@every_family
def test_read_outs_see_every_token(loader: Loader, family: str):
    """However local or causal the encoder's own attention is."""
    encoder = loader(family)
    inputs, readout = inputs_of(encoder, TEXTS[1:2]), readout_of(encoder, length=0)
    (found,) = blocks(encoder, inputs, readout)
    for token in range(inputs["input_ids"].shape[1]):
        changed = {**inputs, "input_ids": inputs["input_ids"].clone()}
        changed["input_ids"][0, token] = WORDS.index("blue")
        assert distance(found, blocks(encoder, changed, readout)[0]) > 1e-5


def test_local_layers_let_read_outs_attend_to_all_tokens(loader: Loader):
    """What the first token is like in one local layer alone, far behind its window."""
    encoder = loader("ModernBERT")
    inputs, readout = inputs_of(encoder, TEXTS[1:2]), readout_of(encoder, length=0)
    positions = readout_positions(encoder.model, inputs)
    local = encoder.model.config.layer_types.index("sliding_attention")
    assert int(positions[0]) > 3 * encoder.model.config.local_attention
    with torch.no_grad():
        text, _ = encode_text(encoder.model, inputs)
        (before,) = read_out(encoder.model, text, positions, [readout])
        text.values[local][:, :, 0] += 10.0
        (after,) = read_out(encoder.model, text, positions, [readout])
    assert distance(before, after) > 1e-3


@every_family
def test_read_outs_stand_behind_the_text(loader: Loader, family: str):
    encoder = loader(family)
    inputs = inputs_of(encoder)
    first = PAD + 1 if FAMILIES.get(family, ALL["Llama"]).positions_follow_padding else 0
    lengths = inputs["attention_mask"].sum(dim=1)
    assert readout_positions(encoder.model, inputs).tolist() == (first + lengths).tolist()


@every_family
def test_longest_text_can_be_read(loader: Loader, family: str):
    encoder = loader(family)
    inputs = inputs_of(encoder, (" ".join(["good"] * (MAX_TOKENS - 2)),))
    assert inputs["input_ids"].shape[1] == encoder.max_tokens == MAX_TOKENS
    (found,) = blocks(encoder, inputs, readout_of(encoder))
    assert torch.isfinite(found).all()


@every_family
def test_slot_of_a_token_fits_the_encoder(loader: Loader, family: str):
    encoder = loader(family)
    slot = token_slot(encoder.model, inputs_of(encoder, TEXTS[:1]), 1)
    assert slot.shape == encoder.shape.prefix_shape(1)


@pytest.mark.parametrize("family", [name for name, one in ALL.items() if one.recomputes])
def test_recomputed_layers_give_the_same_gradients(loader: Loader, family: str):
    encoder = loader(family)
    inputs = inputs_of(encoder)
    found = []
    for enabled in (False, True):
        readout = readout_of(encoder)
        vectors, slots = (one.requires_grad_(True) for one in (readout.vectors, readout.slots))
        with checkpointed_layers(encoder.model, enabled=enabled):
            with torch.no_grad():
                text, _ = encode_text(encoder.model, inputs)
            positions = readout_positions(encoder.model, inputs)
            (block,) = read_out(encoder.model, text, positions, [readout])
            block[:, 0].sum().backward()
        found.append((vectors.grad, slots.grad))
    (one, other) = found
    assert float(one[1].abs().amax(dim=(1, 2, 3, 4)).min()) > 0
    assert all(distance(left, right) < 1e-5 for left, right in zip(one, other, strict=True))


class Refusing(nn.Module):
    """A model that does something else with read-outs."""

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
    raise TypeError("forward() got an unexpected keyword argument 'inputs_embeds'\nor so")


def unknown_positions(keywords: dict[str, Any]) -> dict[str, Any]:
    raise TypeError("forward() got an unexpected keyword argument 'position_ids'")


def without_positions(keywords: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in keywords.items() if name != "position_ids"}


def without_slots(keywords: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in keywords.items() if name != "readout_slots"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (unknown_embeddings, "unexpected keyword argument 'inputs_embeds'"),
        (unknown_positions, "unexpected keyword argument 'position_ids'"),
        (without_slots, "their slots by 0.0e+00"),
        (without_positions, "their order by"),
    ],
)
def test_encoder_in_which_read_outs_do_not_work_is_refused_by_name(
    loader: Loader, change: Callable[[dict[str, Any]], dict[str, Any]], reason: str
):
    encoder = loader("BERT")
    with pytest.raises(EncoderError, match="read-outs do not work in") as caught:
        check_readouts(replace(encoder, model=Refusing(encoder.model, change)))
    error = caught.value
    assert reason in error.what and encoder.files.label in error.what
    assert "inputs_embeds and position_ids" in error.expected
    assert f"prefix.kind=deep with encoder={encoder.files.origin.name}" in error.fix
    assert not any("\n" in line for line in (error.what, error.expected, error.fix))
