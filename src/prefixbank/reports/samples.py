"""Test scores of probes and prefixes, resampled over test rows and over training seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from prefixbank.artifacts.json_files import read_json
from prefixbank.artifacts.tensors import read_tensors
from prefixbank.choices import Metric
from prefixbank.core.stats.bootstrap import draw_seeds, resampled_scores
from prefixbank.core.stats.metrics import RANKING, score
from prefixbank.errors import DataError
from prefixbank.store.artifact import Entry

Scored = dict[str, tuple[float, np.ndarray]]
"""An artifact's digest to its test score and the scores of R resamples of the rows, [R]."""


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """The scores of one representation on one target, or their mean over targets, by seed.

    Args:
        scores: seed to the test score; of few-shot draws their mean.
        samples: seed to the scores of R resamples of the test rows, float64 [R]; resample r is the
            same rows for everything on a target.
        seedless: nothing was trained, so that the only entry stands for every seed.
    """

    scores: Mapping[int, float]
    samples: Mapping[int, np.ndarray]
    seedless: bool = False

    @staticmethod
    def of(digests: Mapping[int, str], scored: Scored, *, seedless: bool = False) -> Sampled:
        """Return the scores of the artifacts with these digests, by seed."""
        return Sampled(
            scores={seed: scored[digest][0] for seed, digest in digests.items()},
            samples={seed: scored[digest][1] for seed, digest in digests.items()},
            seedless=seedless,
        )

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, ascending."""
        return tuple(sorted(self.scores))

    def value(self, seeds: Sequence[int]) -> float:
        """Return the mean score over seeds."""
        return float(np.mean([self.scores[self._own(seed)] for seed in seeds]))

    def drawn(self, seeds: Sequence[int]) -> np.ndarray:
        """Return R mean scores, [R], over seeds drawn with replacement, each of resampled rows."""
        stacked = np.array([self.samples[self._own(seed)] for seed in seeds])
        mean: np.ndarray = (_shares(tuple(seeds), stacked.shape[1]).T * stacked).sum(axis=0)
        return mean

    def _own(self, seed: int) -> int:
        return self.seeds[0] if self.seedless else seed


@lru_cache(maxsize=16)
def _shares(seeds: tuple[int, ...], bootstrap_samples: int) -> np.ndarray:
    """Return `draw_seeds`, computed once for the many comparisons of a report."""
    return draw_seeds(seeds, bootstrap_samples)


def shared_seeds(one: Sampled, other: Sampled) -> tuple[int, ...]:
    """Return the seeds in which two representations can be compared.

    A representation without seeds is paired with every seed of the other.
    """
    if one.seedless or other.seedless:
        return other.seeds if one.seedless else one.seeds
    return tuple(seed for seed in one.seeds if seed in other.seeds)


def mean_over_targets(parts: Sequence[Sampled]) -> Sampled:
    """Return the mean over targets, seed by seed."""
    first = parts[0]
    return Sampled(
        scores={
            seed: float(np.mean([part.scores[seed] for part in parts])) for seed in first.seeds
        },
        samples={
            seed: np.mean([part.samples[seed] for part in parts], axis=0) for seed in first.seeds
        },
        seedless=first.seedless,
    )


@dataclass(frozen=True, kw_only=True)
class TargetFacts:
    """What the probes of one target have in common.

    Args:
        metric: of the target.
        split: the rows that are scored.
        outer_folds: of cross-validation; None if probes are fitted on train rows only.
        train_rows: that a probe is fitted on.
        test_rows: that are scored.
        draws: few-shot draws that a score is the mean of; 1 without.
    """

    metric: Metric
    split: str
    outer_folds: int | None
    train_rows: int
    test_rows: int
    draws: int


def sample_target(
    target: str, entries: Iterable[Entry], bootstrap_samples: int, number: int
) -> tuple[TargetFacts, Scored]:
    """Score all probes of one target on the same resamples of its test rows.

    Args:
        target: its name.
        entries: probes, in any order and number.
        bootstrap_samples: R.
        number: of the target, see `sample_rows`.

    Returns:
        What the probes have in common, and their scores by digest. Few-shot draws are averaged.

    Raises:
        DataError: the probes were not scored on the same rows.
    """
    distinct = {entry.digest: entry for entry in entries}
    first = read_json(next(iter(distinct.values())), "probe.json")
    rows, sampled, draws = sample_rows(
        target, distinct, first["metric"], len(first["labels"]) or 1, bootstrap_samples, number
    )
    facts = {name: first[name] for name in ("metric", "split", "outer_folds", "train_rows")}
    return TargetFacts(**facts, test_rows=rows, draws=draws), sampled


def sample_rows(
    target: str,
    entries: Mapping[str, Entry],
    metric: Metric,
    classes: int,
    bootstrap_samples: int,
    number: int,
) -> tuple[int, Scored, int]:
    """Score all predictions for one target on the same resamples of its test rows.

    Args:
        target: its name.
        entries: by digest, artifacts with `predictions.safetensors`: `labels`, and one or more
            arrays whose name ends in `predictions`, or for a metric of `RANKING` in
            `probabilities`.
        metric: of the target.
        classes: C, 1 for regression.
        bootstrap_samples: R.
        number: of the target; targets with different numbers draw different rows.

    Returns:
        The number of test rows; by digest the score and the resampled scores [R], means over an
        artifact's predictions; the largest number of predictions in an artifact.

    Raises:
        DataError: the predictions are not for the same rows.
    """
    scored = "probabilities" if metric in RANKING else "predictions"
    predictions: dict[str, list[np.ndarray]] = {}
    labels: np.ndarray | None = None
    for digest, entry in entries.items():
        arrays = {
            name: tensor.numpy()
            for name, tensor in read_tensors(entry, "predictions.safetensors").items()
        }
        labels = arrays["labels"] if labels is None else labels
        if not np.array_equal(labels, arrays["labels"]):
            raise DataError(
                f"predictions for '{target}' were scored on different test rows",
                expected="one test split for everything that a report compares",
                fix="prefixbank run with the same task files for all of them",
            )
        predictions[digest] = [arrays[name] for name in sorted(arrays) if name.endswith(scored)]
    assert labels is not None
    flat = tuple(one for several in predictions.values() for one in several)
    joint = iter(
        resampled_scores(
            metric, flat, labels, classes, bootstrap_samples=bootstrap_samples, seed=number
        )
    )
    sampled = {
        digest: (
            float(np.mean([score(metric, one, labels, classes) for one in several])),
            np.mean([next(joint) for _ in several], axis=0),
        )
        for digest, several in predictions.items()
    }
    return len(labels), sampled, max(map(len, predictions.values()))
