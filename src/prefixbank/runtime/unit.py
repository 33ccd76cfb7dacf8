"""Units of work: one artifact each, with the document that identifies it and its maker."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from prefixbank.errors import PrefixbankError, StoreError
from prefixbank.names import check_name
from prefixbank.runtime.events import Emit, Event
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON, key_of, shorten
from prefixbank.store.reasons import Words, fact, reasons
from prefixbank.store.store import Store

REASONS_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Unit:
    """An artifact that can be made.

    Args:
        step: command-like name, `train-prefix`.
        name: what messages call it, `snli`.
        document: key document; the artifact's key is its hash.
        make: writes the artifact's files into its first argument, may keep checkpoints in its
            second, and returns facts for entry.json that are not part of the key.
        ref: (kind, name) of the ref to set to the artifact, if any.
        ref_facts: facts about the artifact under that name.
        note: summary of the finished artifact, for its event.
        cheap: whether making it is too quick to be worth a worker.
        group: units of one group share their work, so that one worker makes them; empty: it shares
            none.
        words: the inputs of the document in words, for the reasons of misses.
    """

    step: str
    name: str
    document: JSON
    make: Callable[[Path, Path], JSON]
    ref: tuple[str, str] | None = None
    ref_facts: JSON | None = None
    note: Callable[[Entry], str] = lambda entry: ""
    cheap: bool = False
    group: str = ""
    words: Words = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse an invalid ref name before any work is done."""
        if self.ref is not None:
            check_name(*self.ref)


@dataclass(frozen=True, kw_only=True)
class Planned:
    """Handle of an artifact that a command needs, whether it exists yet or not.

    Args:
        step: command-like name of its step.
        name: what messages call it.
        key: empty if it depends on another artifact that is not made yet.
        made: the artifact, None if it is not made yet.
        report: writes files about the artifact for people into a folder, if there are any.
    """

    step: str
    name: str
    key: str = ""
    made: Entry | None = None
    report: Callable[[Path], None] | None = None

    @property
    def is_made(self) -> bool:
        """Whether the artifact exists."""
        return self.made is not None

    @property
    def entry(self) -> Entry:
        """The artifact.

        Raises:
            NotMade: it does not exist yet.
        """
        if self.made is None:
            raise NotMade(self)
        return self.made


class NotMade(PrefixbankError):
    """An artifact is needed that does not exist yet; `Context.ensure_from` handles it."""

    def __init__(self, planned: Planned) -> None:
        super().__init__(
            f"{planned.step} {planned.name} is not made yet",
            expected="an artifact that exists",
            fix="run the command without --dry-run",
        )
        self.planned = planned


def grouped(units: Iterable[Unit]) -> list[tuple[str, ...]]:
    """Return the keys of units, those of one group together, in the order of their first."""
    groups: dict[str, list[str]] = {}
    for unit in units:
        key = key_of(unit.document)
        groups.setdefault(unit.group or key, []).append(key)
    return [tuple(keys) for keys in groups.values()]


def plan_unit(
    store: Store, unit: Unit, emit: Emit, *, force: bool = False, explain: bool = True
) -> Planned:
    """Report whether `unit` is a hit, and if not why, without making anything.

    The arguments are those of `run_unit`.
    """
    key = key_of(unit.document)
    entry = None if force else store.get(key)
    if entry is not None:
        emit(
            Event(
                kind="hit",
                step=unit.step,
                name=unit.name,
                key=key,
                text=unit.note(entry),
                size_bytes=entry.size_bytes,
            )
        )
        return Planned(step=unit.step, name=unit.name, key=key, made=entry)
    emit(
        Event(
            kind="miss",
            step=unit.step,
            name=unit.name,
            key=key,
            text=_why(store, unit, force=force, explain=explain),
        )
    )
    return Planned(step=unit.step, name=unit.name, key=key)


def run_unit(
    store: Store, unit: Unit, emit: Emit, *, force: bool = False, explain: bool = True
) -> Entry:
    """Return the unit's artifact, made if the store lacks it, and set the unit's ref to it.

    Args:
        store: has the artifact, or gets it.
        unit: what to make.
        emit: gets every event.
        force: make it even if the store has it.
        explain: say why a miss is a miss; this reads all entries of the step.
    """
    started = time.monotonic()
    key = key_of(unit.document)
    present = None if force else store.use(key)
    if present is None:
        emit(
            Event(
                kind="miss",
                step=unit.step,
                name=unit.name,
                key=key,
                text=_why(store, unit, force=force, explain=explain),
            )
        )
        entry, hit = store.build(
            unit.document, _named(unit), force=force, on_wait=lambda: _emit_lock_wait(unit, emit)
        )
    else:
        entry, hit = present, True
    if unit.ref is not None:
        _set_ref(store, unit, unit.ref, entry, emit, must=not hit)
    done = Event(
        kind="hit" if hit else "done",
        step=unit.step,
        name=unit.name,
        key=key,
        text=unit.note(entry),
        size_bytes=entry.size_bytes,
    )
    emit(replace(done, seconds=time.monotonic() - started))
    return entry


def _set_ref(
    store: Store, unit: Unit, ref: tuple[str, str], entry: Entry, emit: Emit, *, must: bool
) -> None:
    """Point the unit's ref to its artifact, and report where it pointed before.

    Where nothing had to be written before (`must` is false), a store that cannot be written is no
    error: the artifact is there, and only the name is missing.
    """
    before = store.ref(*ref)
    try:
        after = store.set_ref(*ref, entry.key, unit.ref_facts)
    except StoreError as error:
        if must:
            raise
        text = f"{'/'.join(ref)} is not set to {entry.short_key}: {error.what}"
        emit(Event(kind="note", step=unit.step, name=unit.name, text=text))
        return
    if before is not None and before.key != entry.key:
        text = f"{after} was {shorten(before.key)}, now {shorten(entry.key)}"
        emit(Event(kind="note", step=unit.step, name=unit.name, text=text))


def _named(unit: Unit) -> Callable[[Path, Path], JSON]:
    """Return the unit's `make`, with its name and its inputs in words added to the facts."""
    return lambda out, work: {"name": unit.name, **fact(unit.words), **unit.make(out, work)}


def _why(store: Store, unit: Unit, *, force: bool, explain: bool) -> str:
    if force:
        return "--force"
    return why_missing(store, unit) if explain else ""


def why_missing(store: Store, unit: Unit) -> str:
    """Return in words what differs from the most similar artifact of the same step and name."""
    namesakes = [
        entry
        for entry in reversed(store.entries(unit.document["step"]))
        if entry.info.get("name") == unit.name
    ]
    if not namesakes:
        return "new"
    each = [reasons(entry, unit.document, unit.words) for entry in namesakes]
    lines = min(each, key=len)
    more = f" and {len(lines) - REASONS_SHOWN} more" if len(lines) > REASONS_SHOWN else ""
    return ", ".join(lines[:REASONS_SHOWN]) + more


def _emit_lock_wait(unit: Unit, emit: Emit) -> None:
    emit(
        Event(
            kind="note",
            step=unit.step,
            name=unit.name,
            text="another process is making this; waiting for it",
        )
    )
