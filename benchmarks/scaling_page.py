"""Make docs/scaling.md from benchmarks/results.

python -m benchmarks.scaling_page (part of `make bench`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.page import read, table
from prefixbank.config.commands import CorpusConfig

PAGE = Path(__file__).parents[1] / "docs" / "scaling.md"
TEXTS = 10**9
PRICE = 0.04
"""Dollars for a core and hour: no measurement, an example."""
SHARD_ROWS = CorpusConfig().shard_rows
LARGE_SHARD_ROWS = 131_072


def hours(texts_per_s: float) -> float:
    """Return the hours that all texts take at a rate."""
    return TEXTS / texts_per_s / 3600


def rates(peers: Mapping[str, Any]) -> dict[str, float]:
    """Return texts a second and core."""
    return {
        name: median(values) / peers["threads"] for name, values in peers["texts_per_s"].items()
    }


def machines(peers: Mapping[str, Any]) -> str:
    """Return the section on the encoder: hours, machines and cost."""
    rows = [
        [
            name,
            f"{rate:.1f}",
            f"{hours(rate):,.0f}",
            f"{hours(rate) / 64 / 24:.1f}",
            f"{hours(rate) * PRICE:,.0f}",
        ]
        for name, rate in rates(peers).items()
    ]
    share = median(peers["share_of_matrix_rate"]["prefixbank, no prefix"]) * median(
        peers["matrix_gflops"]
    )
    each = share / median(peers["texts_per_s"]["prefixbank, no prefix"])
    head = [
        "method",
        "texts/s and core",
        "core hours for 10^9 texts",
        "machines of 64 cores for a day",
        "dollars",
    ]
    return f"""## The encoder

Rates as measured ([speed.md](results/speed.md): encoder {peers["encoder"]}, texts of \
{peers["tokens"]["mean"]:.0f} tokens on average,
{peers["threads"]} cores of an {peers["processor"]}), divided by the cores. The price of {PRICE} \
dollars for a core and hour is an
example; put in your own.

{table(head, rows)}

The last two methods go over every text once for each of eight tasks. Time grows with the tokens \
and with the size of the encoder; with
the slots of a bank hardly (speed.md).

On a GPU nothing was measured. The products of one such text are {each:.1f} GFLOP; an accelerator \
that keeps up R TFLOP/s through all of
it needs {each * TEXTS / 1000 / 3600:,.0f}/R hours for 10^9 texts. R is what has to be measured \
there; tokenising, at so many texts a
second, may be what is slowest."""


def beside(scaling: Mapping[str, Any], memory: Mapping[str, Any]) -> str:
    """Return the section on what is not the encoder."""
    forms = [
        [
            form,
            f"{found['checked_rows_per_s']:,.0f}",
            f"{TEXTS / found['checked_rows_per_s'] / 60:,.0f}",
            f"{found['passed_rows_per_s']:,.0f}",
            f"{TEXTS / found['passed_rows_per_s'] / 60:,.1f}",
        ]
        for form, found in scaling["reading"].items()
    ]
    head = [
        "corpus",
        "rows/s checked",
        "minutes for 10^9",
        "rows/s passed over",
        "minutes for 10^9",
    ]
    work = [
        [name, f"{median(found['texts_per_s']):.0f}", f"{median(found['start_s']):.0f}"]
        for name, found in scaling["workers"].items()
    ]
    shards = [
        [
            f"{rows:,}",
            f"{TEXTS // rows + 1:,}",
            f"{(TEXTS // rows + 1) * scaling['shard_s'] / 3600:.2f}",
            f"{rows * 1536 / 1e6:,.0f}",
        ]
        for rows in (SHARD_ROWS, LARGE_SHARD_ROWS)
    ]
    several = next(reversed(scaling["training_s"]))
    one, side = (min(found) for found in scaling["training_s"].values())
    shard_head = [
        "`corpus.shard_rows=`",
        "shards of 10^9 texts",
        "core hours to publish",
        "MB of float32 vectors held",
    ]
    return f"""## What else takes time

    python -m benchmarks.scaling

**Reading.** The command reads the corpus through before anything is embedded: every row is \
checked, every shard gets its digest. A worker
then reads its own shards and passes over the others. Of {scaling["lines"]:,} short lines (Parquet \
with row groups of
{scaling["group_rows"]:,} rows, those before a shard are not read):

