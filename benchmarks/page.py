"""Make docs/results/speed.md from benchmarks/results.

python -m benchmarks.page (part of `make bench`).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

RESULTS = Path(__file__).with_name("results")
PAGE = Path(__file__).parents[1] / "docs" / "results" / "speed.md"
KINDS = ("float32", "float16", "int8", "binary")


def read(name: str) -> dict[str, Any]:
    """Return one result."""
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def spread(found: Mapping[str, float]) -> str:
    """Return a median with the least and the most."""
    return f"{found['median']:.2f} ({found['least']:.2f} to {found['most']:.2f})"


def embedding(peers: Mapping[str, Any]) -> str:
    """Return the section on embedding."""
    cores = f"{peers['threads']} cores ({peers['processor']}), torch {peers['torch']}"
    mean, (low, middle, high) = peers["tokens"]["mean"], peers["tokens"]["quantiles 5 50 95 %"]
    speeds = [[name, f"{median(rates):.0f}"] for name, rates in peers["texts_per_s"].items()]
    ratios = [[name, spread(found)] for name, found in peers["times_as_fast"].items()]
    shares = [
        [name, f"{median(values):.2f}"] for name, values in peers["share_of_matrix_rate"].items()
    ]
    cosines = [[name, f"{value:.6f}"] for name, value in peers["least_cosine"].items()]
    return f"""## Embedding

    python -m benchmarks.peers

{peers["texts"]} texts of a mix of lengths (tokens: mean {mean:.0f}; 5, 50 and 95 % are {low:.0f}, \
{middle:.0f} and {high:.0f}),
encoder {peers["encoder"]}, prefixes of {peers["slots_per_prefix"]} slots, {cores}, \
{peers["rounds"]} rounds in which every
method takes its turn; tokenisation included.

{table(["method", "texts/s, median"], speeds)}

How many times as fast, within a round: median (least to most).

{table(["A / B", "A is so many times as fast"], ratios)}

Share of the rate at which the same cores multiply matrices of these sizes, \
{median(peers["matrix_gflops"]):.0f} GFLOP/s in the same
rounds; only products are counted:

{table(["method", "share of the matrix rate"], shares)}

Least cosine of two vectors of one text, with `sentence-transformers` for the first line, with \
fp32 for the others:

{table(["method", "least cosine"], cosines)}"""


def growth(curves: Mapping[str, Any]) -> str:
    """Return the section on how cost grows."""
    of = curves["curves"]
    bare = of["slots"]["0"]["seconds"]
    slots = [[name, f"{point['seconds'] / bare:.2f}"] for name, point in of["slots"].items()]
    lengths = [
        [name, f"{point['share_of_matrix_rate']:.2f}"]
        for name, point in of["tokens in a text"].items()
    ]
    batches = [
        [name, f"{point['share_of_matrix_rate']:.2f}"]
        for name, point in of["tokens in a batch"].items()
    ]
    return f"""## How cost grows

    python -m benchmarks.curves

{curves["tokens"]:,} tokens (large batches: two for each core) in texts of one length, \
{curves["rounds"]} rounds, medians.

![Time over slots; share of the matrix rate over tokens in a text and in a batch](speed.png)

Texts of 32 tokens, batches of 1,024 tokens:

{table(["slots read (K·P)", "time / bare encoder"], slots)}

Without slots, batches of 1,024 tokens:

{table(["tokens in a text", "share of the matrix rate"], lengths)}

Without slots, texts of 32 tokens:

{table(["tokens in a batch", "share of the matrix rate"], batches)}"""


def training(found: Mapping[str, Any]) -> str:
    """Return the section on training."""
    steps = [[name, f"{median(times):.0f}"] for name, times in found["step_ms"].items()]
    return f"""## Training a prefix

    python -m benchmarks.training

One epoch over {found["rows"]} texts of the same mix, batches of {found["batch_size"]}, \
{found["slots"]} slots,
{found["rounds"]} rounds in turns.

{table(["method", "ms for a step, median"], steps)}

