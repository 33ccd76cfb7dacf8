"""A report's files: `report.json`, `report.md` and `report.png`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from prefixbank.steps.json_files import write_json
from prefixbank.steps.report_table import MEAN
from prefixbank.store.key import JSON

FILLS = (("#d9d9d9", ""), ("#56b4e9", ""), ("#e69f00", "///"), ("#009e73", "..."))
"""Colour and hatch of each column: told apart by colour-blind readers and in grey."""
INCHES_PER_GROUP, MARGIN_INCHES, HEIGHT_INCHES, DPI = 1.5, 1.6, 4.2, 110


def write_report(out: Path, table: JSON) -> None:
    """Write the three files; the same table gives the same bytes."""
    write_json(out / "report.json", table)
    (out / "report.md").write_text(markdown(table), encoding="utf-8")
    with matplotlib.rc_context({"svg.hashsalt": "prefixbank", "font.size": 10, "hatch.linewidth": 0.6}):
        figure = chart(table)
        FigureCanvasAgg(figure).print_png(out / "report.png", metadata={"Software": None})


def table_rows(table: JSON) -> tuple[list[str], list[list[str]]]:
    """Return header and rows as text: targets and their mean, one cell for each column and for each difference to the baseline."""
    columns, baseline = table["columns"], table["baseline"]
    header = ["target", "metric", *columns, *(f"{column} - {baseline}" for column in columns if column != baseline)]
    rows = []
    for name in (*table["targets"], MEAN):
        row = table["rows"][name]
        cells = [_cell(row["columns"][column]) for column in columns]
        differences = [_cell(row["differences"][column], signed=True) for column in columns if column != baseline]
        rows.append([name, row.get("metric", ""), *cells, *differences])
    return header, rows


def _cell(value: dict[str, Any], *, signed: bool = False) -> str:
    """Return `0.812 [0.790, 0.833]`."""
    form = "{:+.3f}" if signed else "{:.3f}"
    return f"{form.format(value['value'])} [{form.format(value['low'])}, {form.format(value['high'])}]"


def markdown(table: JSON) -> str:
    """Return the report as Markdown."""
    header, rows = table_rows(table)
    lines = [
        f"# Experiment {table['experiment']}",
        "",
        f"Encoder {table['encoder']}, frozen. Prefixes for {', '.join(table['sources'])}; no prefix saw a target task.",
        "",
    ]
    lines += ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    sizes = ", ".join(f"{name} {table['rows'][name]['test_rows']}" for name in table["targets"])
    seeds = ", ".join(str(seed) for seed in table["seeds"])
    lines += [
        "",
        "Test scores of a linear probe fitted on each target's train split, "
        f"mean over training seeds (here: {seeds}; the plain encoder has none).",
        f"In brackets 95 % bootstrap intervals over test rows ({sizes}; {table['resamples']} resamples, the same rows for every column).",
        "They say how far the choice of test rows matters, not how far seeds differ. Scores of each seed, mean over targets:",
        "",
    ]
    cells = table["rows"][MEAN]["columns"]
    lines += [f"- {column}: {', '.join(f'{score:.3f}' for score in cells[column]['scores'])}" for column in table["columns"]]
    return "\n".join([*lines, "", "![scores](report.png)", ""])


def chart(table: JSON) -> Figure:
    """Return grouped bars with intervals, one group for each target and one for the mean."""
    groups, columns = [*table["targets"], MEAN], table["columns"]
    figure = Figure(figsize=(MARGIN_INCHES + INCHES_PER_GROUP * len(groups), HEIGHT_INCHES), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(columns)
    lowest = 0.0
    for place, column in enumerate(columns):
        colour, hatch = FILLS[place % len(FILLS)]
        cells = [table["rows"][group]["columns"][column] for group in groups]
        values = [cell["value"] for cell in cells]
        errors = [[max(0.0, cell["value"] - cell["low"]) for cell in cells], [max(0.0, cell["high"] - cell["value"]) for cell in cells]]
        at = [group + (place - (len(columns) - 1) / 2) * width for group in range(len(groups))]
        axes.bar(
            at,
            values,
            width,
            yerr=errors,
            label=column,
            color=colour,
            hatch=hatch,
            edgecolor="black",
            linewidth=0.6,
            capsize=2,
            error_kw={"linewidth": 0.9},
        )
        lowest = min(lowest, *(cell["low"] for cell in cells))
    labels = [group if group == MEAN else f"{group}\n({table['rows'][group]['metric']})" for group in groups]
    axes.set_xticks(range(len(groups)), labels)
    axes.set_ylim(lowest, 1.0)
    axes.set_ylabel("test score")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(f"{table['experiment']}: probes on {table['encoder']}, 95 % intervals over test rows", fontsize=10)
    figure.legend(loc="outside lower center", ncols=len(columns), frameon=False)
    return figure
