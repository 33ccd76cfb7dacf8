"""Retrieve the sources most similar to a task, and train the task from them.

Source: Vu et al. 2022 (2110.07904), section 3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from prefixbank.artifacts.json_files import read_json
from prefixbank.choices import UNTRAINED_INITS
from prefixbank.config.commands import TransferRetrieveConfig
from prefixbank.config.schema import PrefixRecipe, recipe_of
from prefixbank.errors import PrefixbankError, UsageError, raise_faults
from prefixbank.runtime.context import Context
from prefixbank.runtime.events import Event
from prefixbank.runtime.unit import Planned, Unit
from prefixbank.runtime.waves import plan_and_run
from prefixbank.steps import average
from prefixbank.steps.train_prefix import step as train_prefix
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
    """A retrieval to run.

    Args:
        config: the command's settings.
        name: name of the new prefix.
        target: the task.
        sources: prefixes to choose from.
    """

    config: TransferRetrieveConfig
    name: str
    target: Target
    sources: list[Source]


def retrieve(context: Context, config: TransferRetrieveConfig) -> Planned:
    """Train a prefix on a task from the sources most similar to it.

    The ref is `prefix/<name or task name>`.

    Raises:
        UsageError: no sources, or fewer than k.
    """
    task, files = context.task(config.task), context.encoder_files(config.encoder)
    target = Target(task=task, files=files, recipe=recipe_of(config, PrefixRecipe))
    name = config.name or task.name
    raise_faults(_start_given(config))
    sources = find_sources(
        context, target, config.sources, config.compare, _unfit(context, target, config)
    )
    check_k(config.k, sources, task.name)
    retrieval = _Retrieval(config=config, name=name, target=target, sources=sources)
    return plan_and_run(context, name, lambda context: _ensure_all(context, retrieval))


def _unfit(
    context: Context, target: Target, config: TransferRetrieveConfig
) -> Callable[[Entry], PrefixbankError | None]:
    """Return a function that says why a prefix cannot be a source, or None.

    It must be possible to start from it, or to make it part of a mean or of a mixture.
    """
    if config.method == "mixture":
        return without_origins
    recipe = target.recipe
    if config.method == "weighted":
        recipe = replace(recipe, prefix=replace(recipe.prefix, init_fit="exact"))
    checked = replace(target, recipe=recipe)

    def unfit(source: Entry) -> PrefixbankError | None:
        try:
            checked.unit(context, source, "retrieved")
        except UsageError as error:
            return error
        return None

    return unfit


def _ensure_all(context: Context, retrieval: _Retrieval) -> Planned:
    """Plan or run all units in order; return the prefix."""
    own = retrieval.target.embedding(context)
    return context.ensure_from(
        train_prefix.STEP, retrieval.name, lambda: _unit(context, retrieval, own.entry)
    )


def _unit(context: Context, retrieval: _Retrieval, own: Entry) -> Unit:
    """Return the unit that trains the task from its most similar sources.

    What it starts from is made, or planned, first.
    """
    target, name, config = retrieval.target, retrieval.name, retrieval.config
    comparison = Comparison(similarity=config.similarity, compare=config.compare)
    similar = comparison.of(own, [source.entry for source in retrieval.sources])
    near = nearest(similar, len(similar))
    if config.method == "mixture":
        near = of_nearest_kind(
            near, [kind_of(source.entry) for source in retrieval.sources], config.k
        )
        check_k(config.k, near, f"{name} and are of the kind of {retrieval.sources[near[0]].named}")
    near = near[: config.k]
    for index in near:
        text = f"similarity {similar[index]:.4f}  {retrieval.sources[index].named}"
        _emit_note(context, retrieval, text)
    starts = [retrieval.sources[index] for index in near]
    if config.method == "best_of_k":
        return _best(context, retrieval, starts)
    entries = [source.entry for source in starts]
    if config.method == "mixture":
        start = context.ensure(_of_mixture(context, retrieval, entries))
    else:
        start = context.ensure(average.unit_of_nearest(entries, similar[near], name))
    return replace(target.unit(context, start.entry, name), ref=("prefix", name))


def _of_mixture(context: Context, retrieval: _Retrieval, sources: list[Entry]) -> Unit:
    """Return the unit that trains one prefix on the tasks of sources, by the target's recipe."""
    mixture = mixture_behind(context, sources)
    unit = train_prefix.unit(
        context,
        mixture,
        retrieval.target.files,
        retrieval.target.recipe,
        f"{retrieval.name}-mixture",
    )
    return replace(unit, ref=None)


def _best(context: Context, retrieval: _Retrieval, starts: list[Source]) -> Unit:
    """Train from each source, and return the unit with the best validation score.

    Of equal scores that of the most similar source wins.
    """
    units = [
        retrieval.target.unit(
            context, source.entry, f"{retrieval.name}-from-{source.entry.info['name']}"
        )
        for source in starts
    ]
    trained = [context.ensure(unit) for unit in units]
    scores = [read_json(planned.entry, "result.json")["validation"] for planned in trained]
    best = scores.index(max(scores))
    _emit_note(context, retrieval, f"best validation score: from {starts[best].named}")
    return replace(units[best], name=retrieval.name, ref=("prefix", retrieval.name))


def _emit_note(context: Context, retrieval: _Retrieval, text: str) -> None:
    if not context.is_restricted:
        context.emit(Event(kind="note", step="transfer", name=retrieval.name, text=text))


def _start_given(config: TransferRetrieveConfig) -> list[UsageError]:
    """Refuse `prefix.init` with the name of a prefix: starts are retrieved."""
    if config.prefix.init in UNTRAINED_INITS:
        return []
    return [
        UsageError(
            f"prefix.init={config.prefix.init} for training that starts from retrieved sources",
            expected=f"one of {', '.join(UNTRAINED_INITS)}: where the short run starts",
            fix=(
                f"drop it    or prefixbank train-prefix task={config.task.name or 'NAME'} "
                f"prefix.init={config.prefix.init}"
            ),
        )
    ]
