"""Scores of a transfer map, target by target.

Sources are chosen by scores on validation rows; scores on test rows are reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from prefixbank.artifacts.json_files import read_json
from prefixbank.choices import Metric
from prefixbank.reports.samples import Sampled, Scored, sample_rows
from prefixbank.reports.transfer_map.study import Trained, TransferMap


@dataclass(frozen=True, kw_only=True)
class TargetScores:
    """The scores of all trainings on one target.

    S sources, N seeds, R resamples of the test rows.

    Args:
        metric: of the target.
        test_rows: how many.
        seeds: N, ascending.
        sources: S names, in the order of the map's.
        validation: [S, N] of the trainings from a source.
        test: [S, N].
        samples: [S, N, R] test scores of resampled rows; resample r is the same rows for all.
        cold: test scores of the cold start.
        cold_validation: [N].
        combined: test scores of the trainings from a combination of sources.
    """

    metric: Metric
    test_rows: int
    seeds: tuple[int, ...]
    sources: tuple[str, ...]
    validation: np.ndarray
    test: np.ndarray
    samples: np.ndarray
    cold: Sampled
    cold_validation: np.ndarray
    combined: Mapping[str, Sampled]

    @property
    def cold_test(self) -> np.ndarray:
        """Test scores of the cold start, [N]."""
        return np.array([self.cold.scores[seed] for seed in self.seeds])

    def weighted(self, chances: Mapping[int, np.ndarray]) -> Sampled:
        """Return the expected scores of a source that is drawn at random in each seed.

        Args:
            chances: seed to the probability of each source, [S].
        """
        index = {seed: number for number, seed in enumerate(self.seeds)}
        return Sampled(
            scores={
                seed: float(each @ self.test[:, index[seed]]) for seed, each in chances.items()
            },
            samples={seed: each @ self.samples[:, index[seed]] for seed, each in chances.items()},
        )


def target_scores(
    study: TransferMap, target: str, bootstrap_samples: int, number: int
) -> TargetScores:
    """Read and resample the scores of one target, the `number`-th.

    Raises:
        DataError: its trainings were not scored on the same rows.
    """
    seeds = tuple(sorted(study.facts.seeds))
    cold, warm = study.cold[target], study.warm[target]
    sources = tuple(source for source in study.sources if source in warm)
    entries = {one.score.digest: one.score for one in _trainings(study, target)}
    result = read_json(cold[seeds[0]].prefix, "result.json")
    rows, scored, _ = sample_rows(
        target, entries, result["metric"], len(result["labels"]) or 1, bootstrap_samples, number
    )
    by_source = [[scored[warm[source][seed].score.digest] for seed in seeds] for source in sources]
    return TargetScores(
        metric=result["metric"],
        test_rows=rows,
        seeds=seeds,
        sources=sources,
        validation=np.array(
            [[_validation(warm[source][seed]) for seed in seeds] for source in sources]
        ),
        test=np.array([[score for score, _ in row] for row in by_source]),
        samples=np.array([[samples for _, samples in row] for row in by_source]),
        cold=_sampled(cold, scored),
        cold_validation=np.array([_validation(cold[seed]) for seed in seeds]),
        combined={
            name: _sampled(by_target[target], scored) for name, by_target in study.combined.items()
        },
    )


def _trainings(study: TransferMap, target: str) -> Iterator[Trained]:
    yield from study.cold[target].values()
    for by_seed in (
        *study.warm[target].values(),
        *(by_target[target] for by_target in study.combined.values()),
    ):
        yield from by_seed.values()


def _sampled(by_seed: Mapping[int, Trained], scored: Scored) -> Sampled:
    return Sampled.of({seed: one.score.digest for seed, one in by_seed.items()}, scored)


def _validation(trained: Trained) -> float:
    return float(read_json(trained.prefix, "result.json")["validation"])
