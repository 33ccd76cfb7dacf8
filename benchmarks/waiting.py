"""What it costs that idle OpenMP threads spin, and what it costs that they sleep.

Run: python -m benchmarks.waiting

The same short commands take turns with both settings, on an idle machine and beside one busy
process for each core. Both settings give the same bytes. prefixbank lets threads sleep.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measure import mixed_texts, ratio, save
from prefixbank.core.timing import in_turns
from prefixbank.env import OPENMP_WAITING

SETTINGS = {
    "spin": {"GOMP_SPINCOUNT": "300000"},  # what libgomp does unless it is told otherwise
    "sleep": {"OMP_WAIT_POLICY": "PASSIVE"},
}
TEXTS = 500
BUSY = (sys.executable, "-c", "while True: pass")


def command(folder: Path, words: tuple[str, ...], setting: str) -> None:
    """Run a command in a process of its own, with a store that has nothing."""
    inherited = {name: value for name, value in os.environ.items() if name not in OPENMP_WAITING}
    with TemporaryDirectory(dir=folder) as store:
        subprocess.run(
            [sys.executable, "-m", "prefixbank", *words, "--quiet", "--store", store],
            env={**inherited, **SETTINGS[setting]},
            stdout=subprocess.DEVNULL,
            check=True,
        )


@contextmanager
def beside(processes: int) -> Iterator[None]:
    """Keep so many processes busy."""
    running = [subprocess.Popen(BUSY) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def main() -> None:
    """Measure, print and keep the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    loads = {"idle": 0, "busy": os.cpu_count() or 1}
    with TemporaryDirectory() as name:
        folder = Path(name)
        corpus = folder / "texts.txt"
        corpus.write_text("".join(f"{text}\n" for text in mixed_texts(TEXTS)), encoding="utf-8")
        commands = {
            "embed": ("embed", "bank=none", f"corpus.path={corpus}"),
            "train-prefix": ("train-prefix", "task=polarity", "optim.epochs=1"),
        }
        found = {}
        for load, processes in loads.items():
            with beside(processes):
                for step, words in commands.items():
                    runs = {one: partial(command, folder, words, one) for one in SETTINGS}
                    seconds = in_turns(runs, asked.rounds)
                    found[f"{step}, {load}"] = {
                        **{one: seconds[one] for one in SETTINGS},
                        "sleep is faster": ratio(seconds, "sleep", "spin"),
                    }
        save("waiting", {"texts": TEXTS, "rounds": asked.rounds, "seconds": found})


if __name__ == "__main__":
    main()
