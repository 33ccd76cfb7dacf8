"""Which prefixes a bank is made of, and with what weights.

Those that are named, or the ones that are nearest to a task.

Source: Vu et al. 2022 (2110.07904), section 3: what retrieves prefixes to start from here retrieves
the members of a bank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from prefixbank.artifacts.prefix import length_of, ref_of
from prefixbank.config.commands import CombineCommandConfig
from prefixbank.config.schema import BankRecipe, CombineConfig, PrefixRecipe, TaskConfig, recipe_of
from prefixbank.errors import UsageError, raise_faults
from prefixbank.runtime.context import Context
from prefixbank.runtime.events import Event
from prefixbank.steps import combine
from prefixbank.store.artifact import Entry

if TYPE_CHECKING:
    import numpy as np


FOR_SIMILAR = (
    "task",
    "k",
    "similarity",
    "compare",
    "weigh",
    "encoder",
    "prefix",
    "optim",
    "max_length_tokens",
    "seed",
)
"""Settings that have an effect with `select=similar` only."""

DIGITS = 4
"""Digits of similarities, in weights too: beyond them a machine's arithmetic would make another
bank."""


@dataclass(frozen=True, kw_only=True)
class Members:
    """What a bank is to be made of: the arguments of `combine.unit`."""

    prefixes: Sequence[Entry]
    refs: Sequence[str]
    recipe: BankRecipe
    name: str


def check(config: CombineCommandConfig) -> None:
    """Refuse settings that do not go together, before any work is done.

    Raises:
        UsageError: one for each fault.
    """
    raise_faults(
        _faults_of_similar(config) if config.select == "similar" else _faults_of_given(config)
    )


def members_of(context: Context, config: CombineCommandConfig) -> Members:
    """Return what the bank is made of.

    Raises:
        NotMade: in a plan, where only the short run will tell.
        UsageError: a prefix that is named is not there or cannot be compared with the task, or
            there are fewer than `k`.
    """
    if config.select == "similar":
        return _similar(context, config)
    store = context.store
    prefixes = [store.resolve("prefix", text) for text in config.prefixes]
    refs = [ref_of(store, "prefix", text) for text in config.prefixes]
    return Members(
        prefixes=prefixes, refs=refs, recipe=recipe_of(config, BankRecipe), name=config.name
    )


def _similar(context: Context, config: CombineCommandConfig) -> Members:
    from prefixbank.transfer.sources import Target, check_k, find_sources, nearest
    from prefixbank.transfer.task_embeddings import Comparison

    task, files = context.task(config.task), context.encoder_files(config.encoder)
    name = config.name or f"{task.name}-similar"
    target = Target(task=task, files=files, recipe=recipe_of(config, PrefixRecipe))
    candidates = find_sources(
        context,
        target,
        config.prefixes,
        config.compare,
        lambda source: _other_length(config, source),
    )
    check_k(config.k, candidates, task.name)
    embedding = target.embedding(context)
    similar = Comparison(similarity=config.similarity, compare=config.compare).of(
        embedding.entry, [source.entry for source in candidates]
    )
    places = nearest(similar, config.k)
    members = [candidates[place] for place in places]
    weights, combination = _weighted(config, similar[places].round(DIGITS))
    for rank, (source, place, weight) in enumerate(
        zip(members, places, weights, strict=True), start=1
    ):
        text = (
            f"{rank}. {source.named}: similarity {similar[place]:.{DIGITS}f}, weight "
            f"{weight:.{DIGITS}f}"
        )
        context.emit(Event(kind="note", step=combine.STEP, name=name, text=text))
    return Members(
        prefixes=[source.entry for source in members],
        refs=[ref_of(context.store, "prefix", source.named) for source in members],
        recipe=replace(recipe_of(config, BankRecipe), combine=combination),
        name=name,
    )


def _other_length(config: CombineCommandConfig, source: Entry) -> UsageError | None:
    """Return why a prefix has no mean with the others: they have the length of the short run."""
    have, length = length_of(source), config.prefix.length
    if config.combine.rule != "mean_prefixes" or have == length:
        return None
    what = (
        f"prefix '{source.info['task']}' {source.short_key} has {have} slots, the run on the task "
        f"{length}"
    )
    return UsageError(
        what,
        expected="prefixes of one length for mean_prefixes",
        fix=f"prefix.length={have}    or leave it out",
    )


def _weighted(
    config: CombineCommandConfig, similar: np.ndarray
) -> tuple[tuple[float, ...], CombineConfig]:
    """Return the weights of prefixes of these similarities [k], and how to combine them."""
    from prefixbank.core.average import retrieval_weights
    from prefixbank.core.combine import default_weights

    combination = config.combine
    if config.weigh == "equally":
        return default_weights(combination.weighting, len(similar)), combination
    weights = tuple(retrieval_weights(similar).tolist())
    return weights, replace(combination, weights=weights)


def _faults_of_given(config: CombineCommandConfig) -> list[UsageError]:
    faults = []
    if not config.name:
        fix = "prefixbank combine 'prefixes=[polarity,topic]' name=demo"
        faults.append(UsageError("a bank without a name", expected="name=NAME", fix=fix))
    default = CombineCommandConfig()
    without_effect = [
        name for name in FOR_SIMILAR if getattr(config, name) != getattr(default, name)
    ]
    if without_effect:
        faults.append(
            UsageError(
                f"no effect with select=given: {', '.join(without_effect)}",
                expected="prefixes, weights and pooling of the bank, or select=similar",
                fix="select=similar    or leave them out",
            )
        )
    return faults


def _faults_of_similar(config: CombineCommandConfig) -> list[UsageError]:
    faults, combination = [], config.combine
    if config.task == TaskConfig():
        expected, fix = (
            "the task to which prefixes are to be similar",
            "prefixbank combine select=similar task=emotion",
        )
        faults.append(UsageError("select=similar without a task", expected=expected, fix=fix))
    if combination.weights:
        expected = "no weights for prefixes that are still to be chosen"
        fix = (
            "leave combine.weights out    or name the prefixes in the order of the weights, "
            "without select"
        )
        faults.append(
            UsageError(
                f"combine.weights={list(combination.weights)} with select=similar",
                expected=expected,
                fix=fix,
            )
        )
    if config.weigh == "similarity" and combination.weighting == "one":
        expected = "weights by similarity, which share the mass of one, or plain concatenation"
        fix = "leave combine.weighting out    or weigh=equally"
        faults.append(
            UsageError("combine.weighting=one with weigh=similarity", expected=expected, fix=fix)
        )
    if config.weigh == "similarity" and combination.rule == "concat_vectors":
        expected = "equal weights: vectors side by side are not weighted"
        faults.append(
            UsageError(
                "combine=concat_vectors with weigh=similarity",
                expected=expected,
                fix="weigh=equally",
            )
        )
    return faults
