"""Combine the prefixes that are most similar to a task into a bank.

Source: Vu et al. 2022 (2110.07904), section 3. They retrieve prefixes to start a training from;
here the retrieved prefixes become the members of a bank.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from prefixbank.artifacts.prefix import length_of, ref_of
from prefixbank.config.commands import TransferCombineConfig
from prefixbank.config.schema import BankRecipe, CombineConfig, PrefixRecipe, recipe_of
from prefixbank.errors import UsageError, raise_faults
from prefixbank.runtime.context import Context
from prefixbank.runtime.events import Event
from prefixbank.runtime.unit import Planned, Unit
from prefixbank.steps import combine
from prefixbank.store.artifact import Entry
from prefixbank.transfer.sources import Target, check_k, find_sources, nearest
from prefixbank.transfer.task_embeddings import Comparison

if TYPE_CHECKING:
    import numpy as np


DIGITS = 4
"""Digits that similarities are rounded to, also in weights. The last bits depend on the machine,
and would give every machine another bank."""


def combine_similar(context: Context, config: TransferCombineConfig) -> Planned:
    """Combine the k prefixes that are most similar to a task, the most similar first.

    Ref `bank/<name>`, or `bank/<task>-similar` without a name.

    Raises:
        UsageError: settings that do not go together; a prefix that is named does not exist or
            cannot be compared with the task; fewer than k prefixes can be compared.
    """
    raise_faults(_faults(config))
    task, files = context.task(config.task), context.encoder_files(config.encoder)
    name = config.name or f"{task.name}-similar"
    target = Target(task=task, files=files, recipe=recipe_of(config, PrefixRecipe))
    candidates = find_sources(
        context,
        target,
        config.sources,
        config.compare,
        lambda source: _other_length(config, source),
    )
    check_k(config.k, candidates, task.name)
    embedding = target.embedding(context)

    def build() -> Unit:
        similarities = Comparison(similarity=config.similarity, compare=config.compare).of(
            embedding.entry, [source.entry for source in candidates]
        )
        indices = nearest(similarities, config.k)
        members = [candidates[index] for index in indices]
        rounded = similarities[indices].round(DIGITS)
        weights, combination = _weights(config, rounded)
        for rank, source in enumerate(members):
            text = f"{rank + 1}. {source.named}: similarity {rounded[rank]:.{DIGITS}f}"
            text += f", weight {weights[rank]:.{DIGITS}f}" if weights else ""
            context.emit(Event(kind="note", step=combine.STEP, name=name, text=text))
        return combine.unit(
            [source.entry for source in members],
            replace(recipe_of(config, BankRecipe), combine=combination),
            name,
            [ref_of(context.store, "prefix", source.named) for source in members],
        )

    return context.ensure_from(combine.STEP, name, build)


def _other_length(config: TransferCombineConfig, source: Entry) -> UsageError | None:
    """Return the error for a prefix of another length, if the bank is a mean of prefixes."""
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


def _weights(
    config: TransferCombineConfig, similarities: np.ndarray
) -> tuple[tuple[float, ...], CombineConfig]:
    """Return the weights of prefixes with these similarities [k], and how to combine them.

    Read-outs have no weights.
    """
    from prefixbank.core.average import retrieval_weights
    from prefixbank.core.combine import default_weights

    combination = config.combine
    if config.prefix.kind == "readout":
        return (), combination
    if not config.weight_by_similarity:
        count, normalize = len(similarities), combination.normalize_weights
        return default_weights(count, normalize=normalize), combination
    weights = tuple(retrieval_weights(similarities).tolist())
    return weights, replace(combination, weights=weights)


def _faults(config: TransferCombineConfig) -> list[UsageError]:
    """Return the errors for settings that do not go together."""
    faults, combination = [], config.combine
    if combination.weights:
        faults.append(
            UsageError(
                f"combine.weights={list(combination.weights)} for prefixes that are still to be "
                "chosen",
                expected="weights by similarity, or equal ones",
                fix=(
                    "leave combine.weights out    or name the prefixes in the order of the "
                    "weights: prefixbank combine 'prefixes=[...]'"
                ),
            )
        )
    if config.weight_by_similarity and not combination.normalize_weights:
        faults.append(
            UsageError(
                "combine.normalize_weights=false with weight_by_similarity=true",
                expected="weights by similarity, which sum to 1, or plain concatenation",
                fix="leave combine.normalize_weights out    or weight_by_similarity=false",
            )
        )
    if config.weight_by_similarity and combination.rule == "concat_vectors":
        faults.append(
            UsageError(
                "combine=concat_vectors with weight_by_similarity=true",
                expected="equal weights: vectors side by side are not weighted",
                fix="weight_by_similarity=false",
            )
        )
    return faults
