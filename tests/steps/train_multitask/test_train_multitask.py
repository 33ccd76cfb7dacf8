"""The step that fine-tunes an encoder.

What its key follows, what its artifact holds, and how that is used as an encoder.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from prefixbank.artifacts.encoder import encoder_of
from prefixbank.artifacts.json_files import read_json
from prefixbank.artifacts.pooling import pooling_of
from prefixbank.config.running import RunConfig
from prefixbank.config.schema import (
    EmbedRecipe,
    EncoderConfig,
    FineTuneConfig,
    MultitaskConfig,
    MultitaskRecipe,
    PoolingConfig,
    TaskConfig,
)
from prefixbank.core.stats.metrics import score
from prefixbank.core.training.heads import new_head
from prefixbank.data.encoders.encoder import Encoder, load_encoder
from prefixbank.data.encoders.files import describe_folder
from prefixbank.data.tasks.task import Examples, Task
from prefixbank.errors import DamagedError, UsageError
from prefixbank.runtime.context import Context
from prefixbank.steps.embed import step as embed
from prefixbank.steps.embed.spec import EmbeddingSpec
from prefixbank.steps.train_multitask import make as multitasking
from prefixbank.steps.train_multitask import step as train_multitask
from prefixbank.steps.train_multitask.make import fit_settings
from prefixbank.steps.train_multitask.step import check_tasks, unit
from prefixbank.store.artifact import Entry
from prefixbank.store.key import key_of
from prefixbank.store.store import Store
from tests.data.encoders.models import bare_llama

QUICK = MultitaskRecipe(optim=FineTuneConfig(epochs=1, batch_size=16))


@pytest.fixture
def context(prepared, store: Store) -> Context:
    """Runs on the CPU, with tasks named alpha, beta, gamma and omega."""
    return Context(store, RunConfig(device="cpu", data_root=str(prepared.tasks)))


@pytest.fixture
def train(context: Context):
    """Fine-tune the tiny encoder on named tasks."""

    def make(
        *names: str,
        recipe: MultitaskRecipe = QUICK,
        name: str = "",
        force: bool = False,
        **changes: Task,
    ) -> Entry:
        tasks = [changes.get(one) or context.task(TaskConfig(name=one)) for one in names]
        files = context.encoder_files(EncoderConfig(source="tiny"))
        return replace(context, force=force).ensure(unit(context, tasks, files, recipe, name)).entry

    return make


@pytest.fixture
def key(context: Context):
    """Return the key of a unit that is not run."""

    def of(*names: str, recipe: MultitaskRecipe = QUICK, **changes: Task) -> str:
        tasks = [changes.get(one) or context.task(TaskConfig(name=one)) for one in names]
        return key_of(
            unit(
                context, tasks, context.encoder_files(EncoderConfig(source="tiny")), recipe
            ).document
        )

    return of


def task_of(labels: np.ndarray, kind: str = "classification") -> Task:
    rows = Examples(texts=("a",) * len(labels), pairs=None, labels=labels)
    metric, names = ("pearson", ()) if kind == "regression" else ("macro_f1", ("no", "yes"))
    return Task(
        name="t", kind=kind, metric=metric, labels=names, train=rows, validation=rows, test=rows
    )


def result_of(entry: Entry) -> Any:
    return json.loads((entry.path / "result.json").read_text(encoding="utf-8"))


def test_settings_are_those_of_the_tasks_and_the_recipe():
    recipe = MultitaskRecipe(
        optim=FineTuneConfig(
            lr=0.5,
            head_lr=0.25,
            epochs=7,
            early_stopping_patience=2,
            gradient_accumulation_steps=3,
            schedule="cosine",
            precision="bf16",
        ),
        pooling=PoolingConfig(position="cls", layers="concat_last", last_k=2),
        seed=11,
    )
    found = fit_settings(
        [task_of(np.array([0, 1])), task_of(np.array([1.0, 2.0, 6.0]), "regression")], recipe
    )
    assert (
        found.lr,
        found.head_lr,
        found.epochs,
        found.early_stopping_patience,
        found.gradient_accumulation_steps,
    ) == (0.5, 0.25, 7, 2, 3)
    assert (
        found.schedule,
        found.precision,
        found.seed,
        found.pooling.position,
        found.pooling.last_k,
    ) == ("cosine", "bf16", 11, "cls", 2)
    assert [(task.kind, task.metric, task.num_outputs) for task in found.tasks] == [
        ("classification", "macro_f1", 2),
        ("regression", "pearson", 1),
    ]
    assert (found.tasks[1].label_mean, found.tasks[1].label_scale) == pytest.approx(
        (3.0, np.sqrt(14 / 3))
    )


def test_artifact_holds_encoder_heads_curve_and_result(train):
    names = set(train("alpha", "beta").files)
    assert names >= {
        "encoder/config.json",
        "encoder/model.safetensors",
        "encoder/vocab.txt",
        "heads.safetensors",
        "curve.jsonl",
        "result.json",
    }


def test_result_is_in_the_order_of_the_tasks(train):
    entry = train(
        "alpha",
        "tiny",
        tiny=replace(task_of(np.array([1.0, 2.0, 6.0, 3.0]), "regression"), name="tiny"),
    )
    result = result_of(entry)
    assert [(one["kind"], one["train_rows"], one["examples"]) for one in result["tasks"]] == [
        ("classification", 40, 40),
        ("regression", 4, 4),
    ]
    assert (entry.info["tasks"], result["examples"], result["train_rows"], result["steps"]) == (
        ["alpha", "tiny"],
        44,
        44,
        4,
    )
    assert result["validation"] == pytest.approx(
        np.mean([one["validation"] for one in result["tasks"]])
    )


def pairs_in(task: Task) -> Task:
    """Return a task of pairs: each text with the one before it."""
    splits = {
        split: replace(
            task.split(split), pairs=(task.split(split).texts[-1], *task.split(split).texts[:-1])
        )
        for split in ("train", "validation", "test")
    }
    return replace(task, **splits)


APART = replace(QUICK, multitask=MultitaskConfig(pairs="separate"))


def test_pairs_read_apart_get_a_head_on_both_vectors_difference_and_product(train, context):
    task = pairs_in(context.task(TaskConfig(name="alpha")))
    entry = train("alpha", recipe=APART, alpha=task)
    encoder = load_encoder(encoder_of(entry), device="cpu")
    u, v = (
        torch.cat([_mean_of(encoder, text) for text in texts])
        for texts in (task.validation.texts, task.validation.pairs)
    )
    heads = load_file(entry.path / "heads.safetensors")
    features = torch.cat([u, v, (u - v).abs(), u * v], dim=1)
    outputs = features @ heads["0.weight"].T + heads["0.bias"]
    found = score(task.metric, outputs.argmax(dim=1).numpy(), np.asarray(task.validation.labels), 2)
    assert result_of(entry)["validation"] == pytest.approx(found)


def _mean_of(encoder: Encoder, text: str) -> torch.Tensor:
    inputs = encoder.tokenizer(text, return_tensors="pt")
    with torch.no_grad():
        mean: torch.Tensor = encoder.model(**inputs).last_hidden_state.mean(dim=1)
    return mean


def test_how_pairs_are_read_is_in_the_key_only_where_there_are_pairs(key, context):
    task = pairs_in(context.task(TaskConfig(name="alpha")))
    assert key("alpha", recipe=QUICK) == key("alpha", recipe=APART)
    assert key("alpha", recipe=QUICK, alpha=task) != key("alpha", recipe=APART, alpha=task)


def test_facts_have_encoder_and_seconds(train):
    info = train("alpha").info
    assert (info["encoder"]["source"], info["name"]) == ("tiny", "alpha") and info["seconds"] > 0


def test_name_is_that_of_the_tasks_unless_one_is_given(train, store):
    train("alpha", "beta")
    train("alpha", "beta", name="both")
    assert [str(ref) for ref in store.refs()] == ["multitask/alpha-beta", "multitask/both"]


def test_untrained_encoder_is_the_source(train, context):
    entry = train("alpha", recipe=replace(QUICK, optim=FineTuneConfig(epochs=0)))
    source = context.load(context.encoder_files(EncoderConfig(source="tiny")))
    found, heads = (
        load_file(entry.path / "encoder" / "model.safetensors"),
        load_file(entry.path / "heads.safetensors"),
    )
    assert all(
        torch.equal(found[name], tensor) for name, tensor in source.model.state_dict().items()
    )
    assert torch.equal(heads["0.weight"], new_head(64, 2, 1).weight)


def test_encoder_of_an_artifact_can_be_loaded(train):
    entry = train("alpha", "beta")
    encoder = load_encoder(encoder_of(entry), "cpu")
    stored = load_file(entry.path / "encoder" / "model.safetensors")
    assert all(
        torch.equal(stored[name], tensor) for name, tensor in encoder.model.state_dict().items()
    )
    assert encoder.max_tokens == 128 and not any(
        parameter.requires_grad for parameter in encoder.model.parameters()
    )


def test_encoder_in_memory_stays_as_it_was(train, context):
    source = context.load(context.encoder_files(EncoderConfig(source="tiny")))
    before = {name: tensor.clone() for name, tensor in source.model.state_dict().items()}
    train("alpha", "beta")
    assert all(
        torch.equal(before[name], tensor) for name, tensor in source.model.state_dict().items()
    )


def test_digest_of_the_encoder_is_that_of_its_folder(train):
    files = encoder_of(train("alpha", name="one"))
    assert files.digest == describe_folder(files.folder, files.origin, "").digest
    assert (files.origin.name, files.label[:14]) == ("multitask/one", "multitask/one@")
    assert (
        EncoderConfig(source="folder", name=files.origin.name, path=str(files.folder))
        == files.origin
    )


def test_encoder_trained_from_the_lower_layers_is_loaded_with_them(context, tmp_path):
    config = EncoderConfig(
        source="folder", path=str(bare_llama(tmp_path)), layers=2, pair_separator="\n"
    )
    source, tasks = context.encoder_files(config), [context.task(TaskConfig(name="alpha"))]
    recipe = replace(QUICK, optim=FineTuneConfig(epochs=0), max_length_tokens=32)
    entry = context.ensure(unit(context, tasks, source, recipe)).entry
    files = encoder_of(entry)
    assert (files.origin.layers, files.origin.pair_separator) == (2, "\n")
    assert files.digest == describe_folder(files.folder, files.origin, "").digest
    held = load_file(files.folder / "model.safetensors")
    assert "layers.1.mlp.up_proj.weight" in held
    assert not [name for name in held if name.startswith(("layers.2.", "norm."))]
    assert read_json(entry, "encoder/config.json")["num_hidden_layers"] == 2
    before, after = (load_encoder(one, "cpu") for one in (source, files))
    inputs = {"input_ids": torch.tensor([[5, 6, 7]]), "attention_mask": torch.ones(1, 3).long()}
    with torch.no_grad():
        one, other = (
            encoder.model(**inputs, attention_calls=[]).last_hidden_state
            for encoder in (before, after)
        )
    assert torch.equal(one, other) and after.shape == before.shape
    again = unit(context, tasks, files, recipe, "again")
    assert encoder_of(context.ensure(again).entry).origin.layers == 2


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_encoder_with_a_damaged_file_is_refused(train, name):
    entry = train("alpha")
    path = entry.path / "encoder" / name
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedError, match=name):
        encoder_of(entry)


def test_embeddings_keep_their_encoder_out_of_gc(train, context, store):
    entry = train("alpha")
    parts = embed.parts_of_task(context.task(TaskConfig(name="beta")))
    recipe = EmbedRecipe()
    reading = EmbeddingSpec(
        bank=None, files=encoder_of(entry), recipe=recipe, pooling=pooling_of(entry)
    )
    made = context.ensure(embed.unit(context, reading, parts, "beta", ref=("embeddings", "beta")))
    store.remove_ref("multitask", "alpha")
    later = datetime.now(UTC) + timedelta(days=1000)
    dead = [item.path.name for item in store.gc_plan(later)]
    assert made.key not in dead and entry.key not in dead
    store.remove_ref("embeddings", "beta")
    assert entry.key in [item.path.name for item in store.gc_plan(later)]


def test_same_key_made_again_has_the_same_digest(train):
    first = train("alpha", "beta")
    again = train("alpha", "beta", force=True)
    assert (again.key, again.digest, again.info["forced"]) == (first.key, first.digest, True)


def test_key_ignores_names_and_test_rows(key, context):
    alpha = context.task(TaskConfig(name="alpha"))
    other = replace(alpha, name="other", test=context.task(TaskConfig(name="beta")).test)
    assert key("other", "beta", other=other) == key("alpha", "beta")


def test_key_follows_the_tasks_and_their_order(key):
    assert (
        len({key("alpha", "beta"), key("beta", "alpha"), key("alpha"), key("alpha", "gamma")}) == 4
    )


@pytest.mark.parametrize(
    "change",
    [
        {"multitask": MultitaskConfig(sampling="uniform")},
        {"multitask": MultitaskConfig(size_cap=10)},
        {"optim": FineTuneConfig(epochs=1, batch_size=16, lr=1e-3)},
        {"pooling": PoolingConfig(position="cls")},
        {"seed": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_key_follows_the_recipe(key, change):
    assert key("alpha", recipe=replace(QUICK, **change)) != key("alpha")


def shown(
    monkeypatch: pytest.MonkeyPatch,
    train: Any,
    recipe: MultitaskRecipe,
    epochs: int,
    **changes: Task,
) -> list[list[Any]]:
    """The batches of some epochs, as the training of alpha and of four rows of another task asks
    for them.
    """
    seen: list[list[Any]] = []

    def watch(model: Any, size: int, batches: Any, *rest: Any, **keywords: Any) -> Any:
        seen.extend(batches(epoch) for epoch in range(epochs))
        return fit_multitask(model, size, batches, *rest, **keywords)

    fit_multitask = multitasking.fit_multitask
    monkeypatch.setattr(multitasking, "fit_multitask", watch)
    few = replace(task_of(np.array([0, 1, 1, 0])), name="few")
    train("alpha", "few", recipe=recipe, few=few)
    return seen


def test_proportional_sampling_shows_each_row_once_an_epoch(train, monkeypatch):
    for batches in shown(monkeypatch, train, QUICK, 2):
        rows = Counter((batch.task, row) for batch in batches for row in batch.rows.tolist())
        assert rows == Counter([*((0, row) for row in range(40)), *((1, row) for row in range(4))])


def test_uniform_sampling_shows_each_task_as_often(train, monkeypatch):
    (batches,) = shown(
        monkeypatch, train, replace(QUICK, multitask=MultitaskConfig(sampling="uniform")), 1
    )
    counts = Counter(
        {task: sum(len(batch.rows) for batch in batches if batch.task == task) for task in (0, 1)}
    )
    assert counts == {0: 22, 1: 22}


def test_batches_have_the_labels_of_their_rows(train, monkeypatch):
    (batches,) = shown(monkeypatch, train, QUICK, 1)
    few = next(batch for batch in batches if batch.task == 1)
    assert few.labels.tolist() == [[0, 1, 1, 0][row] for row in few.rows.tolist()]


def test_pooling_is_that_of_the_training(train):
    wanted = PoolingConfig(position="cls", layers="mean_last", last_k=2)
    assert pooling_of(train("alpha", recipe=replace(QUICK, pooling=wanted))) == wanted


def test_line_of_a_finished_encoder_has_every_score(train):
    text = train_multitask.describe(train("alpha", "beta"))
    assert text.startswith("validation mean 0.") and ": alpha " in text and ", beta " in text


@pytest.mark.parametrize(
    ("names", "said"), [([], "no tasks"), (["a", "b", "a"], "names a twice")], ids=["none", "twice"]
)
def test_tasks_that_mean_nothing_are_refused(names, said):
    with pytest.raises(UsageError, match=said):
        check_tasks(names)