{table(head, forms)}

**Workers.** Texts a second once all workers are at work, with the same cores, and the seconds \
before that
({scaling["rounds"]} rounds in turns, medians; the one process had loaded its libraries already):

{table(["", "texts/s", "seconds to start"], work)}

Several processes embed {scaling["processes_over_one"]:.2f} times as fast as one, which gives each \
core batches of its own anyway. Of
{scaling["trainings"]} trainings (`train-prefix --sweep`, two epochs), {several} at a time take \
{side:.0f} seconds, one after the other
{one:.0f}, starts included (least of the rounds; other work slowed some).

**Shards.** Publishing one takes {scaling["shard_s"] * 1000:.0f} ms beside its rows (synced files, \
one rename):

{table(shard_head, shards)}

**Memory** hardly grows with the corpus: {memory["rows"]["2000000"]["peak_mb"]:,.0f} MB for two \
million lines (speed.md says what
grows). **Disk**: 10^9 vectors of 384 features take 1.5 TB as `float32`, 384 GB as `int8`, 48 GB \
as `binary`."""


def bottlenecks(
    peers: Mapping[str, Any], scaling: Mapping[str, Any], memory: Mapping[str, Any]
) -> str:
    """Return the table of what is slowest at each size."""
    hours_for_one = hours(median(peers["texts_per_s"]["prefixbank, 8 prefixes"])) / TEXTS
    minutes = [TEXTS / found["checked_rows_per_s"] / 60 for found in scaling["reading"].values()]
    start = 1 / memory["rows"]["1"]["texts_per_s"]
    head = [
        "texts",
        f"{peers['threads']} such cores, bank of 8 prefixes",
        "what is slowest",
        "what to do",
    ]
    cluster = (
        f"Parquet, `corpus.shard_rows={LARGE_SHARD_ROWS}`, `vectors=binary`, hundreds of workers"
    )
    rows = [
        [
            "10^4",
            f"{10**4 * hours_for_one * 60:.0f} min",
            f"the encoder; the command's start takes {start:.0f} s",
            "nothing",
        ],
        [
            "10^6",
            f"{10**6 * hours_for_one:.1f} h",
            "the encoder",
            "`precision=bf16`; a machine with more cores: one process uses all",
        ],
        [
            "10^8",
            f"{10**8 * hours_for_one / 24:.0f} days",
            "the encoder; a disk for 154 GB of `float32`",
            "`run.driver=slurm` or `ray`; `vectors=int8` or `binary`",
        ],
        [
            "10^9",
            f"{10**9 * hours_for_one / 24:.0f} days",
            (
                f"the encoder; before it {min(minutes):.0f} to {max(minutes):.0f} minutes of "
                "reading in one process"
            ),
            cluster,
        ],
    ]
    return table(head, rows)


def page() -> str:
    """Return the whole page."""
    peers, scaling, memory = read("peers"), read("scaling"), read("memory")
    return f"""# From ten thousand texts to a thousand million

What embedding with a bank takes at each size, from measured rates; made by `make bench` from \
[benchmarks/results](../benchmarks/results).
Nothing of 10^9 texts was run: these are products of what was measured on {peers["threads"]} cores.

{machines(peers)}

{beside(scaling, memory)}

## The bottleneck at each size

{bottlenecks(peers, scaling, memory)}

## How the design holds there

- **Nothing is done twice.** A shard is an entry with a key of its own, published by one rename. \
Whatever is killed, the next run of the
  same command makes what is missing; a corpus that has grown at its end keeps its shards, one \
that has changed elsewhere its rows
  (`reuse=true`, in one process).
- **Workers share nothing but the store.** They are told numbers and digests of shards and read \
the texts themselves; the command sends no
  texts and receives no vectors. On Slurm a worker takes neighbouring shards, so that it reads one \
stretch of the file. A worker that
  finds other texts than the digest says ends with an error.
- **The command's own part** is the first reading, a digest (64 characters) for each shard, and a \
hard link for each shard at the end; no
  process holds more than a shard.
- **One file.** A corpus is one file; with several, run one command for each.
- **Locks** only save work. Where the file system of a cluster has none between machines, two \
workers may make the same shard; the first
  one to rename it wins, and on machines of one kind both have made the same bytes.
"""


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
