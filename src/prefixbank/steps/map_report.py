"""Step `map-report`: the trainings of a transfer map, to tables, text and charts.

A transfer map trains each target from a cold start and from each source's prefix, and asks whether the similarity of task embeddings tells
beforehand which source helps.

Source: Vu et al. 2022 (2110.07904), sections 3 and 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from prefixbank.errors import PrefixbankError, UsageError, raise_faults
from prefixbank.steps.report import Facts
from prefixbank.steps.task_embeddings import Comparison
from prefixbank.steps.units import Unit
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON, document

STEP = "map-report"
VERSION = 1  # 1: first


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
        tops: sizes of the short lists out of which validation chooses; a target with fewer sources has all of them on its list.
        sources: source to seed to its prefix.
        cold: target to seed to its training from a cold start.
        warm: target to source to seed to its training from that source's prefix. A target may lack sources, such as itself.
        combined: how sources were combined to target to seed to the training from that; may be empty, or have only some of the seeds.

    Raises:
        UsageError: a training is missing, or a short list has no place.
    """

    facts: Facts
    comparison: Comparison
    tops: tuple[int, ...]
    sources: Mapping[str, Mapping[int, Entry]]
    cold: Mapping[str, Mapping[int, Trained]]
    warm: Mapping[str, Mapping[str, Mapping[int, Trained]]]
    combined: Mapping[str, Mapping[str, Mapping[int, Trained]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a map with holes: means over targets and seeds would then be of different trainings in each row."""
        faults: list[PrefixbankError] = []
        if not self.tops or min(self.tops) < 1 or len(set(self.tops)) < len(self.tops):
            fault = f"short lists of {', '.join(map(str, self.tops)) or 'no'} sources"
            faults.append(UsageError(fault, expected="one or more different numbers from 1", fix="tops=(1, 3)"))
        seeds = set(self.facts.seeds)
        trainings: dict[str, Mapping[int, Any]] = {f"source '{name}'": of_seed for name, of_seed in self.sources.items()}
        trainings |= {f"'{name}' from a cold start": of_seed for name, of_seed in self.cold.items()}
        for target in self.cold:
            if not self.warm.get(target):
                faults.append(_missing(f"'{target}' was trained from no source", "one source or more for each target"))
            trainings |= {f"'{target}' from '{source}'": of_seed for source, of_seed in self.warm.get(target, {}).items()}
            unknown = [source for source in self.warm.get(target, {}) if source not in self.sources]
            faults += [_missing(f"'{target}' was trained from '{source}', which is no source", "one of the sources") for source in unknown]
        for said, of_seed in trainings.items():
            if set(of_seed) != seeds:
                faults.append(_missing(f"{said} has seeds {sorted(of_seed)}", f"the seeds of the experiment, {sorted(seeds)}"))
        for name, of_target in self.combined.items():
            of_seeds = {frozenset(of_target.get(target, {})) for target in self.cold}
            if len(of_seeds) > 1 or not all(found and found <= seeds for found in of_seeds):
                faults.append(_missing(f"'{name}' does not have the same seeds on all targets", f"one or more of {sorted(seeds)}"))
        raise_faults(faults)


def _missing(what: str, expected: str) -> UsageError:
    return UsageError(what, expected=expected, fix="run the whole map before its report")


def unit(study: TransferMap, *, resamples: int) -> Unit:
    """Return the unit that reports on a transfer map; ref `report/<experiment>`.

    Args:
        study: what was trained.
        resamples: bootstrap resamples behind the intervals, at the least; there are more where many comparisons are corrected together.
    """

    def make(out: Path, work: Path) -> JSON:
        from prefixbank.steps.map_files import write_map
        from prefixbank.steps.map_table import tabulate

        write_map(out, tabulate(study, resamples))
        return {"experiment": study.facts.experiment}

    name = study.facts.experiment
    made_of = document(step="map_report", version=VERSION, config=_config(study, resamples), inputs=_inputs(study))
    return Unit(step=STEP, name=name, document=made_of, make=make, ref=("report", name), here=True)


def _config(study: TransferMap, resamples: int) -> JSON:
    """Return what is said and in which order; a document does not keep the order of names, so orders are lists."""
    return {
        **asdict(study.facts),
        "resamples": resamples,
        **asdict(study.comparison),
        "tops": study.tops,
        "compared_sources": list(study.sources),
        "targets": list(study.cold),
        "combined": list(study.combined),
    }


def _inputs(study: TransferMap) -> JSON:
    """Return the digest of every artifact that is read."""
    return {name: _digests(getattr(study, name)) for name in ("sources", "cold", "warm", "combined")}


def _digests(tree: Any) -> Any:
    if isinstance(tree, Entry):
        return tree.digest
    if isinstance(tree, Trained):
        return {part.name: getattr(tree, part.name).digest for part in fields(tree)}
    return {str(name): _digests(part) for name, part in tree.items()}
