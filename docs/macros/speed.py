"""Tables on speed and on stored vectors, from benchmarks/results."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

from docs.macros.tables import read, table

KINDS = ("float32", "float16", "int8", "binary")


def measured(name: str) -> Any:
    """Return what one benchmark wrote.

    Args:
        name: of its file, without the ending.
    """
    return read(f"benchmarks/results/{name}.json")


def spread(found: Mapping[str, float]) -> str:
    """Return a median with the least and the most."""
    return f"{found['median']:.2f} ({found['least']:.2f} to {found['most']:.2f})"


def rates() -> str:
    """Return the table of texts a second."""
    found = measured("peers")["texts_per_s"]
    rows = [[name, f"{median(of):.0f}"] for name, of in found.items()]
    return table(["method", "texts/s, median"], rows)


def ratios() -> str:
    """Return the table of how many times as fast one method is as another."""
    rows = [[name, spread(of)] for name, of in measured("peers")["times_as_fast"].items()]
    return table(["A / B", "A is so many times as fast"], rows)


def matrix_shares() -> str:
    """Return the table of shares of the rate of bare matrix products."""
    found = measured("peers")["share_of_matrix_rate"]
    rows = [[name, f"{median(of):.2f}"] for name, of in found.items()]
    return table(["method", "share of the matrix rate"], rows)


def cosines() -> str:
    """Return the table of least cosines."""
    rows = [[name, f"{of:.6f}"] for name, of in measured("peers")["least_cosine"].items()]
    return table(["method", "least cosine"], rows)


def slots() -> str:
    """Return the table of time over slots."""
    found = measured("curves")["curves"]["slots"]
    rows = [[name, f"{of['seconds'] / found['0']['seconds']:.2f}"] for name, of in found.items()]
    return table(["slots read (K·P)", "time / bare encoder"], rows)


def matrix_shares_by(what: str) -> str:
    """Return the table of shares of the matrix rate along one axis.

    Args:
        what: "tokens in a text" or "tokens in a batch".
    """
    found = measured("curves")["curves"][what]
    rows = [[name, f"{of['share_of_matrix_rate']:.2f}"] for name, of in found.items()]
    return table([what, "share of the matrix rate"], rows)


def training_steps() -> str:
    """Return the table of milliseconds a step."""
    rows = [[name, f"{median(of):.0f}"] for name, of in measured("training")["step_ms"].items()]
    return table(["method", "ms for a step, median"], rows)


def step_costs() -> str:
    """Return the table of a training step over a forward pass."""
    found = read("docs/results/step_cost.json")
    rows = [
        [str(of["tokens"]), f"{of['forward_ms']:.0f}", f"{of['step_ms']:.0f}", f"{of['ratio']:.2f}"]
        for of in found["lengths"]
    ]
    return table(["tokens in a text", "forward pass, ms", "step, ms", "step / forward"], rows)


def memory() -> str:
    """Return the table of resident memory."""
    found = measured("memory")["rows"]
    rows = [
        [f"{int(lines):,}", f"{of['peak_mb']:,.0f}", f"{of['texts_per_s']:,.0f}"]
        for lines, of in found.items()
    ]
    return table(["lines", "greatest resident memory, MB", "texts/s"], rows)


def vector_means() -> str:
    """Return the table of mean scores by stored type."""
    found = measured("vector_types")
    rows = [
        [kind, str(found["bytes"][kind]), *(f"{of[kind]:.3f}" for of in found["mean"].values())]
        for kind in KINDS
    ]
    head = ["stored as", "bytes for a text", *(f"mean score, {name}" for name in found["mean"])]
    return table(head, rows)


def vector_targets() -> str:
    """Return the table of the bank's scores on each target by stored type."""
    found = measured("vector_types")["scores"]["bank"]
    rows = [[target, *(f"{of[kind]:.3f}" for kind in KINDS)] for target, of in found.items()]
    return table(["target", *KINDS], rows)


def largest_float16_move() -> str:
    """Say by how much rounding to float16 moves a score at most, and which."""
    moved, where = max(
        (abs(scores["float16"] - scores["float32"]), f"{target}, {name}")
        for name, of_name in measured("vector_types")["scores"].items()
        for target, scores in of_name.items()
    )
    return f"{moved:.3f} ({where})"


def precision_scores() -> str:
    """Return the table of scores in fp32 and in bf16."""
    found = measured("precision")
    columns = [(name, kind) for name in found["mean"] for kind in found["scores"]]
    rows = [
        [
            target,
            *(f"{median(found['scores'][kind][name][target]):.3f}" for name, kind in columns),
        ]
        for target in found["scores"]["fp32"]["bank"]
    ]
    means = ["mean", *(f"{found['mean'][name][kind]:.3f}" for name, kind in columns)]
    return table(["target", *(f"{name}, {kind}" for name, kind in columns)], [*rows, means])


MACROS = (
    measured,
    spread,
    rates,
    ratios,
    matrix_shares,
    cosines,
    slots,
    matrix_shares_by,
    training_steps,
    step_costs,
    memory,
    vector_means,
    vector_targets,
    largest_float16_move,
    precision_scores,
)
