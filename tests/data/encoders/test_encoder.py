"""Encoders of every family, loaded from their files.

What a prefix does in them, and which are refused.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    AutoModel,
    BartConfig,
    BartModel,
    BertForMaskedLM,
    BertModel,
    OPTConfig,
    OPTModel,
    PreTrainedTokenizerFast,
)
from transformers.masking_utils import eager_mask

from prefixbank.choices import Rule
from prefixbank.config.schema import EncoderConfig
from prefixbank.core.attention.prefix_attention import Slots
from prefixbank.core.combine import Bank, default_weights
from prefixbank.core.embed import embed_batches, encode
from prefixbank.core.pooling import Pooling
from prefixbank.core.prefix import Prefix
from prefixbank.core.shapes import EncoderShape
from prefixbank.core.training.precision import checkpointed_layers
from prefixbank.data.encoders import encoder as encoder_module
from prefixbank.data.encoders.batches import budget_batches, tokenize
from prefixbank.data.encoders.encoder import Encoder, load_encoder
from prefixbank.data.encoders.files import locate_encoder
from prefixbank.errors import EncoderError, UsageError
from tests.data.encoders.models import (
    FAMILIES,
    MAX_TOKENS,
    REFUSED,
    WORDS,
    Family,
    bare_llama,
    change_json,
    files_in,
    new_tokenizer,
    write_encoder,
)

TEXTS = (
    "a text",
    "a somewhat longer text , so that the first one is padded good bad red",
    "good , bad",
)
REFERENCE = "softmax_in_double_precision"
MEAN = Pooling(position="mean", layers="last", last_k=1, layer=0)
every_family = pytest.mark.parametrize("family", FAMILIES)
Loader = Callable[[str], Encoder]


def reference_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scaling: float,
    prefix_slots: Slots,
    count: list[int],
    **_: Any,
) -> tuple[Tensor, None]:
    """Prefix attention by its formula, in float64, layers counted by calls.

    The mask is added to the text's logits.
    """
    layer, groups = len(count), query.shape[1] // key.shape[1]
    count.append(layer)
    query, key, value = (
        query.double(),
        key.double().repeat_interleave(groups, 1),
        value.double().repeat_interleave(groups, 1),
    )
    slot_keys, slot_values = (
        part[layer].double().repeat_interleave(groups, 0)
        for part in (prefix_slots.keys, prefix_slots.values)
    )
    text = torch.einsum("bhqd,bhkd->bhqk", query, key) * scaling + (
        0 if mask is None else mask.double()
    )
    slots = torch.einsum("bhqd,hsd->bhqs", query, slot_keys) * scaling
    if prefix_slots.bias is not None:
        slots = (
            slots + prefix_slots.bias[layer].double().repeat_interleave(groups, 0)[None, :, None]
        )
    weights = torch.softmax(torch.cat([text, slots], dim=-1), dim=-1)
    output = torch.einsum("bhqk,bhkd->bqhd", weights[..., : text.shape[-1]], value)
    output = output + torch.einsum("bhqs,hsd->bqhd", weights[..., text.shape[-1] :], slot_values)
    return output.float().contiguous(), None


AttentionInterface.register(REFERENCE, reference_attention)
AttentionMaskInterface.register(REFERENCE, eager_mask)


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


def inputs_of(
    encoder: Encoder, texts: tuple[str, ...] = TEXTS, side: str = "right"
) -> dict[str, Tensor]:
    encoded = encoder.tokenizer(list(texts), padding=True, padding_side=side, return_tensors="pt")
    return {name: encoded[name] for name in encoder.tokenizer.model_input_names}


def prefix_of(
    shape: EncoderShape, seed: int = 0, *, gated: bool = False, length: int = 5
) -> Prefix:
    generator = torch.Generator().manual_seed(seed)
    tensor = torch.randn(shape.prefix_shape(length), generator=generator)
    return Prefix(
        tensor=tensor,
        log_gate=torch.randn(shape.layers, shape.kv_heads, generator=generator) if gated else None,
    )


def states_of(
    encoder: Encoder, inputs: dict[str, Tensor], slots: Slots | None = None
) -> tuple[Tensor, ...]:
    """Hidden states of all layers."""
    with torch.no_grad():
        states: tuple[Tensor, ...] = encoder.model(
            **inputs, prefix_slots=slots, attention_calls=[], output_hidden_states=True
        ).hidden_states
    return states


def distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).detach().abs().max())


@every_family
def test_encoder_has_the_shape_of_its_configuration(loader: Loader, family: str):
    wanted = FAMILIES[family]
    expected = EncoderShape(
        layers=wanted.layers, heads=4, kv_heads=wanted.kv_heads, head_size=8, hidden_size=32
    )
    assert loader(family).shape == expected


@every_family
def test_encoder_is_frozen_and_in_evaluation_mode(loader: Loader, family: str):
    model = loader(family).model
    assert not any(parameter.requires_grad for parameter in model.parameters()) and not any(
        module.training for module in model.modules()
    )


@every_family
def test_encoder_without_prefix_equals_the_model_of_transformers(loader: Loader, family: str):
    encoder = loader(family)
    plain = AutoModel.from_pretrained(encoder.files.folder, attn_implementation="eager").eval()
    inputs = inputs_of(encoder)
    real = inputs["attention_mask"].bool()
    with torch.no_grad():
        expected = plain(**inputs).last_hidden_state
    assert distance(states_of(encoder, inputs)[-1][real], expected[real]) < 1e-5


@every_family
@pytest.mark.parametrize("gated", [False, True], ids=["no gate", "gate"])
def test_encoder_with_prefix_equals_the_formula(loader: Loader, family: str, gated: bool):
    encoder = loader(family)
    inputs, slots = inputs_of(encoder), prefix_of(encoder.shape, gated=gated).slots()
    real = inputs["attention_mask"].bool()
    formula = AutoModel.from_pretrained(encoder.files.folder, attn_implementation=REFERENCE).eval()
    with torch.no_grad():
        expected = formula(**inputs, prefix_slots=slots, count=[]).last_hidden_state
    assert distance(states_of(encoder, inputs, slots)[-1][real], expected[real]) < 1e-4


@every_family
def test_prefix_changes_the_output_of_every_token(loader: Loader, family: str):
    encoder = loader(family)
    inputs = inputs_of(encoder)
    change = (
        states_of(encoder, inputs, prefix_of(encoder.shape).slots())[-1]
        - states_of(encoder, inputs)[-1]
    )
    assert float(change[inputs["attention_mask"].bool()].abs().amax(dim=-1).min()) > 1e-2


@every_family
def test_slots_of_a_layer_are_read_in_that_layer(loader: Loader, family: str):
    encoder = loader(family)
    inputs, prefix = inputs_of(encoder), prefix_of(encoder.shape)
    before = states_of(encoder, inputs, prefix.slots())
    for layer in range(encoder.shape.layers):
        tensor = prefix.tensor.clone()
        tensor[layer] += 1.0
        after = states_of(encoder, inputs, Prefix(tensor=tensor).slots())
        assert [torch.equal(*pair) for pair in zip(before, after, strict=True)] == [
            depth <= layer for depth in range(len(before))
        ]


@every_family
def test_slots_are_read_by_every_token_in_every_layer(loader: Loader, family: str):
    encoder = loader(family)
    inputs, prefix = inputs_of(encoder), prefix_of(encoder.shape)
    before = states_of(encoder, inputs, prefix.slots())
    for layer in range(encoder.shape.layers):
        tensor = prefix.tensor.clone()
        tensor[layer] += 1.0
        change = (
            states_of(encoder, inputs, Prefix(tensor=tensor).slots())[layer + 1] - before[layer + 1]
        )
        assert float(change[inputs["attention_mask"].bool()].abs().amax(dim=-1).min()) > 1e-4


@every_family
def test_prefix_of_length_zero_equals_no_prefix(loader: Loader, family: str):
    encoder = loader(family)
    inputs = inputs_of(encoder)
    empty = prefix_of(encoder.shape, length=0).slots()
    assert torch.equal(states_of(encoder, inputs, empty)[-1], states_of(encoder, inputs)[-1])


@every_family
def test_prefix_that_nobody_reads_moves_no_position(loader: Loader, family: str):
    encoder = loader(family)
    inputs, prefix = inputs_of(encoder), prefix_of(encoder.shape)
    closed = Prefix(
        tensor=prefix.tensor,
        log_gate=torch.full((encoder.shape.layers, encoder.shape.kv_heads), -math.inf),
    )
    real = inputs["attention_mask"].bool()
    assert (
        distance(
            states_of(encoder, inputs, closed.slots())[-1][real],
            states_of(encoder, inputs)[-1][real],
        )
        < 1e-5
    )


@every_family
@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_and_batch_mates_change_nothing(loader: Loader, family: str, side: str):
    encoder, slots = loader(family), prefix_of(loader(family).shape, gated=True).slots()
    together = inputs_of(encoder, side=side)
    if side == "left" and not FAMILIES[family].positions_follow_padding:
        together["position_ids"] = (together["attention_mask"].cumsum(dim=1) - 1).clamp(min=0)
    states = states_of(encoder, together, slots)[-1]
    for row, text in enumerate(TEXTS):
        alone = states_of(encoder, inputs_of(encoder, (text,)), slots)[-1][0]
        assert distance(alone, states[row][together["attention_mask"][row].bool()]) < 1e-5


@every_family
def test_hidden_states_run_from_embeddings_to_the_output(loader: Loader, family: str):
    encoder = loader(family)
    inputs = inputs_of(encoder)
    states = states_of(encoder, inputs)
    with torch.no_grad():
        output = encoder.model(**inputs, attention_calls=[]).last_hidden_state
    assert len(states) == encoder.shape.layers + 1 and torch.equal(states[-1], output)


@every_family
def test_encode_pools_what_the_encoder_makes_with_the_prefix(loader: Loader, family: str):
    encoder = loader(family)
    inputs, slots = inputs_of(encoder), prefix_of(encoder.shape, gated=True).slots()
    states = states_of(encoder, inputs, slots)[-1]
    expected = torch.stack(
        [
            row[mask.bool()].mean(dim=0)
            for row, mask in zip(states, inputs["attention_mask"], strict=True)
        ]
    )
    with torch.no_grad():
        assert distance(encode(encoder.model, inputs, slots, MEAN), expected) < 1e-5


@pytest.mark.parametrize("family", [name for name, facts in FAMILIES.items() if facts.recomputes])
def test_recomputed_layers_give_the_same_gradients(loader: Loader, family: str):
    encoder, found = loader(family), []
    for enabled in (False, True):
        prefix = prefix_of(encoder.shape, gated=True)
        for tensor in (prefix.tensor, prefix.log_gate):
            tensor.requires_grad_()
        with checkpointed_layers(encoder.model, enabled=enabled):
            encode(
                encoder.model, inputs_of(encoder), prefix.slots(), MEAN
            ).square().sum().backward()
        found.append((prefix.tensor.grad, prefix.log_gate.grad))
    assert all(
        distance(one, other) < 1e-6 * float(one.abs().max() + 1)
        for one, other in zip(*found, strict=True)
    )
    assert float(found[1][0].abs().amax(dim=(1, 2, 3, 4)).min()) > 1e-6


@every_family
def test_text_of_the_longest_length_fits(loader: Loader, family: str):
    encoder = loader(family)
    states = states_of(
        encoder, inputs_of(encoder, (" ".join(["good"] * (encoder.max_tokens - 2)),))
    )
    assert encoder.max_tokens == MAX_TOKENS and states[-1].shape[1] == MAX_TOKENS


def test_length_beyond_the_positions_is_refused(loader: Loader):
    loader("BERT").check_length(MAX_TOKENS)
    with pytest.raises(UsageError, match="max_length_tokens=65 with encoder toy") as caught:
        loader("BERT").check_length(MAX_TOKENS + 1)
    assert caught.value.fix == "max_length_tokens=64"


@every_family
@pytest.mark.parametrize(
    ("limit", "longest"), [(40, 40), (int(1e30), MAX_TOKENS)], ids=["tokenizer", "positions"]
)
def test_smaller_limit_of_tokenizer_and_positions_counts(
    tmp_path: Path, family: str, limit: int, longest: int
):
    files = files_in(
        write_encoder(tmp_path, FAMILIES[family], tokenizer=new_tokenizer(model_max_length=limit))
    )
    assert load_encoder(files, "cpu").max_tokens == longest


@pytest.mark.parametrize("name", REFUSED)
def test_family_with_attention_of_its_own_is_refused_by_name(tmp_path: Path, name: str):
    with pytest.raises(
        EncoderError, match=f"{REFUSED[name].model} .* does not use transformers' attention"
    ) as caught:
        load_encoder(files_in(write_encoder(tmp_path, REFUSED[name])), "cpu")
    families = (*FAMILIES, name.removesuffix("-v2"))
    assert not [family for family in families if family not in caught.value.expected]


def test_encoder_whose_prefix_is_not_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(encoder_module, "Slots", lambda keys, values: None)
    with pytest.raises(EncoderError, match=r"a random prefix changes the output by 0\.0e\+00"):
        load_encoder(files_in(write_encoder(tmp_path)), "cpu")


def test_encoder_that_reads_padding_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(AttentionMaskInterface._global_mapping, "prefixbank", lambda *_, **__: None)
    with pytest.raises(EncoderError, match="the self-check of toy failed") as caught:
        load_encoder(files_in(write_encoder(tmp_path)), "cpu")
    assert "ModernBERT" in caught.value.expected


def test_checkpoint_of_a_task_model_loads_its_encoder(tmp_path: Path):
    plain = FAMILIES["BERT"].build()
    model = BertForMaskedLM(plain.config)
    model.bert.load_state_dict(plain.state_dict(), strict=False)
    model.save_pretrained(write_encoder(tmp_path))
    encoder = load_encoder(files_in(tmp_path), "cpu")
    inputs = inputs_of(encoder)
    with torch.no_grad():
        expected = plain(**inputs).last_hidden_state
    assert (
        distance(states_of(encoder, inputs)[-1], expected) < 1e-5 and encoder.model.pooler is None
    )


def test_sharded_weights_load_as_whole_ones_do(tmp_path: Path, loader: Loader):
    folder = write_encoder(tmp_path, max_shard_size="20KB")
    assert (folder / "model.safetensors.index.json").is_file() and not (
        folder / "model.safetensors"
    ).exists()
    encoder = load_encoder(files_in(folder), "cpu")
    assert torch.equal(
        states_of(encoder, inputs_of(encoder))[-1],
        states_of(loader("BERT"), inputs_of(encoder))[-1],
    )


def test_half_precision_weights_are_loaded_in_single_precision(tmp_path: Path):
    FAMILIES["BERT"].build().bfloat16().save_pretrained(write_encoder(tmp_path))
    model = load_encoder(files_in(tmp_path), "cpu").model
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_checkpoint_that_lacks_weights_is_refused(tmp_path: Path):
    folder = write_encoder(tmp_path)
    change_json(folder / "config.json", lambda config: config | {"num_hidden_layers": 4})
    with pytest.raises(
        EncoderError, match=r"toy lacks 16 weights of BertModel, such as encoder\.layer\.3\."
    ):
        load_encoder(files_in(folder), "cpu")


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weight_that_is_no_number_is_refused(tmp_path: Path, value: float):
    model = FAMILIES["BERT"].build()
    model.encoder.layer[1].output.dense.weight.data[0, 0] = value
    write_encoder(tmp_path)
    model.save_pretrained(tmp_path)
    with pytest.raises(
        EncoderError, match=r"NaN or infinity in 1 weights of .*encoder\.layer\.1\.output\.dense"
    ):
        load_encoder(files_in(tmp_path), "cpu")


def test_token_without_an_embedding_is_refused(tmp_path: Path):
    tokenizer = new_tokenizer()
    tokenizer.add_tokens(["added"])
    count = len(WORDS)
    with pytest.raises(EncoderError, match=f"has {count + 1} tokens, its model {count} embeddings"):
        load_encoder(files_in(write_encoder(tmp_path, tokenizer=tokenizer)), "cpu")


def test_model_of_one_token_type_reads_pairs(tmp_path: Path):
    one = Family(model="BertModel", config="BertConfig", more={"type_vocab_size": 1})
    encoder = load_encoder(files_in(write_encoder(tmp_path, one)), "cpu")
    (batch,) = budget_batches(encoder.tokenize(["a text"], ["good"], MAX_TOKENS), 1000)
    assert set(batch.inputs) == {"input_ids", "attention_mask"}
    theirs = BertModel.from_pretrained(tmp_path, add_pooling_layer=False).eval()
    with torch.no_grad():
        expected = theirs(**batch.inputs).last_hidden_state
    assert distance(states_of(encoder, dict(batch.inputs))[-1], expected) < 1e-5


def test_tokenizer_without_padding_is_refused(tmp_path: Path):
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=new_tokenizer().backend_tokenizer)
    with pytest.raises(EncoderError, match="the tokenizer of toy has no padding token"):
        load_encoder(files_in(write_encoder(tmp_path, tokenizer=tokenizer)), "cpu")


def test_raw_language_model_pads_with_the_token_that_ends_a_text(tmp_path: Path):
    encoder = load_encoder(files_in(bare_llama(tmp_path)), "cpu")
    assert encoder.tokenizer.pad_token == "[END]"
    tokens = encoder.tokenize(["one", "another"], None, MAX_TOKENS)
    (batch,) = budget_batches(tokens, 1000)
    states = states_of(encoder, dict(batch.inputs))[-1]
    for place, row in enumerate(batch.rows):
        (alone,) = budget_batches(encoder.tokenize([("one", "another")[row]], None, 64), 1000)
        found = states[place][batch.inputs["attention_mask"][place].bool()]
        assert distance(states_of(encoder, dict(alone.inputs))[-1][0], found) < 1e-5


def test_encoder_joins_pairs_with_the_separator_of_its_settings(tmp_path: Path):
    folder = bare_llama(tmp_path)
    encoder = load_encoder(files_in(folder, pair_separator="\n"), "cpu")
    (ids,) = encoder.tokenize(["one"], ["two"], MAX_TOKENS).columns["input_ids"]
    assert encoder.tokenizer.decode(ids) == "one\ntwo"
    with pytest.raises(EncoderError, match="puts nothing between the two texts of a pair"):
        load_encoder(files_in(folder), "cpu").tokenize(["one"], ["two"], MAX_TOKENS)


def test_tokenizer_that_pads_on_the_left_is_accepted(tmp_path: Path):
    encoder = load_encoder(
        files_in(write_encoder(tmp_path, tokenizer=new_tokenizer(padding_side="left"))), "cpu"
    )
    tokens = tokenize(encoder.tokenizer, TEXTS, None, MAX_TOKENS)
    (batch,) = budget_batches(tokens, 1000)
    assert batch.inputs["attention_mask"][:, 0].all()


def test_tokenizer_without_a_fast_form_is_refused(tmp_path: Path):
    vocabulary = tmp_path / "words.txt"
    vocabulary.write_text("\n".join(WORDS), encoding="utf-8")
    slow = transformers.BertJapaneseTokenizer(
        vocabulary, word_tokenizer_type="basic", subword_tokenizer_type="character"
    )
    folder = write_encoder(tmp_path / "encoder")
    (folder / "tokenizer.json").unlink()
    slow.save_pretrained(folder)
    with pytest.raises(
        EncoderError, match=r"the tokenizer of toy \(BertJapaneseTokenizer\) has no fast version"
    ):
        load_encoder(files_in(folder), "cpu")


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("model.safetensors", b"", "model"),
        ("model.safetensors", b"\x40\x00\x00\x00\x00\x00\x00\x00{}", "model"),
        ("tokenizer.json", b"{", "tokenizer"),
        ("tokenizer.json", b"{}", "tokenizer"),
        ("tokenizer.json", b"[]", "tokenizer"),
        ("tokenizer_config.json", b'{"a":', "tokenizer"),
        ("config.json", b"{", "tokenizer"),
        ("config.json", b"{}", "model"),
        ("config.json", b'{"model_type": "no_such_model"}', "model"),
        ("config.json", b'{"model_type": "bert", "num_hidden_layers": "two"}', "tokenizer"),
        ("config.json", b'{"model_type": "bert", "hidden_size": 64}', "model"),
    ],
)
def test_damaged_file_is_an_error_that_names_the_encoder(
    tmp_path: Path, name: str, content: bytes, part: str
):
    folder = write_encoder(tmp_path)
    (folder / name).write_bytes(content)
    with pytest.raises(EncoderError, match=f"cannot read the {part} of toy: ."):
        load_encoder(files_in(folder), "cpu")


@pytest.mark.parametrize("model_type", ["bert", "no_such_model"])
def test_code_beside_the_weights_is_not_run(tmp_path: Path, model_type: str):
    folder = write_encoder(tmp_path / "encoder")
    names = {"AutoConfig": "evil.EvilConfig", "AutoModel": "evil.EvilModel"}
    change_json(
        folder / "config.json",
        lambda config: config | {"auto_map": names, "model_type": model_type},
    )
    change_json(
        folder / "tokenizer_config.json",
        lambda config: config | {"auto_map": {"AutoTokenizer": [None, "evil.EvilTokenizer"]}},
    )
    (folder / "evil.py").write_text(
        f"open({json.dumps(str(tmp_path / 'ran'))}, 'w').close()", encoding="utf-8"
    )
    if model_type == "bert":
        assert load_encoder(files_in(folder), "cpu").shape.layers == 3
    else:
        with pytest.raises(EncoderError, match="cannot read the (model|tokenizer) of toy"):
            load_encoder(files_in(folder), "cpu")
    assert not (tmp_path / "ran").exists() and not [
        name for name in sys.modules if name.endswith("evil")
    ]


@pytest.fixture(scope="module")
def bundled() -> Encoder:
    """The encoder of the extra `starter`."""
    return load_encoder(locate_encoder(EncoderConfig()), "cpu")


SENTENCES = (
    "A film that nobody should miss.",
    "No.",
    "The second half drags on, and the ending makes no sense at all!",
)


def vectors_of(
    encoder: Encoder, bank: Bank, texts: tuple[str, ...] = SENTENCES, budget_tokens: int = 1000
) -> Tensor:
    tokens = tokenize(encoder.tokenizer, texts, None, 64)
    batches = budget_batches(tokens, budget_tokens)
    (vectors,) = embed_batches(encoder.model, batches, bank, count=len(texts), precision="fp32")
    return torch.from_numpy(vectors)


def bank_of(
    encoder: Encoder, *seeds: int, rule: Rule = "concat_prefixes", scale: float = 0.5
) -> Bank:
    prefixes = tuple(prefix_of(encoder.shape, seed) for seed in seeds)
    scaled = tuple(replace(prefix, tensor=prefix.tensor * scale) for prefix in prefixes)
    return Bank(
        prefixes=scaled,
        weights=default_weights(len(seeds), normalize=True) if seeds else (),
        rule=rule,
        pooling=MEAN,
    )


def test_bundled_encoder_without_prefixes_is_its_own_sentence_vector(bundled: Encoder):
    plain = AutoModel.from_pretrained(bundled.files.folder).eval()
    encoded = bundled.tokenizer(list(SENTENCES), padding=True, return_tensors="pt")
    with torch.no_grad():
        states = plain(**encoded).last_hidden_state
    mask = encoded["attention_mask"][..., None]
    assert (
        distance(
            vectors_of(bundled, bank_of(bundled)), (states * mask).sum(dim=1) / mask.sum(dim=1)
        )
        < 1e-5
    )


def test_batch_mates_change_nothing_in_the_bundled_encoder(bundled: Encoder):
    bank = bank_of(bundled, 0, 1)
    assert distance(vectors_of(bundled, bank), vectors_of(bundled, bank, budget_tokens=1)) < 1e-5


def test_order_of_prefixes_changes_nothing_in_the_bundled_encoder(bundled: Encoder):
    assert (
        distance(
            vectors_of(bundled, bank_of(bundled, 0, 1, 2)),
            vectors_of(bundled, bank_of(bundled, 2, 0, 1)),
        )
        < 1e-5
    )


@pytest.mark.parametrize("rule", ["concat_prefixes", "mean_prefixes", "mean_vectors"])
def test_copies_of_a_prefix_equal_it_in_the_bundled_encoder(bundled: Encoder, rule: Rule):
    assert (
        distance(
            vectors_of(bundled, bank_of(bundled, 4, 4, 4, rule=rule)),
            vectors_of(bundled, bank_of(bundled, 4)),
        )
        < 1e-5
    )


def test_prefix_changes_every_vector_of_the_bundled_encoder(bundled: Encoder):
    change = vectors_of(bundled, bank_of(bundled, 0)) - vectors_of(bundled, bank_of(bundled))
    assert float(change.abs().amax(dim=1).min()) > 1e-2


def test_encoder_with_a_decoder_is_refused(tmp_path: Path):
    small = {"encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    config = BartConfig(
        vocab_size=len(WORDS), d_model=16, max_position_embeddings=64, **small, **heads
    )
    BartModel(config).save_pretrained(tmp_path)
    new_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(EncoderError, match="BartModel .* is an encoder with a decoder"):
        load_encoder(files_in(tmp_path), "cpu")


def test_layers_that_call_dropout_themselves_do_not_when_checkpointed():
    config = OPTConfig(
        vocab_size=20,
        hidden_size=16,
        word_embed_proj_dim=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        ffn_dim=16,
        max_position_embeddings=32,
        dropout=0.5,
    )
    model = OPTModel(config).eval()
    ids = torch.arange(3, 9)[None]
    with torch.no_grad():
        plain = model(ids).last_hidden_state
        with checkpointed_layers(model, enabled=True):
            assert torch.equal(model(ids, use_cache=False).last_hidden_state, plain)
    assert {layer.dropout for layer in model.decoder.layers} == {0.5}
