"""Tables on large corpora: measured rates times a thousand million texts."""

from __future__ import annotations

from statistics import median
from typing import Any

from docs.macros.speed import measured
from docs.macros.tables import table
from prefixbank.config.commands import CorpusConfig

TEXTS = 10**9
PRICE = 0.04
"""Dollars for a core and hour: no measurement, an example."""
SHARD_ROWS = CorpusConfig().shard_rows
LARGE_SHARD_ROWS = 131_072
BANK = "prefixbank, 8 prefixes"
PLAIN = "prefixbank, no prefix"


def core_hours() -> str:
    """Return the table of core hours, machines and cost for each method."""
    peers = measured("peers")
    rows = []
    for name, of in peers["texts_per_s"].items():
        rate = median(of) / peers["threads"]
        hours = TEXTS / rate / 3600
        machines = f"{hours / 64 / 24:.1f}"
        rows.append([name, f"{rate:.1f}", f"{hours:,.0f}", machines, f"{hours * PRICE:,.0f}"])
    head = [
        "method",
        "texts/s and core",
        "core hours for 10^9 texts",
        "machines of 64 cores for a day",
        "dollars",
    ]
    return table(head, rows)


def gigaflops_of_a_text() -> float:
    """Return the products of one text of the mix, in GFLOP."""
    peers = measured("peers")
    share = median(peers["share_of_matrix_rate"][PLAIN]) * median(peers["matrix_gflops"])
    return float(share / median(peers["texts_per_s"][PLAIN]))


def teraflop_hours() -> float:
    """Return the hours that 10^9 texts take at one TFLOP/s."""
    return gigaflops_of_a_text() * TEXTS / 1000 / 3600


def reading_rates() -> str:
    """Return the table of how fast files are read."""
    rows = []
    for form, of in measured("scaling")["reading"].items():
        checked, passed = of["checked_rows_per_s"], of["passed_rows_per_s"]
        rows.append(
            [
                form,
                f"{checked:,.0f}",
                f"{TEXTS / checked / 60:,.0f}",
                f"{passed:,.0f}",
                f"{TEXTS / passed / 60:,.1f}",
            ]
        )
    head = [
        "corpus",
        "rows/s checked",
        "minutes for 10^9",
        "rows/s skipped",
        "minutes for 10^9",
    ]
    return table(head, rows)


def worker_rates() -> str:
    """Return the table of one process and several."""
    rows = [
        [name, f"{median(of['texts_per_s']):.0f}", f"{median(of['start_s']):.0f}"]
        for name, of in measured("scaling")["workers"].items()
    ]
    return table(["", "texts/s", "seconds to start"], rows)


def training_seconds() -> dict[str, Any]:
    """Return the least seconds of several trainings: how many at a time, then, one by one."""
    found = measured("scaling")["training_s"]
    one, side = (min(of) for of in found.values())
    return {"several": next(reversed(found)), "side_by_side": side, "one_by_one": one}


def shard_costs() -> str:
    """Return the table of what publishing shards takes."""
    rows = []
    for size in (SHARD_ROWS, LARGE_SHARD_ROWS):
        shards = TEXTS // size + 1
        hours = shards * measured("scaling")["shard_s"] / 3600
        rows.append([f"{size:,}", f"{shards:,}", f"{hours:.2f}", f"{size * 1536 / 1e6:,.0f}"])
    head = [
        "`corpus.shard_rows=`",
        "shards of 10^9 texts",
        "core hours to publish",
        "MB of float32 vectors held",
    ]
    return table(head, rows)


def bottlenecks() -> str:
    """Return the table of what is slowest at each size."""
    peers = measured("peers")
    hours = 1 / median(peers["texts_per_s"][BANK]) / 3600
    checked = measured("scaling")["reading"].values()
    minutes = [TEXTS / of["checked_rows_per_s"] / 60 for of in checked]
    start = 1 / measured("memory")["rows"]["1"]["texts_per_s"]
    reading = f"{min(minutes):.0f} to {max(minutes):.0f} minutes of reading in one process"
    rows = [
        [
            "10^4",
            f"{10**4 * hours * 60:.0f} min",
            f"the encoder; the command takes {start:.0f} s to start",
            "nothing",
        ],
        [
            "10^6",
            f"{10**6 * hours:.1f} h",
            "the encoder",
            "`precision=bf16`; a machine with more cores: one process uses them all",
        ],
        [
            "10^8",
            f"{10**8 * hours / 24:.0f} days",
            f"the encoder; a disk for {10**8 * 1536 / 1e9:.0f} GB of `float32`",
            "`run=slurm` or `run=ray`; `vectors=int8` or `vectors=binary`",
        ],
        [
            "10^9",
            f"{10**9 * hours / 24:.0f} days",
            f"the encoder; before it {reading}",
            f"Parquet, `corpus.shard_rows={LARGE_SHARD_ROWS}`, `vectors=binary`, hundreds of"
            " workers",
        ],
    ]
    head = [
        "texts",
        f"{peers['threads']} such cores, bank of 8 prefixes",
        "what is slowest",
        "what to do",
    ]
    return table(head, rows)


MACROS = (
    core_hours,
    gigaflops_of_a_text,
    teraflop_hours,
    reading_rates,
    worker_rates,
    training_seconds,
    shard_costs,
    bottlenecks,
)
