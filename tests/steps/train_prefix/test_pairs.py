"""Source tasks whose texts are read apart: keys, artifacts, scores and heads of banks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

from prefixbank.artifacts.bank import read_bank
from prefixbank.artifacts.json_files import read_json
from prefixbank.artifacts.source_head import block_sizes, read_heads
from prefixbank.config.commands import TrainPrefixConfig
from prefixbank.config.compose import compose
from prefixbank.config.running import RunConfig
from prefixbank.config.schema import (
    BankRecipe,
    EmbedRecipe,
    EncoderConfig,
    PrefixRecipe,
    TaskConfig,
    recipe_of,
)
from prefixbank.core.pairs import pair_features
from prefixbank.data.corpus.texts import Texts
from prefixbank.data.tasks.task import SPLITS, Task
from prefixbank.errors import UsageError
from prefixbank.runtime.context import Context
from prefixbank.steps import combine
from prefixbank.steps.embed.loaded_bank import LoadedBank
from prefixbank.steps.embed.rows import embed_rows
from prefixbank.steps.score_prefix import step as score_prefix
from prefixbank.steps.train_prefix import step as train_prefix
from prefixbank.store.artifact import Entry
from prefixbank.store.key import key_of
from prefixbank.store.store import Store
from tests.prepared import SMALL, copy_store

KINDS = ("deep", "readout")
APART = "prefix.pairs=separate"


@pytest.fixture
def context(prepared, tmp_path) -> Context:
    return Context(
        Store(copy_store(prepared.store, tmp_path / "copy")),
        RunConfig(device="cpu", data_root=str(prepared.tasks)),
    )


def single_of(context: Context) -> Task:
    return context.task(TaskConfig(name="alpha"))


def pairs_of(context: Context) -> Task:
    """Task alpha, where the second text of a row is the first one of the row before."""
    task = single_of(context)
    splits = {
        name: replace(
            task.split(name), pairs=(task.split(name).texts[-1], *task.split(name).texts[:-1])
        )
        for name in SPLITS
    }
    return replace(task, **splits)


def unit_of(context: Context, task: Task, *changes: str):
    recipe = recipe_of(compose(TrainPrefixConfig, ["task=folder", *SMALL, *changes]), PrefixRecipe)
    files = context.encoder_files(EncoderConfig(source="tiny"))
    return train_prefix.unit(context, task, files, recipe, "pairs")


def trained(context: Context, task: Task, *changes: str) -> Entry:
    return context.ensure(unit_of(context, task, *changes)).entry


def test_reading_apart_changes_the_key_of_pairs_and_not_of_single_texts(context: Context):
    def keys(task: Task) -> set[str]:
        return {key_of(unit_of(context, task, *more).document) for more in ((), (APART,))}

    assert (len(keys(pairs_of(context))), len(keys(single_of(context)))) == (2, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_score_on_validation_is_the_one_that_training_found(context: Context, kind: str):
    task = pairs_of(context)
    prefix = trained(context, task, APART, f"prefix.kind={kind}", "optim.epochs=3")
    files = context.encoder_files(EncoderConfig(source="tiny"))
    unit = score_prefix.unit(
        context, prefix, task, files, "x", bootstrap_samples=100, split="validation"
    )
    found = read_json(context.ensure(unit).entry, "score.json")
    result = read_json(prefix, "result.json")
    assert found["score"] == pytest.approx(result["validation"]) and result["pairs"] == "separate"


@pytest.mark.parametrize("states", ["cached_fp32", "recomputed"])
def test_texts_that_are_kept_train_as_those_that_are_encoded_again(context: Context, states: str):
    prefix = trained(
        context, pairs_of(context), APART, "prefix.kind=readout", f"optim.text_states={states}"
    )
    losses = [line["loss"] for line in _curve(prefix) if "loss" in line]
    again = trained(context, pairs_of(context), APART, "prefix.kind=readout")
    wanted = [line["loss"] for line in _curve(again) if "loss" in line]
    assert losses == pytest.approx(wanted, abs=1e-4)


def _curve(entry: Entry):
    import json

    lines = entry.file("curve.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_slots_start_from_tokens_of_first_texts(context: Context):
    prefix = trained(context, pairs_of(context), APART, "prefix.init=texts", "optim.epochs=0")
    assert np.isfinite(load_file(prefix.file("prefix.safetensors"))["prefix"]).all()


def test_head_of_a_bank_predicts_from_the_blocks_of_both_texts(context: Context):
    task = pairs_of(context)
    prefix = trained(context, task, APART, "prefix.kind=readout", "optim.epochs=3")
    bank = context.ensure(combine.unit([prefix], BankRecipe(), "b")).entry
    files = context.encoder_files(EncoderConfig(source="tiny"))
    (first, second) = (
        embed_rows(context, read_bank(bank), files, Texts(texts=texts, pairs=None), EmbedRecipe())[
            0
        ][1]
        for texts in (task.test.texts, task.test.pairs)
    )
    ((head,),) = read_heads(bank).values()
    unit = score_prefix.unit(context, prefix, task, files, "x", bootstrap_samples=100)
    scored = load_file(context.ensure(unit).entry.file("predictions.safetensors"))
    assert np.array_equal(head.predict(first, second), scored["predictions"])


@pytest.mark.parametrize(
    ("trained_on", "how"), [("separate", "joint"), ("separate", "separate"), ("joint", "joint")]
)
def test_loaded_bank_reads_pairs_as_its_head_was_trained(
    context: Context, trained_on: str, how: str
):
    task = pairs_of(context)
    prefix = trained(
        context, task, "prefix.kind=readout", "optim.epochs=3", f"prefix.pairs={trained_on}"
    )
    files = context.encoder_files(EncoderConfig(source="tiny"))
    unit = score_prefix.unit(context, prefix, task, files, "x", bootstrap_samples=100)
    scored = load_file(context.ensure(unit).entry.file("predictions.safetensors"))
    bank = context.ensure(combine.unit([prefix], BankRecipe(), "b")).entry
    loaded = LoadedBank(context, bank, files, EmbedRecipe(pairs=how))
    (found,) = loaded.predict(task.test.texts, task.test.pairs).values()
    assert np.array_equal(found.values, scored["predictions"])
    assert list(block_sizes(bank).values()) == [None, 64]


def test_head_that_compares_two_texts_refuses_single_ones(context: Context):
    prefix = trained(context, pairs_of(context), APART, "prefix.kind=readout")
    bank = context.ensure(combine.unit([prefix], BankRecipe(), "b")).entry
    files = context.encoder_files(EncoderConfig(source="tiny"))
    loaded = LoadedBank(context, bank, files, EmbedRecipe())
    with pytest.raises(UsageError, match=r"pairs=separate for these texts"):
        loaded.predict(["a text"])


def test_blocks_of_such_a_source_are_read_as_embed_says(context: Context):
    task = pairs_of(context)
    prefix = trained(context, task, APART, "prefix.kind=readout")
    bank = read_bank(context.ensure(combine.unit([prefix], BankRecipe(), "b")).entry)
    files = context.encoder_files(EncoderConfig(source="tiny"))
    pairs = Texts(texts=task.test.texts, pairs=task.test.pairs)

    def block(texts: Texts, how: str) -> np.ndarray:
        return embed_rows(context, bank, files, texts, EmbedRecipe(pairs=how))[0][1]

    u, v = (
        block(Texts(texts=one, pairs=None), "joint") for one in (task.test.texts, task.test.pairs)
    )
    joint = block(pairs, "joint")
    assert np.allclose(block(pairs, "separate"), pair_features(u, v), atol=1e-5)
    assert joint.shape == u.shape and not np.allclose(joint, u, atol=1e-2)
