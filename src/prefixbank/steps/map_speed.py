"""How much sooner trainings from a source's prefix get where the cold start of the same seed ends."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from prefixbank.core.warm_speed import ratio_of_steps
from prefixbank.steps.map_report import TransferMap
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON

NEVER = math.inf


def speed(study: TransferMap, gains: np.ndarray) -> JSON:
    """Return ratios of steps for all pairs, and for those with positive transfer.

    Args:
        study: the map.
        gains: [S, T], NaN where a target lacks a source.
    """
    sources = list(study.sources)
    everything: list[list[float | None]] = []
    positive: list[list[float | None]] = []
    for place, target in enumerate(study.cold):
        cold = {seed: _curve(one.prefix) for seed, one in study.cold[target].items()}
        for source, of_seed in study.warm[target].items():
            ratios = [_ratio(_curve(one.prefix), cold[seed]) for seed, one in of_seed.items()]
            everything.append(ratios)
            if gains[sources.index(source), place] > 0:
                positive.append(ratios)
    return {"positive": _summary(positive), "all": _summary(everything)}


def _ratio(warm: list[Any], cold: list[Any]) -> float | None:
    """Return the ratio of steps; NEVER where the warm start does not get there, None where the cold start was there before any step."""
    if ratio_of_steps(cold, cold) is None:
        return None
    ratio = ratio_of_steps(warm, cold)
    return NEVER if ratio is None else ratio


def _summary(pairs: Sequence[Sequence[float | None]]) -> JSON:
    """Count, and take the median over all trainings that can be compared, where one that never gets there is slower than any other."""
    ratios = [ratio for of_pair in pairs for ratio in of_pair]
    known = [ratio for ratio in ratios if ratio is not None]
    median = float(np.median(known)) if known else None
    return {
        "pairs": len(pairs),
        "never_pairs": sum(all(ratio == NEVER for ratio in of_pair) for of_pair in pairs),
        "trainings": len(ratios),
        "never": known.count(NEVER),
        "undefined": len(ratios) - len(known),
        "median": None if median == NEVER else median,
    }


def _curve(entry: Entry) -> list[Any]:
    return [json.loads(line) for line in entry.file("curve.jsonl").read_text(encoding="utf-8").splitlines()]
