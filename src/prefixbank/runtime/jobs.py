"""A share of one command's work, told in plain values.

What a worker needs to make it, and what it says back.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field

from prefixbank import errors
from prefixbank.errors import Faults, PrefixbankError, raise_faults
from prefixbank.runtime.events import Emit, Event
from prefixbank.store.key import JSON

EVENTS, FAULTS, CRASH = "events", "faults", "crash"


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to make of a command.

    Args:
        command: name of the API function.
        overrides: its `KEY=VALUE` settings.
        store: folder of the store, absolute.
        folder: folder that relative paths in the settings start from.
        conf_dir: folder of further YAML files.
        force: make again what the store has.
        keys: the units to make; empty: all of them.
        shards: number to digest of the shards of a corpus to make, instead of units; the first one
            comes with those that need its calibration.
        threads: CPU threads of torch; 0 leaves its choice.
    """

    command: str
    overrides: tuple[str, ...]
    store: str
    folder: str
    conf_dir: str = ""
    force: bool = False
    keys: tuple[str, ...] = ()
    shards: Mapping[int, str] = field(default_factory=dict)
    threads: int = 0

    @property
    def only(self) -> tuple[str, ...] | None:
        """The units to make, None for all of them."""
        return self.keys or None

    def to_json(self) -> JSON:
        """Return it as JSON values."""
        return {
            **asdict(self),
            "shards": {str(number): digest for number, digest in self.shards.items()},
        }

    @staticmethod
    def from_json(values: JSON) -> Job:
        """Return it as it was, from what JSON makes of it."""
        shards = {int(number): digest for number, digest in values["shards"].items()}
        return Job(
            **{
                **values,
                "overrides": tuple(values["overrides"]),
                "keys": tuple(values["keys"]),
                "shards": shards,
            }
        )


def run_job(make: Callable[[], object], heard: list[Event]) -> JSON:
    """Return as JSON values what `make` came to: the events it told to `heard`, and its errors.

    Nothing is raised: a worker goes on.
    """
    outcome: JSON = {}
    try:
        make()
    except PrefixbankError as error:
        outcome = failure(error)
    except OSError as error:  # what the command itself makes three lines of, too
        expected, fix = (
            "files and folders that the worker may use, and room",
            "look at that path on the worker's machine, and run it again",
        )
        outcome = failure(PrefixbankError(f"in a worker: {error}", expected=expected, fix=fix))
    # A mistake in the code: the command raises it again, so that it is seen as one.
    except Exception:
        outcome[CRASH] = traceback.format_exc()
    return {EVENTS: [asdict(event) for event in heard], **outcome}


def event_collector(heard: list[Event]) -> Emit:
    """Return what a worker tells its events to.

    It keeps all but progress, which is old by the time that it arrives.
    """
    return lambda event: None if event.kind == "progress" else heard.append(event)


def failure(error: PrefixbankError) -> JSON:
    """Return an error as an outcome."""
    return {
        FAULTS: [
            _to_json(fault) for fault in (error.faults if isinstance(error, Faults) else [error])
        ]
    }


def events_in(outcome: JSON) -> list[Event]:
    """Return the events that a worker heard."""
    return [Event(**values) for values in outcome.get(EVENTS, ())]


def error_in(outcome: JSON) -> PrefixbankError | None:
    """Return the error that ended a job, None if it was done.

    Raises:
        RuntimeError: the worker met something that is no error of a user's; with its traceback.
    """
    if CRASH in outcome:
        raise RuntimeError(f"in a worker:\n{outcome[CRASH]}")
    try:
        raise_faults([_from_json(values) for values in outcome.get(FAULTS, ())])
    except PrefixbankError as error:
        return error
    return None


def _to_json(error: PrefixbankError) -> JSON:
    return {
        "type": type(error).__name__,
        "what": error.what,
        "expected": error.expected,
        "fix": error.fix,
    }


def _from_json(values: JSON) -> PrefixbankError:
    kind: type[PrefixbankError] = getattr(errors, values["type"])
    return kind(values["what"], expected=values["expected"], fix=values["fix"])
