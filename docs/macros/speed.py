"""Tables on speed and on stored vectors, from benchmarks/results."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import mean, median
from typing import Any

from docs.macros.tables import difference, read, table

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


def readout_costs() -> str:
    """Return the table of embedding with read-outs and its rivals over the bare encoder."""
    found = measured("readouts")["embedding"]
    mixed, short = found.values()
    rows = [
        [
            name,
            spread(of),
            spread(short["over_bare"][name]) if name in short["over_bare"] else "",
            *(_products(one, name) for one in (mixed, short)),
        ]
        for name, of in mixed["over_bare"].items()
    ]
    titles = list(found)
    head = [*titles, *(f"products, {title}" for title in titles)]
    return table(["method", *head], rows)


def _products(found: Any, name: str) -> str:
    """Return the closed form of one method, if it has one."""
    return f"{found['closed_form'][name]:.2f}" if name in found["closed_form"] else ""


def apart_costs() -> str:
    """Return the table of what the fixed shape of each source's products costs."""
    found = measured("readouts")["embedding"]
    ending = ", all products at once"
    names = [name for name in next(iter(found.values()))["over_bare"] if name.endswith(ending)]
    rows = []
    for name in names:
        cells = []
        for of in found.values():
            apart = of["over_bare"][name.removesuffix(ending)]["median"]
            cells.append(f"{100 * (apart / of['over_bare'][name]['median'] - 1):.0f}")
        rows.append([name.removesuffix(ending), *cells])
    return table(["method", *(f"% of the pass, {title}" for title in found)], rows)


def readout_steps() -> str:
    """Return the table of a training step over the plain forward pass."""
    mixed, short = measured("readouts")["training"].values()
    rows = [
        [name, f"{of['ms']:.0f}", spread(of), f"{short[name]['ms']:.0f}", spread(short[name])]
        for name, of in mixed.items()
    ]
    first, second = measured("readouts")["training"]
    head = [f"ms, {first}", f"/ forward, {first}", f"ms, {second}", f"/ forward, {second}"]
    return table(["step", *head], rows)


def readout_memory() -> str:
    """Return the table of resident memory over sources."""
    found = measured("readouts")["peak_mb"]
    rows = [[sources, f"{of:,.0f}"] for sources, of in found.items()]
    return table(["sources K, M = 1", "greatest resident memory, MB"], rows)


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


def int8_scores() -> str:
    """Return the table of test scores of each head in ONNX files of float32 and int8."""
    rows = [
        [
            name,
            of["metric"],
            f"{of['fp32']:.3f}",
            f"{of['int8']:.3f}",
            difference(of["difference"]),
            "" if of["same_predictions"] is None else f"{100 * of['same_predictions']:.0f} %",
        ]
        for name, of in measured("onnx_int8")["heads"].items()
    ]
    head = ["head", "metric", "fp32", "int8", "int8 - fp32", "same predictions"]
    return table(head, rows)


def int8_loss() -> str:
    """Return the mean difference of all heads between int8 and float32."""
    found = measured("onnx_int8")["heads"].values()
    return f"{mean(of['difference']['value'] for of in found):+.3f}"


def int8_changed() -> str:
    """Return the share of predicted classes that int8 changes, over all heads that have classes."""
    found = measured("onnx_int8")["heads"].values()
    kept = [of["same_predictions"] for of in found if of["same_predictions"] is not None]
    return f"{100 * (1 - mean(kept)):.0f} %"


def waiting_threads() -> str:
    """Return the table of commands whose idle threads sleep or spin."""
    rows = [
        [
            name,
            f"{median(of['spin']):.0f}",
            f"{median(of['sleep']):.0f}",
            spread(of["sleep is faster"]),
        ]
        for name, of in measured("waiting")["seconds"].items()
    ]
    head = ["command, machine", "s, spinning", "s, sleeping", "sleeping is so many times as fast"]
    return table(head, rows)


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
    readout_costs,
    apart_costs,
    readout_steps,
    readout_memory,
    memory,
    vector_means,
    vector_targets,
    largest_float16_move,
    precision_scores,
    int8_scores,
    int8_loss,
    int8_changed,
    waiting_threads,
)
