"""Retrieve sources for a task and train it from them.

A short run, the nearest prefixes, and the task's prefix.

Source: Vu et al. 2022 (2110.07904), section 3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from prefixbank.artifacts.json_files import read_json
from prefixbank.config.commands import TransferRetrieveConfig
from prefixbank.config.schema import PrefixRecipe, recipe_of
from prefixbank.errors import PrefixbankError, UsageError, raise_faults
from prefixbank.runtime.context import Context
from prefixbank.runtime.events import Event
from prefixbank.runtime.unit import Planned, Unit
from prefixbank.runtime.waves import plan_and_run
from prefixbank.steps import average
from prefixbank.steps.train_prefix import step as train_prefix
from prefixbank.steps.train_prefix.start import UNTRAINED_INITS
from prefixbank.store.artifact import Entry
from prefixbank.transfer.source_tasks import (
    kind_of,
    mixture_behind,
    of_nearest_kind,
    without_origins,
)
from prefixbank.transfer.sources import Source, Target, check_k, find_sources, nearest
from prefixbank.transfer.task_embeddings import Comparison


@dataclass(frozen=True, kw_only=True)
class _Retrieval:
    """What is asked for, with what was found for it.

    Args:
        config: as composed.
        name: of the prefix to be.
        target: the task.
        sources: prefixes to choose from.
    """

    config: TransferRetrieveConfig
    name: str
    target: Target
    sources: list[Source]


def retrieve(context: Context, config: TransferRetrieveConfig) -> Planned:
    """Return the prefix of a task, trained from the sources that are most similar to it.

    Ref `prefix/<name or task name>`.

    Raises:
        UsageError: no source to choose from, or fewer than k.
    """
    task, files = context.task(config.task), context.encoder_files(config.encoder)
    target = Target(task=task, files=files, recipe=recipe_of(config, PrefixRecipe))
    name = config.name or task.name
    raise_faults(_start_given(config))
    sources = find_sources(
        context, target, config.sources, config.compare, _unfit(context, target, config)
    )
    check_k(config.k, sources, task.name)
    asked = _Retrieval(config=config, name=name, target=target, sources=sources)
    return plan_and_run(context, name, lambda context: _walk(context, asked))


def _unfit(
    context: Context, target: Target, config: TransferRetrieveConfig
) -> Callable[[Entry], PrefixbankError | None]:
    """Return what says why a prefix cannot be retrieved.

    No start, no part of a mean, which has one length, or of a mixture.
    """
    if config.method == "mixture":
        return without_origins
    recipe = target.recipe
    if config.method == "weighted":
        recipe = replace(recipe, prefix=replace(recipe.prefix, init_fit="exact"))
    asked = replace(target, recipe=recipe)

    def unfit(source: Entry) -> PrefixbankError | None:
        try:
            asked.unit(context, source, "retrieved")
        except UsageError as error:
            return error
        return None

    return unfit


def _walk(context: Context, asked: _Retrieval) -> Planned:
    """Go through all units in order; a planning context makes none of them."""
    own = asked.target.embedding(context)
    return context.ensure_from(
        train_prefix.STEP, asked.name, lambda: _unit(context, asked, own.entry)
    )


def _unit(context: Context, asked: _Retrieval, own: Entry) -> Unit:
    """Return the unit that trains the task from its most similar sources.

    What it starts from is made, or planned, first.
    """
    target, name, config = asked.target, asked.name, asked.config
    comparison = Comparison(similarity=config.similarity, compare=config.compare)
    similar = comparison.of(own, [source.entry for source in asked.sources])
    near = nearest(similar, len(similar))
    if config.method == "mixture":
        near = of_nearest_kind(near, [kind_of(source.entry) for source in asked.sources], config.k)
        check_k(config.k, near, f"{name} and are of the kind of {asked.sources[near[0]].named}")
    near = near[: config.k]
    for place in near:
        _tell(context, asked, f"similarity {similar[place]:.4f}  {asked.sources[place].named}")
    starts = [asked.sources[place] for place in near]
    if config.method == "best_of_k":
        return _best(context, asked, starts)
    entries = [source.entry for source in starts]
    if config.method == "mixture":
        start = context.ensure(_of_mixture(context, asked, entries))
    else:
        start = context.ensure(average.unit_of_nearest(entries, similar[near], name))
    return replace(target.unit(context, start.entry, name), ref=("prefix", name))


def _of_mixture(context: Context, asked: _Retrieval, sources: list[Entry]) -> Unit:
    """Return the unit that trains one prefix on the tasks of several, by the task's own recipe."""
    mixture = mixture_behind(context, sources)
    unit = train_prefix.unit(
        context, mixture, asked.target.files, asked.target.recipe, f"{asked.name}-mixture"
    )
    return replace(unit, ref=None)


def _best(context: Context, asked: _Retrieval, starts: list[Source]) -> Unit:
    """Train from each of several sources, and return the unit that validates best.

    Of equal ones, that of the nearest source.
    """
    units = [
        asked.target.unit(context, source.entry, f"{asked.name}-from-{source.entry.info['name']}")
        for source in starts
    ]
    trained = [context.ensure(unit) for unit in units]
    scores = [read_json(planned.entry, "result.json")["validation"] for planned in trained]
    best = scores.index(max(scores))
    _tell(context, asked, f"validates best from {starts[best].named}")
    return replace(units[best], name=asked.name, ref=("prefix", asked.name))


def _tell(context: Context, asked: _Retrieval, text: str) -> None:
    if not context.is_restricted:
        context.emit(Event(kind="note", step="transfer", name=asked.name, text=text))


def _start_given(config: TransferRetrieveConfig) -> list[UsageError]:
    """Refuse a start beside those that are retrieved."""
    if config.prefix.init in UNTRAINED_INITS:
        return []
    return [
        UsageError(
            f"prefix.init={config.prefix.init} for a training that starts from what is retrieved",
            expected=f"one of {', '.join(UNTRAINED_INITS)}: where the short run starts",
            fix=(
                f"drop it    or prefixbank train-prefix task={config.task.name or 'NAME'} "
                f"prefix.init={config.prefix.init}"
            ),
        )
    ]