prefixbank is {spread(found["times_as_fast"])} times as fast. It pads less, as its batches hold \
texts of like lengths; PEFT feeds
prefixes as a cache of past keys and values."""


def memory(found: Mapping[str, Any]) -> str:
    """Return the section on memory."""
    rows = [
        [f"{int(rows):,}", f"{of['peak_mb']:,.0f}", f"{of['texts_per_s']:,.0f}"]
        for rows, of in found["rows"].items()
    ]
    return f"""## Memory

    python -m benchmarks.memory

`prefixbank embed` on a text file of short lines (three to twelve words), tiny encoder, so that \
little but the reading and writing is
measured; start and the first reading of the file included. One line shows what the libraries \
take. What grows slowly is oneDNN's cache of
products by shape, which ends at 1,024 of them (`ONEDNN_PRIMITIVE_CACHE_CAPACITY`).

{table(["lines", "greatest resident memory, MB", "texts/s"], rows)}"""


def vectors(found: Mapping[str, Any]) -> str:
    """Return the section on stored vectors."""
    rows = [
        [
            kind,
            str(found["bytes"][kind]),
            *(f"{found['mean'][name][kind]:.3f}" for name in found["mean"]),
        ]
        for kind in KINDS
    ]
    moved, where = max(
        (abs(scores["float16"] - scores["float32"]), f"{target}, {name}")
        for name, of_name in found["scores"].items()
        for target, scores in of_name.items()
    )
    targets = [
        [target, *(f"{found['scores']['bank'][target][kind]:.3f}" for kind in KINDS)]
        for target in found["scores"]["bank"]
    ]
    return f"""## Stored vectors

    make study DATA_ROOT=FOLDER
    python -m benchmarks.vector_types --data-root FOLDER

Probes of the study ([transfer.md](transfer.md), last layer) on vectors that were stored in fewer \
bytes: ranges and medians from the
targets' train rows, test scores, means over eight targets; the bank with {found["seeds"]["bank"]} \
training seeds.

{table(["stored as", "bytes for a text", *(f"mean score, {name}" for name in found["mean"])], rows)}

On tasks near chance the last digits of vectors can change which strength the probe chooses: \
rounding to float16 alone moves one target
by {moved:.3f} ({where}). Differences below .01 in the means are of that kind.

Of the bank, target by target:

{table(["target", *KINDS], targets)}"""


def precision(found: Mapping[str, Any]) -> str:
    """Return the section on reading in bf16."""
    columns = [(name, kind) for name in found["mean"] for kind in found["scores"]]
    targets = list(found["scores"]["fp32"]["bank"])
    rows = [
        [target, *(f"{median(found['scores'][kind][name][target]):.3f}" for name, kind in columns)]
        for target in targets
    ]
    means = ["mean", *(f"{found['mean'][name][kind]:.3f}" for name, kind in columns)]
    return f"""## Reading in bf16

    python -m benchmarks.precision --data-root FOLDER

The same targets embedded with `precision=fp32` and with `precision=bf16` and probed (last layer, \
training seed {found["seeds"]}), test
scores. How much faster bf16 is stands in the first table.

{table(["target", *(f"{name}, {kind}" for name, kind in columns)], [*rows, means])}"""


def page() -> str:
    """Return the whole page."""
    sections = (
        embedding(read("peers")),
        growth(read("curves")),
        training(read("training")),
        memory(read("memory")),
        vectors(read("vector_types")),
        precision(read("precision")),
    )
    head = """# Speed, and the size of vectors

Made by `make bench`, all but the last three sections, from \
[benchmarks/results](../../benchmarks/results). Ratios are of methods that took
turns in one run; single figures depend on the machine and on what else it does. On a GPU nothing \
was measured."""
    return "\n\n".join((head, *sections)) + "\n"


def main() -> None:
    """Write the page and its picture."""
    PAGE.write_text(page(), encoding="utf-8")
    shutil.copyfile(RESULTS / "curves.png", PAGE.with_suffix(".png"))


if __name__ == "__main__":
    main()
