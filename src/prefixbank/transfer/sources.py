"""Find the source prefixes that are similar to a task, by their task embeddings.

The task itself is trained only until its task embedding is known.

Source: Vu et al. 2022 (2110.07904), section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from prefixbank.artifacts.prefix import EMBEDDING, ref_of, setting_in
from prefixbank.choices import Compare
from prefixbank.config.schema import PrefixRecipe
from prefixbank.data.encoders.files import EncoderFiles
from prefixbank.data.tasks.task import Task
from prefixbank.errors import PrefixbankError, UsageError, raise_faults
from prefixbank.runtime.context import Context
from prefixbank.runtime.events import Event
from prefixbank.runtime.unit import Planned, Unit
from prefixbank.steps.train_prefix import step as train_prefix
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON, key_of
from prefixbank.store.store import Store
from prefixbank.transfer.task_embeddings import Comparison, incomparable, unknown_movement


@dataclass(frozen=True, kw_only=True)
class Target:
    """A task to find sources for, and to train from them.

    Args:
        task: its examples.
        files: the encoder.
        recipe: settings of training, except for the start.
    """

    task: Task
    files: EncoderFiles
    recipe: PrefixRecipe

    def unit(self, context: Context, start: Entry | None, name: str) -> Unit:
        """Return the unit that trains from a prefix, or as the recipe says. It gets no ref."""
        recipe = self.recipe
        if start is not None:
            recipe = replace(recipe, prefix=replace(recipe.prefix, init=start.key))
        return replace(train_prefix.unit(context, self.task, self.files, recipe, name), ref=None)

    def embedding(self, context: Context) -> Planned:
        """Return an artifact with the task embedding.

        It is the task's prefix if the store has it, else the result of a short run.
        """
        name = f"{self.task.name}-similar"
        trained = context.store.get(key_of(self.unit(context, None, name).document))
        if trained is not None:
            return Planned(step=train_prefix.STEP, name=name, key=trained.key, made=trained)
        return context.ensure(
            train_prefix.task_embedding_unit(context, self.task, self.files, self.recipe, name)
        )


@dataclass(frozen=True, kw_only=True)
class Source:
    """A source prefix.

    Args:
        named: its ref, or its key.
        entry: its artifact.
    """

    named: str
    entry: Entry


def find_sources(
    context: Context,
    target: Target,
    names: Sequence[str],
    compare: Compare,
    unfit: Callable[[Entry], PrefixbankError | None] = lambda entry: None,
) -> list[Source]:
    """Return the prefixes to compare, without duplicates.

    Without names, prefixes that cannot be compared are left out, and a note says how many.

    Args:
        context: the store, and a listener.
        target: the task. Prefixes trained on it, or on other rows of it, are not sources.
        names: refs, names or keys; empty: every prefix with a ref.
        compare: what is compared.
        unfit: returns another reason to leave out a prefix, or None.

    Raises:
        UsageError: the task or a named prefix cannot be compared, or there is nothing to compare.
    """
    store, own = context.store, target.unit(context, None, target.task.name).document

    def fault_of(source: Source) -> PrefixbankError | None:
        return (
            _fault(source, own)
            or incomparable(source.entry.document, own, source.named, compare)
            or unfit(source.entry)
        )

    own_fault = unknown_movement(own, f"the run on {target.task.name}", compare)
    raise_faults([own_fault] if own_fault else [])
    given = [
        Source(named=ref_of(store, "prefix", name) or name, entry=store.resolve("prefix", name))
        for name in names
    ]
    everything = given or [
        Source(named=str(ref), entry=store.resolve("prefix", str(ref)))
        for ref in store.refs("prefix")
    ]
    others = [source for source in everything if not _is_of(source.entry, target.task.name, own)]
    raise_faults(
        [_own_prefix(source, target.task.name) for source in given if source not in others]
    )
    fit = [source for source in others if fault_of(source) is None]
    raise_faults([fault for source in given if (fault := fault_of(source)) is not None])
    if not fit:
        raise _none_fits(store, len(others))
    if len(fit) < len(others):
        text = (
            f"{len(others) - len(fit)} of {len(others)} prefixes left out: another encoder, form "
            "or start, or without a task embedding"
        )
        context.emit(Event(kind="note", step="sources", name=target.task.name, text=text))
    return list({source.entry.digest: source for source in reversed(fit)}.values())[::-1]


def check_k(k: int, sources: Sequence[object], task: str) -> None:
    """Refuse a k that is larger than the number of sources.

    Raises:
        UsageError: k is too large.
    """
    count = len(sources)
    if k > count:
        what = f"k={k}, but {count} prefixes can be compared with {task}"
        raise UsageError(what, expected=f"k from 1 to {count}", fix=f"k={count}")


def nearest(similar: np.ndarray, k: int) -> list[int]:
    """Return the indices of the k greatest similarities [S], the greatest first.

    Of equal ones the first is returned first.
    """
    return [int(index) for index in np.argsort(-similar, kind="stable")[:k]]


def ranked(
    target: Entry, sources: Sequence[Source], comparison: Comparison
) -> list[dict[str, Any]]:
    """Return a row for each source, the most similar first; equal ones keep their order."""
    entries = [source.entry for source in sources]
    whole, layers = comparison.of(target, entries), comparison.by_layer(target, entries)
    return [
        {
            "rank": rank,
            "source": sources[index].named,
            "task": sources[index].entry.info["task"],
            "similarity": round(float(whole[index]), 4),
            "by_layer": [round(float(value), 4) for value in layers[index]],
            "key": sources[index].entry.key,
        }
        for rank, index in enumerate(nearest(whole, len(sources)), start=1)
    ]


def _is_of(entry: Entry, task: str, own: JSON) -> bool:
    """Whether a prefix was trained on a task: on the same rows, or under the same name."""
    examples = entry.document["inputs"].get("examples", [])
    trained_on = [examples] if isinstance(examples, str) else examples
    return own["inputs"]["examples"] in trained_on or task in entry.info.get(
        "tasks", [entry.info.get("task")]
    )


def _own_prefix(source: Source, task: str) -> UsageError:
    return UsageError(
        f"{source.named} was trained on {task} itself",
        expected="prefixes of other tasks",
        fix="leave it out",
    )


def _fault(source: Source, own: JSON) -> PrefixbankError | None:
    """Return why a prefix cannot be compared with that of the task, None if it can."""
    entry = source.entry
    if entry.step != "train_prefix" or EMBEDDING not in entry.files:
        return UsageError(
            f"{source.named} is {entry.step.replace('_', '-')} {entry.short_key} without a task "
            "embedding",
            expected="prefixes that this version of prefixbank trained",
            fix=f"prefixbank train-prefix {setting_in(entry.info)}",
        )
    if entry.document["inputs"]["encoder"] != own["inputs"]["encoder"]:
        return UsageError(
            f"{source.named} was trained on encoder {entry.info['encoder']['name']}, which is not "
            "the task's",
            expected="prefixes of one encoder",
            fix=f"encoder={entry.info['encoder']['name']}    or leave it out",
        )
    theirs, ours = (document["config"]["prefix"]["kind"] for document in (entry.document, own))
    if theirs != ours:
        return UsageError(
            f"{source.named} has prefix.kind={theirs}, the short run prefix.kind={ours}",
            expected="prefixes of one kind",
            fix=f"prefix.kind={theirs}    or leave it out",
        )
    return None


def _none_fits(store: Store, others: int) -> UsageError:
    return UsageError(
        f"none of {others} prefixes in the store at {store.root} can be compared with the task",
        expected="prefixes of other tasks, of the same encoder and kind",
        fix="prefixbank train-prefix task=polarity    trains one",
    )
