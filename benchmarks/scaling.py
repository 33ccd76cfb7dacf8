"""What embedding many texts costs beside the encoder.

Reading them, starting workers, finishing shards.

Run: python -m benchmarks.scaling

Speed with workers is what further texts take: the difference between a long and a short corpus, so
that the start of the workers is apart.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as parquet
import torch

import prefixbank as pb
from benchmarks.measure import mixed_texts, save
from benchmarks.memory import write_lines
from prefixbank.config.commands import CorpusConfig
from prefixbank.data.corpus.corpus import open_corpus, shards_of

LINES, GROUP_ROWS = 500_000, 50_000
SHARD_ROWS, SHARDS = 256, (4, 12)
SMALL_SHARDS = 200
TRAININGS = ("polarity", "topic", "entailment", "emotion")
ROUNDS = 3


def seconds(make: Callable[[], object]) -> float:
    """Return how long something takes."""
    started = time.perf_counter()
    make()
    return time.perf_counter() - started


def write(folder: Path, texts: Sequence[str], form: str) -> Path:
    """Write a corpus."""
    path = folder / f"{len(texts)}.{form}"
    match form:
        case "txt":
            path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
        case "csv":
            path.write_text("text\n" + "".join(f'"{text}"\n' for text in texts), encoding="utf-8")
        case "jsonl":
            path.write_text("".join(f'{{"text": "{text}"}}\n' for text in texts), encoding="utf-8")
        case "parquet":
            parquet.write_table(pa.table({"text": texts}), path, row_group_size=GROUP_ROWS)
    return path


def reading(folder: Path) -> dict[str, dict[str, float]]:
    """Return for each form how many rows are checked in a second, and how many are passed over.

    Rows are passed over on the way to a shard at the end.
    """
    write_lines(folder / "lines.txt", LINES)
    texts = (folder / "lines.txt").read_text(encoding="utf-8").splitlines()
    found = {}
    for form in ("txt", "csv", "jsonl", "parquet"):
        config = CorpusConfig(path=str(write(folder, texts, form)))
        started = time.perf_counter()
        # Standard input, which is not read.
        with open_corpus(config, open("/dev/null", "rb")) as corpus:  # noqa: SIM115, PTH123
            checked = time.perf_counter() - started
            last = len(corpus.digests) - 1
            passed = seconds(partial(shards_of(config), last, corpus.digests[last]))
        found[form] = {
            "checked_rows_per_s": LINES / checked,
            "passed_rows_per_s": last * config.shard_rows / passed,
        }
    return found


def embed_seconds(folder: Path, corpus: Path, name: str, *settings: str) -> float:
    """Embed a corpus into a store of its own; return how long it takes."""
    given = ("bank=none", f"corpus.path={corpus}", *settings)
    return seconds(lambda: pb.run("embed", *given, store=folder / name))


def finishing(folder: Path) -> float:
    """Return the seconds that one more shard takes, whatever is in it."""
    corpus = write(folder, mixed_texts(8 * SMALL_SHARDS), "txt")
    tiny = ("encoder=tiny", "max_length_tokens=8")
    embed_seconds(folder, corpus, "warm", *tiny)
    many = embed_seconds(folder, corpus, "many", *tiny, "corpus.shard_rows=8")
    return (many - embed_seconds(folder, corpus, "one", *tiny)) / (SMALL_SHARDS - 1)


def working(folder: Path) -> dict[str, dict[str, list[float]]]:
    """Return texts a second, and the seconds until the first one.

    Of one process on all cores, and of a process for each core.
    """
    texts = mixed_texts(SHARD_ROWS * SHARDS[1])
    short, long = (write(folder, texts[: SHARD_ROWS * count], "txt") for count in SHARDS)
    cores = torch.get_num_threads()
    found: dict[str, dict[str, list[float]]] = {}
    for round_ in range(ROUNDS):
        for name, workers in (("one process", 1), (f"{cores} processes", cores)):
            settings = (
                f"corpus.shard_rows={SHARD_ROWS}",
                f"run.workers={workers}",
                "run.device=cpu",
            )
            few, many = (
                embed_seconds(folder, corpus, f"{name} {corpus.stem} {round_}", *settings)
                for corpus in (short, long)
            )
            each = (many - few) / (SHARD_ROWS * (SHARDS[1] - SHARDS[0]))
            place = found.setdefault(name, {"texts_per_s": [], "start_s": []})
            place["texts_per_s"].append(1 / each)
            place["start_s"].append(few - SHARD_ROWS * SHARDS[0] * each)
    return found


def training(folder: Path) -> dict[str, list[float]]:
    """Return the seconds that several trainings take, starts included.

    One after the other on all cores, and side by side.
    """
    found: dict[str, list[float]] = {}
    for round_ in range(ROUNDS):
        for workers in (1, torch.get_num_threads()):
            store = folder / f"training {workers} {round_}"
            sweep = (
                "--sweep",
                f"task={','.join(TRAININGS)}",
                "optim.epochs=2",
                f"run.workers={workers}",
                "--store",
                str(store),
            )
            command = (
                sys.executable,
                "-c",
                "from prefixbank.cli.app import main; main()",
                "train-prefix",
                *sweep,
            )
            run = partial(subprocess.run, command, check=True, stdout=subprocess.DEVNULL)
            found.setdefault(str(workers), []).append(seconds(run))
    return found


def main() -> None:
    """Measure, print and keep the result."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        workers, trainings = working(folder), training(folder)
        one, several = (median(found["texts_per_s"]) for found in workers.values())
        beside = {
            "reading": reading(folder),
            "shard_s": finishing(folder),
            "trainings": len(TRAININGS),
            "training_s": trainings,
        }
        sizes = {"lines": LINES, "group_rows": GROUP_ROWS, "rounds": ROUNDS}
        save(
            "scaling", {**sizes, **beside, "workers": workers, "processes_over_one": several / one}
        )


if __name__ == "__main__":
    main()
