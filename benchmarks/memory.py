"""How much memory embedding a long file of short lines takes.

Run: python -m benchmarks.memory --rows 2000000

The command line runs as a process of its own with the tiny encoder, since what the encoder computes
does not matter here; its resident memory is read ten times a second. Much of it are torch and
transformers themselves, which the run on one line shows.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from benchmarks.measure import save

WORDS = (
    "the food was good bad noisy place warm cold bath service friendly slow again never always "
    "room staff".split()
)
COMMAND = (
    sys.executable,
    "-c",
    "from prefixbank.cli.app import main; main()",
    "embed",
    "bank=none",
    "encoder=tiny",
)


def write_lines(path: Path, rows: int) -> None:
    """Write lines of three to twelve words."""
    rng = random.Random(0)
    with path.open("w", encoding="utf-8") as file:
        for _ in range(rows):
            file.write(" ".join(rng.choices(WORDS, k=rng.randint(3, 12))) + "\n")


def peak_mb(folder: Path, rows: int) -> dict[str, float]:
    """Embed so many lines.

    Return the greatest resident memory and the texts embedded in a second.
    """
    corpus = folder / f"{rows}.txt"
    write_lines(corpus, rows)
    started, peak = time.monotonic(), 0
    process = psutil.Popen(
        [*COMMAND, f"corpus.path={corpus}", "--store", str(folder / f"store-{rows}")],
        stdout=subprocess.DEVNULL,
    )
    while process.poll() is None:
        peak = max(peak, process.memory_info().rss)
        time.sleep(0.1)
    if process.returncode:
        raise SystemExit(process.returncode)
    return {"peak_mb": peak / 1e6, "texts_per_s": rows / (time.monotonic() - started)}


def main() -> None:
    """Measure, print and keep the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=2_000_000)
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        save(
            "memory",
            {
                "rows": {
                    str(rows): peak_mb(Path(folder), rows)
                    for rows in (1, asked.rows // 4, asked.rows)
                }
            },
        )


if __name__ == "__main__":
    main()
