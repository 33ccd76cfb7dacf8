"""Jobs for workers and their outcomes, as plain JSON values."""

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
    """A part of a command's work.

    Args:
        command: name of the API function.
        overrides: its `KEY=VALUE` settings.
        store: folder of the store, absolute.
        read_stores: folders of stores that are only read.
        folder: folder that relative paths in the settings start from.
        conf_dir: folder of further YAML files.
        defaults: settings by name that come before what is built in.
        force: make again what the store has.
        groups: keys of the units to make, those together that are made together; empty: all units.
        shards: shards of a corpus to make instead of units, number to digest. The first shard is
            included if the others need its calibration.
        threads: CPU threads of torch; 0: torch chooses.
    """

    command: str
    overrides: tuple[str, ...]
    store: str
    folder: str
    read_stores: tuple[str, ...] = ()
    conf_dir: str = ""
    defaults: Mapping[str, str] = field(default_factory=dict)
    force: bool = False
    groups: tuple[tuple[str, ...], ...] = ()
    shards: Mapping[int, str] = field(default_factory=dict)
    threads: int = 0

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of the units to make; empty: all of them."""
        return tuple(key for group in self.groups for key in group)

    @property
    def only(self) -> tuple[str, ...] | None:
        """Keys of the units to make, None for all of them."""
        return self.keys or None

    def to_json(self) -> JSON:
        """Return the job as JSON values."""
        return {
            **asdict(self),
            "shards": {str(number): digest for number, digest in self.shards.items()},
        }

    @staticmethod
    def from_json(values: JSON) -> Job:
        """Return the job that `to_json` was called on."""
        shards = {int(number): digest for number, digest in values["shards"].items()}
        return Job(
            **{
                **values,
                "overrides": tuple(values["overrides"]),
                "groups": tuple(map(tuple, values["groups"])),
                "read_stores": tuple(values["read_stores"]),
                "shards": shards,
            }
        )


def run_job(make: Callable[[], object], events: list[Event]) -> JSON:
    """Call `make` and return the outcome: the collected events, and the error if it failed.

    Nothing is raised, so that a worker survives a failed job.
    """
    outcome: JSON = {}
    try:
        make()
    except PrefixbankError as error:
        outcome = failure(error)
    except OSError as error:  # the command line reports these as three lines, too
        expected, fix = (
            "files and folders that the worker can read and write, and free disk space",
            "check that path on the worker's machine, then run the command again",
        )
        outcome = failure(PrefixbankError(f"in a worker: {error}", expected=expected, fix=fix))
    # A bug: the command raises it again, with this traceback.
    except Exception:
        outcome[CRASH] = traceback.format_exc()
    return {EVENTS: [asdict(event) for event in events], **outcome}


def event_collector(events: list[Event]) -> Emit:
    """Return a listener that appends to `events`, except for progress.

    Progress would be out of date by the time the command gets it.
    """
    return lambda event: None if event.kind == "progress" else events.append(event)


def failure(error: PrefixbankError) -> JSON:
    """Return the outcome of a job that ended with an error."""
    return {
        FAULTS: [
            _to_json(fault) for fault in (error.faults if isinstance(error, Faults) else [error])
        ]
    }


def events_in(outcome: JSON) -> list[Event]:
    """Return the events of an outcome."""
    return [Event(**values) for values in outcome.get(EVENTS, ())]


def error_in(outcome: JSON) -> PrefixbankError | None:
    """Return the error that ended a job, None if it succeeded.

    Raises:
        RuntimeError: the worker crashed; the message has its traceback.
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
