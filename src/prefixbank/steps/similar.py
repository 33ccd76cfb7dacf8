"""Which source prefixes are near to a task: their task embeddings beside that of the task, without training it to its end.

Source: Vu et al. 2022 (2110.07904), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prefixbank.core.similarity import Measure, similarity_matrix, similarity_matrix_by_layer
from prefixbank.errors import PrefixbankError, UsageError, raise_faults
from prefixbank.steps import train_prefix
from prefixbank.steps.context import Context
from prefixbank.steps.events import Event
from prefixbank.steps.mixture import setting_in
from prefixbank.steps.tensors import prefix_from, read_tensors
from prefixbank.steps.units import Unit, Waiting
from prefixbank.steps.what_embeds import ref_of
from prefixbank.store.artifact import Entry
from prefixbank.store.key import key_of
from prefixbank.store.store import Store


@dataclass(frozen=True, kw_only=True)
class Source:
    """A prefix that may be near.

    Args:
        named: its ref, or its key.
        entry: its artifact.
    """

    named: str
    entry: Entry


def target_embedding(context: Context, whole: Unit, early: Unit) -> Entry | Waiting:
    """Return the artifact that holds a task's embedding: its prefix where that is trained already, else one of the short run alone."""
    trained = context.store.get(key_of(whole.document))
    return context.do(early) if trained is None else trained


def find_sources(context: Context, names: Sequence[str], target: Unit) -> list[Source]:
    """Return the prefixes to compare; of those that are not named, the ones that can be, and a note of how many cannot.

    Args:
        context: the store.
        names: refs, names or keys; empty: every prefix that has a ref.
        target: the training of the task.

    Raises:
        UsageError: a prefix that is named cannot be compared, or there is none to compare.
    """
    store = context.store
    if names:
        found = [Source(named=ref_of(store, "prefix", name) or name, entry=store.resolve("prefix", name)) for name in names]
        raise_faults([fault for source in found if (fault := _fault(source, target)) is not None])
        return found
    everything = [Source(named=str(ref), entry=store.resolve("prefix", str(ref))) for ref in store.refs("prefix")]
    own = target.document["inputs"]["examples"]
    others = [source for source in everything if own not in _trained_on(source.entry)]
    fit = [source for source in others if _fault(source, target) is None]
    if not fit:
        raise _none_fits(store, len(others))
    if len(fit) < len(others):
        text = f"{len(others) - len(fit)} of {len(others)} prefixes left out: another encoder or kind, or without a task embedding"
        context.emit(Event(kind="note", step="transfer", name=target.name, text=text))
    return fit


def ranked(target: Entry, sources: Sequence[Source], measure: Measure) -> list[dict[str, Any]]:
    """Return a row for each source, the most similar first; of sources that are equally similar, the one that stands first."""
    own = _embedding(target)
    theirs = [_embedding(source.entry) for source in sources]
    whole = similarity_matrix(measure, theirs, [own])[:, 0]
    layers = similarity_matrix_by_layer(measure, theirs, [own])[:, 0]
    order = sorted(range(len(sources)), key=lambda place: -whole[place])
    return [
        {
            "rank": rank,
            "source": sources[place].named,
            "task": sources[place].entry.info["task"],
            "similarity": round(float(whole[place]), 4),
            "by_layer": [round(float(value), 4) for value in layers[place]],
            "key": sources[place].entry.key,
        }
        for rank, place in enumerate(order, start=1)
    ]


def _trained_on(entry: Entry) -> list[str]:
    """Return the digests of the tasks behind a prefix."""
    examples = entry.document["inputs"]["examples"]
    return [examples] if isinstance(examples, str) else examples


def _embedding(entry: Entry) -> Any:
    return prefix_from(read_tensors(entry, train_prefix.EMBEDDING)).tensor


def _fault(source: Source, target: Unit) -> PrefixbankError | None:
    """Return why a prefix cannot be compared with that of the task."""
    entry, own = source.entry, target.document
    if entry.step != "train_prefix" or train_prefix.EMBEDDING not in entry.files:
        return UsageError(
            f"{source.named} is {entry.step.replace('_', '-')} {entry.short_key} without a task embedding",
            expected="prefixes that this version of prefixbank trained",
            fix=f"prefixbank train-prefix {setting_in(entry.info)}",
        )
    if entry.document["inputs"]["encoder"] != own["inputs"]["encoder"]:
        return UsageError(
            f"{source.named} was trained on encoder {entry.info['encoder']['name']}, which is not the task's",
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
