"""Why an artifact is no hit: in what its document differs from that of another, in words.

A document has its inputs as digests. What they are called, and how many rows they have, is kept
beside it, in the facts of the artifact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from prefixbank.store.artifact import Entry
from prefixbank.store.key import ABSENT, JSON, Absent, aligned, diff_documents, differences

FACT = "described"
"""Name, among the facts of an artifact, of what its inputs are in words."""

GROUPS = {"probe": "probe", "predict": "predict"}
"""Steps whose settings all belong to one group, which their documents do not name."""


@dataclass(frozen=True, kw_only=True)
class Described:
    """What an input is, in words. None of it is part of a key.

    Args:
        kind: what it is: `encoder`, `task`, `corpus`. The names of its settings begin with it.
        name: what a user calls it: `minilm`, `tickets.csv`.
        is_file: whether `name` says alone what it is.
        rows: number of its rows.
        facts: settings that do not say which rows are read, such as the metric of a task.
        origin: settings that say which bytes are read, or how.
        content: digest of the rows alone, if that in the document covers `facts`, too.
    """

    kind: str
    name: str
    is_file: bool = False
    rows: int | None = None
    facts: JSON = field(default_factory=dict)
    origin: JSON = field(default_factory=dict)
    content: str = ""

    def __str__(self) -> str:
        """Return what messages call it: `encoder minilm`, `tickets.csv`."""
        return self.name if self.is_file else f"{self.kind} {self.name}"


Words = Mapping[str, Sequence[Described]]
"""Inputs of a document in words, by name: one for an input that is no list, else one for each."""


def named(kind: str, entries: Sequence[Entry]) -> list[Described]:
    """Return artifacts in words: the names under which they were made."""
    names = [str(entry.info.get("name", entry.short_key)) for entry in entries]
    return [Described(kind=kind, name=name) for name in names]


def fact(words: Words) -> JSON:
    """Return what an artifact keeps of its inputs in words."""
    listed = {name: [asdict(one) for one in inputs] for name, inputs in words.items()}
    return {FACT: listed} if listed else {}


def words_in(entry: Entry, *names: str) -> Words:
    """Return the inputs of an artifact in words, or those with some names.

    Artifacts of other versions may have none.
    """
    try:
        listed: dict[str, list[JSON]] = entry.info.get(FACT, {})
        words = {name: [Described(**one) for one in inputs] for name, inputs in listed.items()}
    except (TypeError, AttributeError):
        return {}
    return {name: inputs for name, inputs in words.items() if not names or name in names}


def reasons(old: Entry, document: JSON, words: Words) -> list[str]:
    """Return one line for each difference between an artifact and a document, inputs first.

    Lines look like `optim.lr 0.01 -> 0.005`, `encoder tiny -> minilm`, `task.metric macro_f1 ->
    accuracy`, `tickets.csv changed, 8,997 -> 9,120 rows` and `prefix topic added`. Inputs without
    words have their name in the document, `heads.emotion changed`.
    """
    lines = diff_documents(_part(old.document), _part(document))
    before, after = old.document["inputs"], document["inputs"]
    known = words_in(old)
    for name in sorted(before.keys() | after.keys()):
        lines += _lines_of_input(
            name,
            (before.get(name, ABSENT), known.get(name)),
            (after.get(name, ABSENT), words.get(name)),
        )
    settings = (_settings(one) for one in (old.document, document))
    return [*lines, *map(str, differences("", *settings))]


def _part(document: JSON) -> JSON:
    """Return a document without settings and inputs: step and version."""
    return {**document, "config": {}, "inputs": {}}


def _settings(document: JSON) -> JSON:
    group = GROUPS.get(document["step"])
    config: JSON = document["config"]
    return {group: config} if group else config


_Side = tuple[Any, Sequence[Described] | None]
"""An input in one of two documents, and in words; None if there are none."""


def _lines_of_input(name: str, old: _Side, new: _Side) -> Iterator[str]:
    (before, old_words), (after, new_words) = old, new
    has_words = [words is not None for value, words in (old, new) if value is not ABSENT]
    if not all(has_words):
        yield from _lines_without_words(name, before, after)
        return
    for index, other in aligned(_items(before), _items(after)):
        was = None if index is None else (old_words or ())[index]
        now = None if other is None else (new_words or ())[other]
        if was is not None and now is not None:
            yield from _changes(was, now)
        elif now is not None:
            yield f"{now} added"
        else:
            yield f"{was} removed"


def _items(value: object) -> list[object]:
    if isinstance(value, Absent):
        return []
    return value if isinstance(value, list) else [value]


def _lines_without_words(name: str, before: object, after: object) -> Iterator[str]:
    for difference in differences(name, before, after):
        if not difference.is_of_digests:
            yield str(difference)
            continue
        word = "changed"
        if isinstance(difference.old, Absent) or isinstance(difference.new, Absent):
            word = "added" if isinstance(difference.old, Absent) else "removed"
        yield f"{difference.name} {word}"


def _changes(was: Described, now: Described) -> Iterator[str]:
    """Yield what differs between two inputs whose digests differ."""
    has_moved = was.content != now.content or not now.content
    if has_moved and (was.kind, was.name) != (now.kind, now.name):
        yield f"{now.kind} {was.name} -> {now.name}{_rows(was, now)}"
        return
    facts = [str(one) for one in differences(now.kind, was.facts, now.facts)]
    settings = [str(one) for one in differences(now.kind, was.origin, now.origin)]
    yield from dict.fromkeys((*facts, *(settings if has_moved else ())))
    if has_moved and not settings:
        yield f"{now} changed{_rows(was, now)}"


def _rows(was: Described, now: Described) -> str:
    if was.rows is None or now.rows is None:
        return ""
    counts = [f"{was.rows:,}", f"{now.rows:,}"]
    return f", {' -> '.join(dict.fromkeys(counts))} rows"
