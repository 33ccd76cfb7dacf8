"""What a transfer map made, as its report takes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from prefixbank.errors import UsageError, raise_faults
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
        facts: what to state about the experiment.
        comparison: which similarity ranks sources.
        ks: sizes of the short lists from which validation chooses; a target with fewer sources has
            all of them on its list.
        sources: source to seed to its prefix.
        cold: target to seed to its training from a cold start.
        warm: target to source to seed to its training from that source's prefix. A target may lack
            sources, such as itself.
        combined: combination of sources to target to seed to the training from it; may be empty,
            or have only some of the seeds.

    Raises:
        UsageError: a training is missing, or a short list has a size that makes no sense.
    """

    facts: Facts
    comparison: Comparison
    ks: tuple[int, ...]
    sources: Mapping[str, Mapping[int, Entry]]
    cold: Mapping[str, Mapping[int, Trained]]
    warm: Mapping[str, Mapping[str, Mapping[int, Trained]]]
    combined: Mapping[str, Mapping[str, Mapping[int, Trained]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a map with holes: means would be over different trainings in each row."""
        raise_faults([*self._short_list_faults(), *self._seed_faults(), *self._combined_faults()])

    def _short_list_faults(self) -> Iterator[UsageError]:
        if not self.ks or min(self.ks) < 1 or len(set(self.ks)) < len(self.ks):
            yield UsageError(
                f"short lists of {', '.join(map(str, self.ks)) or 'no'} sources",
                expected="one or more different numbers from 1",
                fix="experiment.transfer.ks=[1,3]",
            )

    def _seed_faults(self) -> Iterator[UsageError]:
        """Yield what lacks sources, has unknown ones, or lacks seeds."""
        trainings: dict[str, Mapping[int, Any]] = {
            f"source '{name}'": by_seed for name, by_seed in self.sources.items()
        }
        trainings |= {f"'{name}' from a cold start": by_seed for name, by_seed in self.cold.items()}
        for target in self.cold:
            warm = self.warm.get(target, {})
            if not warm:
                yield _missing(f"'{target}' was trained from no source", "one source or more")
            for source, by_seed in warm.items():
                trainings[f"'{target}' from '{source}'"] = by_seed
                if source not in self.sources:
                    yield _missing(
                        f"'{target}' was trained from '{source}', which is not a source",
                        f"one of: {', '.join(self.sources)}",
                    )
        for name, by_seed in trainings.items():
            if set(by_seed) != set(self.facts.seeds):
                yield _missing(
                    f"{name} has seeds {sorted(by_seed)}",
                    f"the seeds of the experiment, {sorted(self.facts.seeds)}",
                )

    def _combined_faults(self) -> Iterator[UsageError]:
        for name, by_target in self.combined.items():
            seeds = {frozenset(by_target.get(target, {})) for target in self.cold}
            if len(seeds) > 1 or not all(one and one <= set(self.facts.seeds) for one in seeds):
                yield _missing(
                    f"'{name}' does not have the same seeds on all targets",
                    f"one or more of {sorted(self.facts.seeds)}",
                )


def _missing(what: str, expected: str) -> UsageError:
    return UsageError(what, expected=expected, fix="make the whole map before its report")
