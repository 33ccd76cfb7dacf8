"""What a transfer map made, as its report reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prefixbank.errors import PrefixbankError, UsageError, raise_faults
from prefixbank.reports.study import Facts
from prefixbank.store.artifact import Entry
from prefixbank.transfer.task_embeddings import Comparison


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A target's training: its prefix, and that prefix's score on test rows."""

    prefix: Entry
    score: Entry


@dataclass(frozen=True, kw_only=True)
class TransferMap:
    """Everything that the report on a transfer map is made of.

    Args:
        facts: what to say about the experiment.
        comparison: which similarity ranks sources.
        ks: sizes of the short lists out of which validation chooses; a target with fewer sources
            has all of them on its list.
        sources: source to seed to its prefix.
        cold: target to seed to its training from a cold start.
        warm: target to source to seed to its training from that source's prefix. A target may lack
            sources, such as itself.
        combined: how sources were combined to target to seed to the training from that; may be
            empty, or have only some of the seeds.

    Raises:
        UsageError: a training is missing, or a short list has no place.
    """

    facts: Facts
    comparison: Comparison
    ks: tuple[int, ...]
    sources: Mapping[str, Mapping[int, Entry]]
    cold: Mapping[str, Mapping[int, Trained]]
    warm: Mapping[str, Mapping[str, Mapping[int, Trained]]]
    combined: Mapping[str, Mapping[str, Mapping[int, Trained]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a map with holes.

        Means over targets and seeds would then be of different trainings in each row.
        """
        faults: list[PrefixbankError] = []
        if not self.ks or min(self.ks) < 1 or len(set(self.ks)) < len(self.ks):
            fault = f"short lists of {', '.join(map(str, self.ks)) or 'no'} sources"
            faults.append(
                UsageError(fault, expected="one or more different numbers from 1", fix="ks=(1, 3)")
            )
        seeds = set(self.facts.seeds)
        trainings: dict[str, Mapping[int, Any]] = {
            f"source '{name}'": by_seed for name, by_seed in self.sources.items()
        }
        trainings |= {f"'{name}' from a cold start": by_seed for name, by_seed in self.cold.items()}
        for target in self.cold:
            if not self.warm.get(target):
                faults.append(
                    _missing(
                        f"'{target}' was trained from no source",
                        "one source or more for each target",
                    )
                )
            trainings |= {
                f"'{target}' from '{source}'": by_seed
                for source, by_seed in self.warm.get(target, {}).items()
            }
            unknown = [source for source in self.warm.get(target, {}) if source not in self.sources]
            faults += [
                _missing(
                    f"'{target}' was trained from '{source}', which is no source",
                    "one of the sources",
                )
                for source in unknown
            ]
        for said, by_seed in trainings.items():
            if set(by_seed) != seeds:
                faults.append(
                    _missing(
                        f"{said} has seeds {sorted(by_seed)}",
                        f"the seeds of the experiment, {sorted(seeds)}",
                    )
                )
        for name, by_target in self.combined.items():
            of_seeds = {frozenset(by_target.get(target, {})) for target in self.cold}
            if len(of_seeds) > 1 or not all(found and found <= seeds for found in of_seeds):
                faults.append(
                    _missing(
                        f"'{name}' does not have the same seeds on all targets",
                        f"one or more of {sorted(seeds)}",
                    )
                )
        raise_faults(faults)


def _missing(what: str, expected: str) -> UsageError:
    return UsageError(what, expected=expected, fix="run the whole map before its report")
