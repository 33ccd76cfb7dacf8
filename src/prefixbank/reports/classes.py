"""What each probe of a study gets right, class by class."""

from __future__ import annotations

from collections.abc import Iterator

from prefixbank.artifacts.json_files import read_json
from prefixbank.artifacts.probe import PROBE
from prefixbank.reports.study import Study
from prefixbank.store.key import JSON


def class_lines(study: Study) -> Iterator[JSON]:
    """Yield precision, recall, F1 and support of each class or label.

    For each target, representation and training seed, in this order. Regressions have none.
    """
    for target, by_column in study.probes.items():
        for column, by_seed in by_column.items():
            for seed, probe in by_seed.items():
                for one in read_json(probe, PROBE)["test"]["classes"]:
                    where = {"target": target, "representation": column, "seed": seed}
                    yield {**where, **one}
