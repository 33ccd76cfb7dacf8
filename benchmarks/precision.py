"""What reading texts in bf16 costs the probes of a study.

The targets of `experiment=transfer`, embedded and probed in both precisions.

Prefixes of the study are hits where they are in the store: python -m benchmarks.precision
--data-root FOLDER [--store STORE] [--workers N]
"""

from __future__ import annotations

import argparse
from statistics import mean
from typing import get_args

import prefixbank as pb
from benchmarks.measure import save
from prefixbank.choices import Precision

PRECISIONS = tuple(name for name in get_args(Precision) if name != "fp16")  # which needs a GPU
SETTINGS = (
    "experiment=transfer",
    "experiment.representations=[plain,bank]",
    "experiment.single_seed=[]",
)


def scores(precision: Precision, asked: argparse.Namespace) -> dict[str, dict[str, list[float]]]:
    """Return representation to target to test scores, one for each seed."""
    where = (
        f"run.data_root={asked.data_root}",
        f"run.workers={asked.workers}",
        f"experiment.seeds=[{asked.seeds}]",
    )
    report = pb.run(
        "run",
        *SETTINGS,
        f"precision={precision}",
        *where,
        store=asked.store,
        on_event=print,
    )
    rows = report.rows[0]["rows"]
    targets = {target: row["columns"] for target, row in rows.items() if target != "mean"}
    return {
        name: {target: columns[name]["scores"] for target, columns in targets.items()}
        for name in ("plain encoder", "bank")
    }


def main() -> None:
    """Measure, print and keep the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--store")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--seeds", default="0")
    asked = parser.parse_args()
    found = {precision: scores(precision, asked) for precision in PRECISIONS}
    means = {
        name: {
            precision: mean(mean(by_target) for by_target in found[precision][name].values())
            for precision in PRECISIONS
        }
        for name in found[PRECISIONS[0]]
    }
    save(
        "precision",
        {"experiment": "transfer", "seeds": asked.seeds, "scores": found, "mean": means},
    )


if __name__ == "__main__":
    main()
