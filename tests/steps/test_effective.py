"""Settings that have no effect beside the others reach no key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import Field, fields, is_dataclass, replace
from typing import Any

import pytest
import torch

from prefixbank.config.running import RunConfig
from prefixbank.config.schema import (
    BankRecipe,
    CombineConfig,
    EmbedRecipe,
    EncoderConfig,
    MultitaskRecipe,
    OptimConfig,
    PoolingConfig,
    PrefixConfig,
    PrefixRecipe,
    ProbeConfig,
    StudentRecipe,
    TaskConfig,
    effective,
)
from prefixbank.data.corpus.texts import Texts
from prefixbank.runtime.context import Context
from prefixbank.steps import combine
from prefixbank.steps.embed import step as embed
from prefixbank.steps.embed.spec import EmbeddingSpec
from prefixbank.steps.probe import step as probe
from prefixbank.steps.train_multitask import step as train_multitask
from prefixbank.steps.train_prefix import step as train_prefix
from prefixbank.steps.train_prefix.make import fit, progress_of
from prefixbank.steps.train_prefix.mixture import Mixture
from prefixbank.store.key import key_of
from prefixbank.store.store import Store

QUICK = PrefixRecipe(optim=OptimConfig(epochs=1, batch_size=16))
IDLE = [
    {"pooling": PoolingConfig(last_k=2, layer=1)},
    {"prefix": PrefixConfig(mlp_hidden_size=8)},
    {"prefix": PrefixConfig(gate_init=1.5)},
]
OTHERS = {
    "normalize_weights": False,
    "init_fit": "tile",
    "summary": "concat",
    "norm": "layer",
    "plain": False,
    "precision": 0.5,
}
"""Values, other than the default, of settings that are words."""
IDLE_BESIDE: dict[str, dict[str, Any]] = {
    "normalize_weights": {"weights": (1.0,)},
    "init_scale": {"init": "prefix"},
    "plain": {"rule": "mean_vectors"},
}
"""What makes a setting idle that counts beside the defaults."""


def conditional(config: Any) -> Iterator[tuple[type, Field[Any]]]:
    """Every setting that has an effect only with others, below a config."""
    for one in fields(config):
        if is_dataclass(getattr(config, one.name)):
            yield from conditional(getattr(config, one.name))
        elif one.metadata.get("only_with"):
            yield type(config), one


SETTINGS = {
    f"{group.__name__}.{one.name}": (group, one)
    for made in (PrefixRecipe, MultitaskRecipe, StudentRecipe, BankRecipe, ProbeConfig)
    for group, one in conditional(made())
}


@pytest.fixture
def context(prepared, store: Store) -> Context:
    return Context(store, RunConfig(device="cpu", data_root=str(prepared.tasks)))


@pytest.mark.parametrize("name", SETTINGS)
def test_setting_counts_only_with_those_that_it_needs(name: str):
    group, one = SETTINGS[name]
    needed = {other: values[0] for other, values in one.metadata["only_with"].items()}
    other = OTHERS[one.name] if one.name in OTHERS else one.default + 1
    assert getattr(effective(group(**needed, **{one.name: other})), one.name) == other
    idle = IDLE_BESIDE.get(one.name, {})
    assert effective(group(**idle, **{one.name: other})) == effective(group(**idle))


def test_setting_counts_inside_a_recipe():
    mean = PoolingConfig(position="mean", layers="mean_last", last_k=2)
    given = PrefixRecipe(pooling=replace(mean, layer=1))
    assert effective(given) == replace(given, pooling=mean)


def test_auto_stands_for_the_mean():
    assert effective(PoolingConfig()) == PoolingConfig(position="mean")


@pytest.mark.parametrize("idle", IDLE)
def test_training_is_the_same_whatever_a_setting_without_effect_says(
    context: Context, tmp_path, idle: dict[str, Any]
):
    task, files = (
        context.task(TaskConfig(name="alpha")),
        context.encoder_files(EncoderConfig(source="tiny")),
    )

    def trained(recipe: PrefixRecipe, name: str) -> torch.Tensor:
        (tmp_path / name).mkdir()
        return fit(
            context,
            Mixture.of(task),
            files,
            recipe,
            tmp_path / name,
            progress_of(context, "train-prefix", name),
        )[0].prefix.tensor

    assert torch.equal(trained(replace(QUICK, **idle), "one"), trained(QUICK, "other"))


def test_no_key_follows_a_setting_without_effect(context: Context, prepared):
    task, files = (
        context.task(TaskConfig(name="alpha")),
        context.encoder_files(EncoderConfig(source="tiny")),
    )
    prefix = context.ensure(train_prefix.unit(context, task, files, QUICK)).entry
    plain = EmbeddingSpec(bank=None, files=files, recipe=EmbedRecipe(), pooling=PoolingConfig())
    vectors = context.ensure(embed.unit(context, plain, embed.parts_of_task(task), "alpha")).entry
    texts, pooling = {"a": Texts(texts=("x",))}, PoolingConfig(last_k=2, layer=1)

    def keys(pooling: PoolingConfig, weights: CombineConfig, probing: ProbeConfig) -> list[str]:
        units = [
            train_prefix.unit(context, task, files, replace(QUICK, pooling=pooling)),
            train_multitask.unit(context, [task], files, MultitaskRecipe(pooling=pooling)),
            combine.unit(
                [prefix], BankRecipe(combine=weights, pooling=pooling), "one", ["prefix/alpha"]
            ),
            embed.unit(context, replace(plain, pooling=pooling), texts, "alpha"),
            probe.unit(vectors, task, probing, "alpha"),
        ]
        return [key_of(one.document) for one in units]

    assert keys(
        pooling, CombineConfig(weights=(1.0,), normalize_weights=False), ProbeConfig(outer_folds=3)
    ) == keys(PoolingConfig(), CombineConfig(weights=(1.0,)), ProbeConfig())
