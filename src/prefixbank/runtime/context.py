"""A session that plans and runs the units of one command."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from prefixbank.runtime.events import Emit, Event, silent
from prefixbank.runtime.session import Session
from prefixbank.runtime.unit import NotMade, Planned, Unit, plan_unit, run_unit
from prefixbank.runtime.workers import WorkerPool, make_units
from prefixbank.store.key import key_of


@dataclass(frozen=True, eq=False, kw_only=True)
class Context(Session):
    """A session, and which units it makes, and where.

    Args:
        force: make again what the store has.
        workers: workers that make what is missing; None: this process makes it.
        only: keys of the units to make, the others are planned silently; None: all of them.
        missing: gets the units that a plan could make now.
        reported: keys of units that were made and reported already. They are neither made again by
            `force` nor reported again. Copies of a context share it.
    """

    force: bool = False
    workers: WorkerPool | None = None
    only: frozenset[str] | None = None
    missing: list[Unit] | None = None
    reported: set[str] = field(default_factory=set)

    def __enter__(self) -> Context:
        """Return the context; leaving it ends the workers."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the workers."""
        if self.workers is not None:
            self.workers.close()

    def dry(self, emit: Emit, missing: list[Unit] | None = None) -> Context:
        """Return a context that only plans.

        Args:
            emit: gets every event.
            missing: gets the units that could be made now.
        """
        return replace(self, emit=emit, dry_run=True, missing=missing)

    def with_listener(self, emit: Emit) -> Context:
        """Return a context with another listener."""
        return replace(self, emit=emit)

    def restricted_to(self, keys: Iterable[str] | None, emit: Emit) -> Context:
        """Return a context that makes these units only (None: all), in this process."""
        only = None if keys is None else frozenset(keys)
        return replace(self, emit=emit, only=only, workers=None)

    @property
    def is_restricted(self) -> bool:
        """Whether only some units are made."""
        return self.only is not None

    def ensure(self, unit: Unit) -> Planned:
        """Plan or run one unit, as the command says."""
        key = key_of(unit.document)
        if self.dry_run:
            return self._plan(unit, key)
        if self.only is not None and key not in self.only:
            return plan_unit(self.store, unit, silent, explain=False)
        if (
            not unit.cheap
            and self.workers is not None
            and self.needs_making(key)
            and self.workers.should_dispatch(1)
        ):
            make_units(self.workers, [(key,)], self.store, self.emit)
            self.mark_made([key])
        emit = silent if key in self.reported else self.emit
        entry = run_unit(
            self.store, unit, emit, force=self._is_forced(key), explain=emit is not silent
        )
        if self.force or self.is_restricted:
            self.reported.add(key)
        return Planned(step=unit.step, name=unit.name, key=key, made=entry)

    def ensure_together(self, units: Sequence[Unit]) -> list[Planned]:
        """Plan or run units that share their work: whoever makes one makes all that are missing."""
        keys = [key for unit in units if self.needs_making(key := key_of(unit.document))]
        shared = [unit for unit in units if not unit.cheap]
        if (
            keys
            and shared
            and self.workers is not None
            and not self.dry_run
            and not self.is_restricted
            and self.workers.should_dispatch(1)
        ):
            make_units(self.workers, [tuple(keys)], self.store, self.emit)
            self.mark_made(keys)
        return [self.ensure(unit) for unit in units]

    def ensure_from(
        self,
        step: str,
        name: str,
        build: Callable[[], Unit],
        ensure: Callable[[Unit], Planned] | None = None,
    ) -> Planned:
        """Plan or run a unit whose key depends on other artifacts.

        Args:
            step: of the unit, as `Unit.step`.
            name: what messages call it.
            build: returns the unit from the `entry` of the artifacts it depends on. If one of them
                is not made yet, nothing is planned or run.
            ensure: plans or runs the unit; None is `self.ensure`.
        """
        try:
            unit = build()
        except NotMade as error:
            if not self.is_restricted:
                text = f"needs {error.planned.step} {error.planned.name}"
                self.emit(Event(kind="waits", step=step, name=name, text=text))
            return Planned(step=step, name=name)
        return (ensure or self.ensure)(unit)

    def mark_made(self, keys: Iterable[str]) -> None:
        """Note that workers have made, and reported, these units."""
        self.reported.update(keys)

    def needs_making(self, key: str) -> bool:
        """Whether this command has to make a unit."""
        return self._is_forced(key) or self.store.get(key) is None

    def will_make(self, key: str) -> bool:
        """Whether this process makes a missing unit in this command, and not by force."""
        if self.dry_run or self.force or (self.only is not None and key not in self.only):
            return False
        return self.store.get(key) is None

    def _plan(self, unit: Unit, key: str) -> Planned:
        planned = plan_unit(
            self.store, unit, self.emit, force=self._is_forced(key), explain=self.emit is not silent
        )
        if self.missing is not None and not planned.is_made:
            self.missing.append(unit)
        return planned

    def _is_forced(self, key: str) -> bool:
        """Whether a unit is made although the store has it: once in each command."""
        return self.force and key not in self.reported
